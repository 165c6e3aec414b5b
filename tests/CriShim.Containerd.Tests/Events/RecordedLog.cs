using Microsoft.Extensions.Logging;

namespace CriShim.Containerd.Tests.Events;

/// <summary>Counts log lines by level, and tells when there are enough.</summary>
internal sealed class RecordedLog : ILogger
{
    private readonly List<LogLevel> _lines = [];
    private readonly List<(LogLevel Level, int Count, TaskCompletionSource Reached)> _waiting = [];

    public int Count(LogLevel level)
    {
        lock (_lines)
        {
            return _lines.Count(line => line == level);
        }
    }

    public Task ReachesAsync(LogLevel level, int count)
    {
        lock (_lines)
        {
            var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add((level, count, reached));
            Announce();
            return reached.Task;
        }
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_lines)
        {
            _lines.Add(logLevel);
            Announce();
        }
    }

    private void Announce()
    {
        foreach ((LogLevel level, int count, TaskCompletionSource reached) in _waiting)
        {
            if (_lines.Count(line => line == level) >= count)
            {
                reached.TrySetResult();
            }
        }
    }
}
