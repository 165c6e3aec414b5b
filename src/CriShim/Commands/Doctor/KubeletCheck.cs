using CriShim.Configuration;
using CriShim.Linux;

namespace CriShim.Commands.Doctor;

/// <summary>Whether the node's kubelet is pointed at crishim.</summary>
internal sealed class KubeletCheck : ICheck
{
    /// <summary>Where it is said, and how it takes effect.</summary>
    public const string Way =
        "the kubelet's flag --container-runtime-endpoint (with kubeadm in /var/lib/kubelet/kubeadm-flags.env), or containerRuntimeEndpoint "
        + "in its configuration file; then systemctl restart kubelet";

    /// <summary>Where a kubelet's settings are kept, also while it does not run.</summary>
    private static readonly string[] Places =
    [
        "/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/instance-config.yaml",
        "/etc/kubernetes/kubelet-config.yaml", "/etc/default/kubelet", "/etc/sysconfig/kubelet", "/etc/systemd/system/kubelet.service",
    ];

    public string Area => "kubelet";

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        string socket = diagnosis.Configuration.Listen.SocketPath;
        foreach (KubeletSettings kubelet in diagnosis.Kubelets)
        {
            Look(kubelet, socket, diagnosis);
        }

        if (diagnosis.Kubelets.Count == 0)
        {
            string[] pointing = [.. FilesThatPointAt(socket, diagnosis.At)];
            diagnosis.Note(Area, pointing.Length > 0
                ? $"no kubelet runs; the next one is pointed at crishim by {string.Join(", ", pointing)}"
                : "no kubelet runs, and none of its usual files points at crishim");
        }

        return Task.CompletedTask;
    }

    /// <summary>What of this node would have no runtime without crishim.</summary>
    public static IEnumerable<string> PointingAtCrishim(Diagnosis diagnosis)
    {
        string socket = diagnosis.Configuration.Listen.SocketPath;
        foreach (KubeletSettings kubelet in diagnosis.Kubelets)
        {
            if (IsAt(kubelet.Endpoint, socket) || IsAt(kubelet.ImageEndpoint, socket))
            {
                yield return $"the kubelet that runs (process {kubelet.ProcessId}, by {kubelet.EndpointOrigin})";
            }
        }

        foreach (string file in FilesThatPointAt(socket, diagnosis.At))
        {
            yield return file;
        }
    }

    private void Look(KubeletSettings kubelet, string socket, Diagnosis diagnosis)
    {
        string who = $"{kubelet.Name} (process {kubelet.ProcessId})";
        if (IsAt(kubelet.Endpoint, socket))
        {
            if (kubelet.ImageEndpoint is { } images && !IsAt(images, socket))
            {
                diagnosis.Warn(
                    Area, $"{who} sends calls about images past crishim, to {images}",
                    "take imageServiceEndpoint (or --image-service-endpoint) away; systemctl restart kubelet");
            }

            diagnosis.Good(Area, $"{who} is pointed at crishim, by {kubelet.EndpointOrigin}");
        }
        else if (kubelet.IsInsideOfAnother && kubelet.EndpointOrigin[0] != '-')
        {
            diagnosis.Note(Area, $"{who} has the kubelet inside; whether it is pointed at crishim can't be seen from outside");
        }
        else
        {
            diagnosis.Warn(
                Area, $"{who} talks to {kubelet.Endpoint}, past crishim, by {kubelet.EndpointOrigin}",
                $"set it to unix://{socket}: {Way}");
        }
    }

    private static IEnumerable<string> FilesThatPointAt(string socket, Func<string, string> at)
    {
        string dropIns = at("/etc/systemd/system/kubelet.service.d");
        IEnumerable<string> units = Directory.Exists(dropIns)
            ? Directory.EnumerateFiles(dropIns, "*.conf").Select(file => $"/etc/systemd/system/kubelet.service.d/{Path.GetFileName(file)}").Order()
            : [];
        foreach (string file in Places.Concat(units))
        {
            if (Says(at(file), socket))
            {
                yield return file;
            }
        }
    }

    private static bool Says(string file, string socket)
    {
        try
        {
            return File.ReadLines(file).Any(line => !line.TrimStart().StartsWith('#') && line.Contains(socket, StringComparison.Ordinal));
        }
        catch (Exception absent) when (absent is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static bool IsAt(string? endpoint, string socket) =>
        endpoint is not null && SettingRules.SocketAddress(endpoint, out string path, out _) && UnixSocketPath.AreSame(path, socket);
}
