using Microsoft.Extensions.Logging;

namespace CriShim.Discovery;

/// <summary>
/// What discovery logs. Names of pods, files and addresses, reasons and counts: never env, args, annotation values or credentials.
/// </summary>
internal static partial class DiscoveryLog
{
    [LoggerMessage(1, LogLevel.Information, "Pod specs: the {Source} source is current ({Pods} pods)", EventName = "SourceSynced")]
    public static partial void SourceSynced(this ILogger log, string source, int pods);

    [LoggerMessage(2, LogLevel.Warning, "Pod specs: the {Source} source is degraded: {Reason} ({Pods} pods known from before)",
        EventName = "SourceDegraded")]
    public static partial void SourceDegraded(this ILogger log, string source, string reason, int pods);

    [LoggerMessage(3, LogLevel.Error, "Pod specs: the {Source} source failed and starts anew in {Delay}", EventName = "SourceFailed")]
    public static partial void SourceFailed(this ILogger log, string source, TimeSpan delay, Exception exception);

    [LoggerMessage(4, LogLevel.Warning, "Pod specs: the {Source} source has more than {MaxPods} pods; the others stay unknown", EventName = "TooManyPods")]
    public static partial void TooManyPods(this ILogger log, string source, int maxPods);

    [LoggerMessage(5, LogLevel.Error, "Pod specs: a reader of the {Source} source's changes failed", EventName = "ChangeHandlerFailed")]
    public static partial void ChangeHandlerFailed(this ILogger log, string source, Exception exception);

    [LoggerMessage(6, LogLevel.Warning, "Static manifest left out: {Fault}", EventName = "ManifestRejected")]
    public static partial void ManifestRejected(this ILogger log, string fault);

    [LoggerMessage(7, LogLevel.Information, "Static manifest is good again: {File}", EventName = "ManifestAccepted")]
    public static partial void ManifestAccepted(this ILogger log, string file);

    [LoggerMessage(8, LogLevel.Warning, "Pod specs: the {Source} source gave a pod that is left out: {Fault}", EventName = "PodRejected")]
    public static partial void PodRejected(this ILogger log, string source, string fault);

    [LoggerMessage(9, LogLevel.Debug, "Pod specs: no inotify on {Directory}, polling alone: {Reason}", EventName = "ManifestsNotWatched")]
    public static partial void ManifestsNotWatched(this ILogger log, string directory, string reason);

    [LoggerMessage(10, LogLevel.Information, "Node name: {NodeName} ({Origin})", EventName = "NodeNameFound")]
    public static partial void NodeNameFound(this ILogger log, string nodeName, string origin);

    [LoggerMessage(11, LogLevel.Debug, "API server: connected to {Address} with the credentials of {Kubeconfig}", EventName = "ApiServerConnectionOpened")]
    public static partial void ApiServerConnectionOpened(this ILogger log, Uri address, string kubeconfig);

    [LoggerMessage(12, LogLevel.Debug, "API server: {Pods} pods listed at version {Version}", EventName = "PodsListed")]
    public static partial void PodsListed(this ILogger log, int pods, string version);

    [LoggerMessage(13, LogLevel.Debug, "API server: try failed, next in {Delay}: {Reason}", EventName = "ApiServerTryFailed")]
    public static partial void ApiServerTryFailed(this ILogger log, TimeSpan delay, string reason);

    [LoggerMessage(14, LogLevel.Debug, "API server: the watch's version is gone, listing again", EventName = "WatchVersionGone")]
    public static partial void WatchVersionGone(this ILogger log);

    [LoggerMessage(15, LogLevel.Warning, "Events for pods are not written: {Reason} (waiting: {Waiting})", EventName = "EventsNotWritten")]
    public static partial void EventsNotWritten(this ILogger log, string reason, int waiting);
}
