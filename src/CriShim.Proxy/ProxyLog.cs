using CriShim.Proxy.Http2;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy;

/// <summary>
/// What the proxy says. Methods, codes, durations and ids only: never a message's body, nor the backend's error text, which
/// can quote commands and arguments.
/// </summary>
internal sealed partial class ProxyLog(ILogger logger)
{
    /// <summary>Every call is wanted.</summary>
    public bool IsDebug => logger.IsEnabled(LogLevel.Debug);

    [LoggerMessage(1, LogLevel.Debug, "Serving on unix://{Path}, forwarding to unix://{BackendPath}")]
    public partial void Serving(string path, string backendPath);

    [LoggerMessage(2, LogLevel.Warning, "{Method} failed: {Code} after {DurationMs} ms {Subject}")]
    public partial void CallFailed(string method, StatusCode code, double durationMs, string subject);

    [LoggerMessage(3, LogLevel.Information, "{Method} ended: {Code} after {DurationMs} ms {Subject}")]
    public partial void CallRefused(string method, StatusCode code, double durationMs, string subject);

    [LoggerMessage(4, LogLevel.Debug, "{Method}: {Code} after {DurationMs} ms {Subject}")]
    public partial void CallDone(string method, StatusCode code, double durationMs, string subject);

    [LoggerMessage(5, LogLevel.Warning, "Backend unix://{BackendPath} is not reachable: {Reason}")]
    public partial void BackendUnreachable(string backendPath, string reason);

    [LoggerMessage(6, LogLevel.Information, "Backend unix://{BackendPath} is reachable")]
    public partial void BackendReachable(string backendPath);

    [LoggerMessage(18, LogLevel.Error, "An action of the forwarding loop failed; the loop goes on")]
    public partial void ActionFailed(Exception exception);

    [LoggerMessage(7, LogLevel.Warning, "Backend unix://{BackendPath} ended a connection ({Reason}), open calls: {Calls}")]
    public partial void BackendConnectionLost(string backendPath, string reason, int calls);

    [LoggerMessage(8, LogLevel.Error, "Backend unix://{BackendPath} broke HTTP/2 ({Error}): {Reason}")]
    public partial void BackendBrokeProtocol(string backendPath, Http2Error error, string reason);

    [LoggerMessage(9, LogLevel.Warning, "A caller (process {ProcessId} of user {UserId}) broke HTTP/2 ({Error}) and is cut off: {Reason}")]
    public partial void CallerBrokeProtocol(int processId, uint? userId, Http2Error error, string reason);

    [LoggerMessage(10, LogLevel.Warning, "A malformed request of process {ProcessId} of user {UserId} was refused: {Reason}")]
    public partial void RequestMalformed(int processId, uint? userId, string reason);

    [LoggerMessage(11, LogLevel.Debug, "A caller disconnected ({Reason}), open calls: {Calls}")]
    public partial void CallerDisconnected(string reason, int calls);

    [LoggerMessage(12, LogLevel.Warning, "No connection can be accepted now: {Reason}")]
    public partial void AcceptFailed(string reason);

    [LoggerMessage(13, LogLevel.Error, "The handler of {Method} failed; the call goes through without it")]
    public partial void HandlerFailed(Exception exception, string method);

    [LoggerMessage(19, LogLevel.Debug, "A message of {Method} can't be read ({Reason}); the call goes through")]
    public partial void MessageUnreadable(string method, string reason);

    [LoggerMessage(14, LogLevel.Error, "A connection failed inside crishim and is closed; others go on")]
    public partial void ConnectionFailed(Exception exception);

    [LoggerMessage(15, LogLevel.Warning, "A caller (process {ProcessId} of user {UserId}) connected and said nothing; it is cut off")]
    public partial void CallerSilent(int processId, uint? userId);

    /// <summary>Once a connection: who is behind the pods and containers that change from here on.</summary>
    [LoggerMessage(21, LogLevel.Information, "Process {ProcessId} of user {UserId} changes something: {Method}")]
    public partial void CallerChanges(int processId, uint? userId, string method);

    [LoggerMessage(22, LogLevel.Debug, "Process {ProcessId} of user {UserId} connected")]
    public partial void CallerConnected(int processId, uint? userId);

    [LoggerMessage(20, LogLevel.Warning,
        "Process {ProcessId} of user {UserId} connected to unix://{Path}, which is not for it; it is cut off")]
    public partial void CallerNotAdmitted(string path, int processId, uint? userId);

    [LoggerMessage(16, LogLevel.Information, "Stopping: running calls have {GraceSeconds} s")]
    public partial void Stopping(double graceSeconds);

    [LoggerMessage(17, LogLevel.Critical, "The forwarding loop failed")]
    public partial void LoopFailed(Exception exception);
}
