using CriShim.Protocol.Runtime.V1;

namespace CriShim.Containerd.Requests;

/// <summary>The mount of a container's termination log: a host file that the kubelet makes anew for each attempt.</summary>
public static class TerminationLogMount
{
    /// <summary>The host path of the termination log; null when the container has none.</summary>
    public static string? HostPath(ContainerConfig config) => Find(config)?.HostPath;

    /// <summary>
    /// Of all mounts at the path that the annotation names, the last one whose file is where the kubelet puts them: a volume of the
    /// pod can be mounted at that path, too, and the kubelet adds its own last.
    /// </summary>
    internal static Mount? Find(ContainerConfig config)
    {
        if (!config.Annotations.TryGetValue(KubeletAnnotations.TerminationMessagePath, out string? path) || path.Length == 0)
        {
            return null;
        }

        string directory = $"/containers/{config.Metadata?.Name}";
        for (int i = config.Mounts.Count - 1; i >= 0; i--)
        {
            Mount mount = config.Mounts[i];
            if (mount.ContainerPath == path && Path.GetDirectoryName(mount.HostPath)?.EndsWith(directory, StringComparison.Ordinal) == true)
            {
                return mount;
            }
        }

        return null;
    }
}
