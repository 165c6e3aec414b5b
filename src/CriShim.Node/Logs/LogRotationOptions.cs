namespace CriShim.Node.Logs;

/// <summary>How logs are rotated that the kubelet does not: it does so for containers that it takes for running.</summary>
public sealed record LogRotationOptions
{
    /// <summary>A log of so many bytes is rotated. The kubelet's <c>containerLogMaxSize</c>.</summary>
    public long MaxSize { get; init; } = 10 * 1024 * 1024;

    /// <summary>So many files of one log are kept, the one that is written included. The kubelet's <c>containerLogMaxFiles</c>.</summary>
    public int MaxFiles { get; init; } = 5;

    /// <summary>Between two looks. The kubelet's <c>containerLogMonitorInterval</c>.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(10);
}
