namespace CriShim.Linux.Files;

/// <summary>Where the kubelet keeps what belongs to containers. Nothing outside of these is ever touched.</summary>
public sealed record ContainerFileRoots
{
    /// <summary>The kubelet's <c>podLogsDir</c>: logs at <c>&lt;namespace&gt;_&lt;pod&gt;_&lt;uid&gt;/&lt;container&gt;/&lt;attempt&gt;.log</c>.</summary>
    public string PodLogs { get; init; } = "/var/log/pods";

    /// <summary>Links by container id, for log collectors. The kubelet knows no other place.</summary>
    public string ContainerLogs { get; init; } = "/var/log/containers";

    /// <summary><c>pods</c> below the kubelet's <c>--root-dir</c>: termination logs at <c>&lt;uid&gt;/containers/&lt;container&gt;/&lt;8 hex digits&gt;</c>.</summary>
    public string KubeletPods { get; init; } = "/var/lib/kubelet/pods";
}
