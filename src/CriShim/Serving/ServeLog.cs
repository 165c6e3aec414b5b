using Microsoft.Extensions.Logging;

namespace CriShim.Serving;

/// <summary>What serving logs, beside the proxy's own events.</summary>
internal static partial class ServeLog
{
    [LoggerMessage(1, LogLevel.Information, "crishim {Version} serves {ListenPath} for {BackendPath}; configuration file: {File}", EventName = "ServingStarted")]
    public static partial void ServingStarted(this ILogger log, string version, string listenPath, string backendPath, string file);

    [LoggerMessage(2, LogLevel.Information, "{Signal}: stopping; running calls get {Grace}", EventName = "StopRequested")]
    public static partial void StopRequested(this ILogger log, string signal, string grace);

    [LoggerMessage(3, LogLevel.Information, "Stopped after {Elapsed}", EventName = "ServingStopped")]
    public static partial void ServingStopped(this ILogger log, string elapsed);

    [LoggerMessage(4, LogLevel.Error, "The proxy did not stop within its grace and {Margin} more: exiting nevertheless", EventName = "StopOverdue")]
    public static partial void StopOverdue(this ILogger log, string margin);

    [LoggerMessage(5, LogLevel.Critical, "{Reason}", EventName = "ListenFailed")]
    public static partial void ListenFailed(this ILogger log, string reason);

    [LoggerMessage(6, LogLevel.Critical, "Serving failed", EventName = "ServingFailed")]
    public static partial void ServingFailed(this ILogger log, Exception exception);

    [LoggerMessage(7, LogLevel.Warning, "systemd's socket {InheritedPath} is served; listen.address {ListenPath} is not", EventName = "ListenAddressOverruled")]
    public static partial void ListenAddressOverruled(this ILogger log, string inheritedPath, string listenPath);

    [LoggerMessage(8, LogLevel.Critical, "Unhandled exception: exiting", EventName = "UnhandledException")]
    public static partial void UnhandledException(this ILogger log, Exception? exception);

    [LoggerMessage(9, LogLevel.Error, "A task failed and nobody looked", EventName = "UnobservedTaskException")]
    public static partial void UnobservedTaskException(this ILogger log, Exception exception);

    [LoggerMessage(10, LogLevel.Warning, "systemd could not be notified of {State}", EventName = "NotifyFailed")]
    public static partial void NotifyFailed(this ILogger log, string state, Exception exception);

    [LoggerMessage(11, LogLevel.Error, "Watchdog: the {Part} gave no proof of life within {Limit}: {Reason}", EventName = "ProofOfLifeFailed")]
    public static partial void ProofOfLifeFailed(this ILogger log, string part, string limit, string reason);

    [LoggerMessage(12, LogLevel.Information, "Watchdog: all parts gave proof of life again", EventName = "ProofOfLifeRegained")]
    public static partial void ProofOfLifeRegained(this ILogger log);

    [LoggerMessage(14, LogLevel.Error,
        "The admin socket is not served, so that crishim's own commands find nobody: {Reason}", EventName = "AdminFailed")]
    public static partial void AdminFailed(this ILogger log, string reason);

    [LoggerMessage(15, LogLevel.Information, "Metrics, health and the status page: http://{Address}/", EventName = "HttpStarted")]
    public static partial void HttpStarted(this ILogger log, System.Net.IPEndPoint address);

    [LoggerMessage(16, LogLevel.Warning, "Metrics, health and the status page are not served: {Address}: {Reason}", EventName = "HttpNotStarted")]
    public static partial void HttpNotStarted(this ILogger log, System.Net.IPEndPoint address, string reason);

    [LoggerMessage(17, LogLevel.Error, "A request for metrics, health or the status page failed", EventName = "HttpFailed")]
    public static partial void HttpFailed(this ILogger log, Exception exception);

    [LoggerMessage(18, LogLevel.Warning, "Trace spans are not taken by {Address}: {Reason}", EventName = "SpansNotSent")]
    public static partial void SpansNotSent(this ILogger log, Uri address, string reason);

    [LoggerMessage(13, LogLevel.Debug, "Watchdog: the loop and the listener are proved every {Period}", EventName = "WatchdogStarted")]
    public static partial void WatchdogStarted(this ILogger log, string period);
}
