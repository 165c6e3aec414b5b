using Microsoft.Extensions.Logging;

namespace CriShim.Node.Draining;

/// <summary>What a drain says.</summary>
internal sealed partial class DrainLog(ILogger logger)
{
    [LoggerMessage(331, LogLevel.Warning,
        "The node is drained: every pod is ended within {GraceSeconds} s, by {Deadline:O}; nothing new is let in until the drain is cancelled")]
    public partial void Began(double graceSeconds, DateTimeOffset deadline);

    [LoggerMessage(332, LogLevel.Information, "The drain gets a shorter grace: {GraceSeconds} s from now, until {Deadline:O}")]
    public partial void Shortened(double graceSeconds, DateTimeOffset deadline);

    [LoggerMessage(333, LogLevel.Information, "Asked to drain once more: joins the drain that ends by {Deadline:O}")]
    public partial void Joined(DateTimeOffset deadline);

    [LoggerMessage(334, LogLevel.Warning, "Goes on with the drain of {BeganAt:O}, which ends by {Deadline:O}")]
    public partial void Resumed(DateTimeOffset beganAt, DateTimeOffset deadline);

    [LoggerMessage(335, LogLevel.Information, "Pod {Namespace}/{Pod} has ended (sandbox {SandboxId})")]
    public partial void PodEnded(string @namespace, string pod, string sandboxId);

    [LoggerMessage(336, LogLevel.Warning, "Pod {Namespace}/{Pod} did not end (sandbox {SandboxId}): {Reason}; it is tried again")]
    public partial void PodFailed(string @namespace, string pod, string sandboxId, string reason);

    [LoggerMessage(337, LogLevel.Warning,
        "The node is drained: pods ended {Pods}, after {Seconds} s; new pods are refused until the drain is cancelled")]
    public partial void Completed(int pods, double seconds);

    [LoggerMessage(338, LogLevel.Warning, "The drain is cancelled: new pods and containers are let in")]
    public partial void Cancelled();

    [LoggerMessage(339, LogLevel.Error, "The drain could not be recorded: it goes on, but would not survive a restart of crishim")]
    public partial void NotRecorded();

    [LoggerMessage(340, LogLevel.Error, "A turn of the drain failed; the next one follows in a second")]
    public partial void SweepFailed(Exception exception);

    [LoggerMessage(341, LogLevel.Error, "The end of pod {Namespace}/{Pod} could not be begun (sandbox {SandboxId}); it is tried again")]
    public partial void BeginFailed(Exception exception, string @namespace, string pod, string sandboxId);
}
