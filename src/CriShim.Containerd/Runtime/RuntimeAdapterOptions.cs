namespace CriShim.Containerd.Runtime;

/// <summary>Where containerd is, and how long its answers may take.</summary>
public sealed record RuntimeAdapterOptions
{
    /// <summary>containerd's socket.</summary>
    public required string SocketPath { get; init; }

    /// <summary>For lists and statuses, tries after a failure included.</summary>
    public TimeSpan ReadDeadline { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>For CreateContainer, StartContainer, RemoveContainer: the kubelet's own.</summary>
    public TimeSpan ChangeDeadline { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>For StopContainer, beyond its grace period: the kubelet's own.</summary>
    public TimeSpan StopMargin { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Wait before a list or status is asked for again, where containerd was away; doubles.</summary>
    public TimeSpan FirstRetryDelay { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>The longest such wait.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromSeconds(1);
}
