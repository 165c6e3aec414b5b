using CriShim.Protocol.Runtime.V1;
using Google.Protobuf.Collections;

namespace CriShim.Containerd.Requests;

/// <summary>Brings requests for the same container to the same form, so that plain equality, unknown fields included, decides.</summary>
internal static class RequestComparison
{
    /// <summary>A copy without the attempt's own values, and with those lists sorted whose order the kubelet leaves to chance.</summary>
    public static CreateContainerRequest Normalise(CreateContainerRequest request)
    {
        CreateContainerRequest copy = request.Clone();
        if (copy.Config is { } config)
        {
            NormaliseContainer(config);
        }

        if (copy.SandboxConfig is { } sandbox)
        {
            // Differs after each restart of the kubelet, and says nothing of the pod.
            sandbox.Annotations.Remove(KubeletAnnotations.ConfigSeen);
            if (sandbox.Linux is { } linux)
            {
                // The pod's sums: they change when any container of it is resized. A container's own are compared.
                linux.Overhead = null;
                linux.Resources = null;
                SortGroups(linux.SecurityContext?.SupplementalGroups);
            }
        }

        return copy;
    }

    private static void NormaliseContainer(ContainerConfig config)
    {
        if (TerminationLogMount.Find(config) is { } mount)
        {
            mount.HostPath = "";
        }

        if (config.Metadata is { } metadata)
        {
            metadata.Attempt = 0;
        }

        config.Annotations.Remove(KubeletAnnotations.RestartCount);
        if (config.Image is { } image)
        {
            // How the pod names the image whose id is compared. containerd 1.6 does not know the field, so a request rebuilt from
            // what it remembers lacks it.
            image.UserSpecifiedImage = "";
        }

        // Only where the path is of the kubelet's form is its number a counter.
        if (AttemptNumber.TryParse(Path.GetFileNameWithoutExtension(config.LogPath), out _))
        {
            config.LogPath = AttemptNumber.LogPath(config, 0);
        }

        // Service variables come out of a Go map. Variables of one name keep their order: the last one counts.
        Sort(config.Envs, variable => variable.Key);
        // Device plugins' answers are maps, too. Mounts at one path keep their order: the last one covers the others.
        Sort(config.Mounts, entry => entry.ContainerPath);
        Sort(config.Devices, device => device.ContainerPath);
        Sort(config.CDIDevices, device => device.Name);
        SortGroups(config.Linux?.SecurityContext?.SupplementalGroups);
        if (config.Linux?.Resources is { } resources)
        {
            Sort(resources.HugepageLimits, limit => limit.PageSize);
        }
    }

    private static void Sort<T>(RepeatedField<T> items, Func<T, string> key)
    {
        // OrderBy is stable, which List.Sort is not.
        T[] sorted = [.. items.OrderBy(key, StringComparer.Ordinal)];
        items.Clear();
        items.AddRange(sorted);
    }

    private static void SortGroups(RepeatedField<long>? groups)
    {
        if (groups is not null)
        {
            long[] sorted = [.. groups.Order()];
            groups.Clear();
            groups.AddRange(sorted);
        }
    }
}
