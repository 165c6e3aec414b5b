using CriShim.Containerd.Events;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Containerd;

/// <summary>
/// What the shim's own dealings with containerd say: ids, codes and durations only. containerd's error texts can quote commands and
/// mounts, so they stay out.
/// </summary>
internal sealed partial class ContainerdLog(ILogger logger)
{
    [LoggerMessage(1, LogLevel.Information, "Following container exits at unix://{SocketPath}")]
    public partial void EventsConnected(string socketPath);

    [LoggerMessage(2, LogLevel.Warning, "Container exits at unix://{SocketPath} cannot be followed now: {Reason} {Code}; trying again until they can")]
    public partial void EventsLost(string socketPath, GapReason reason, StatusCode code);

    [LoggerMessage(3, LogLevel.Debug, "Container exits at unix://{SocketPath} still cannot be followed: {Reason} {Code}")]
    public partial void EventsStillLost(string socketPath, GapReason reason, StatusCode code);

    [LoggerMessage(4, LogLevel.Warning, "An event of topic {Topic} is malformed and left out")]
    public partial void EventMalformed(string topic);

    [LoggerMessage(5, LogLevel.Warning, "Container exits arrive faster than they are handled: {Count} are left to the next list")]
    public partial void EventsOverflowed(int count);

    [LoggerMessage(6, LogLevel.Warning, "containerd refuses the event that proves a subscription ({Code}); exits are followed without proof")]
    public partial void ProofRefused(StatusCode code);

    [LoggerMessage(7, LogLevel.Error, "Following container exits failed inside crishim; it goes on with a new subscription")]
    public partial void EventsFailed(Exception exception);

    [LoggerMessage(8, LogLevel.Debug, "{Method}: {Code} after {DurationMs} ms {Subject}")]
    public partial void CallEnded(string method, StatusCode code, double durationMs, string subject);

    [LoggerMessage(9, LogLevel.Debug, "{Method} is tried again: {Code}")]
    public partial void CallRetried(string method, StatusCode code);
}
