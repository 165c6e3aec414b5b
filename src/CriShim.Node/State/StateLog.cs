using Microsoft.Extensions.Logging;

namespace CriShim.Node.State;

internal static partial class StateLog
{
    [LoggerMessage(201, LogLevel.Warning, "Record {Path} can't be used and is set aside: {Reason}")]
    public static partial void RecordSetAside(ILogger logger, string path, string reason);

    [LoggerMessage(202, LogLevel.Error, "Record {Path} can't be written: {Reason}")]
    public static partial void WriteFailed(ILogger logger, string path, string reason);

    [LoggerMessage(203, LogLevel.Information, "Request {Path} of {Bytes} bytes is not kept; a replacement is built from the backend's status")]
    public static partial void RequestTooLarge(ILogger logger, string path, int bytes);

    [LoggerMessage(204, LogLevel.Warning, "Records of sandbox {SandboxId} can't be deleted: {Reason}")]
    public static partial void ForgetFailed(ILogger logger, string sandboxId, string reason);
}
