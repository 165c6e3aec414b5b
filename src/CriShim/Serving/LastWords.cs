using CriShim.Commands;
using Microsoft.Extensions.Logging;

namespace CriShim.Serving;

/// <summary>
/// An exception that nothing catches, on whatever thread, is logged and ends the process with exit code 1 rather than with SIGABRT
/// and a core dump: systemd starts us anew, and the log says why.
/// </summary>
internal sealed class LastWords : IDisposable
{
    private readonly ILogger _log;
    private readonly ILoggerFactory _loggers;

    public LastWords(ILogger log, ILoggerFactory loggers)
    {
        _log = log;
        _loggers = loggers;
        AppDomain.CurrentDomain.UnhandledException += ExitWithReason;
        TaskScheduler.UnobservedTaskException += LogForgotten;
    }

    public void Dispose()
    {
        AppDomain.CurrentDomain.UnhandledException -= ExitWithReason;
        TaskScheduler.UnobservedTaskException -= LogForgotten;
    }

    private void ExitWithReason(object sender, UnhandledExceptionEventArgs e)
    {
        _log.UnhandledException(e.ExceptionObject as Exception);
        _loggers.Dispose(); // Writes out what is queued.
        Environment.Exit(ExitCode.Failure);
    }

    private void LogForgotten(object? sender, UnobservedTaskExceptionEventArgs e) => _log.UnobservedTaskException(e.Exception);
}
