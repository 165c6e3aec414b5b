using CriShim.TestSupport;
using Microsoft.Extensions.Logging;

namespace CriShim.Tests.Serving;

/// <summary>Keeps what is logged, and lets a test wait for a line.</summary>
internal sealed class RecordedLog : ILogger
{
    private readonly Lock _lock = new();
    private readonly List<(LogLevel Level, string Text)> _lines = [];
    private TaskCompletionSource _added = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public IReadOnlyList<(LogLevel Level, string Text)> Lines
    {
        get
        {
            lock (_lock)
            {
                return [.. _lines];
            }
        }
    }

    public async Task Logged(string text)
    {
        while (true)
        {
            Task added;
            lock (_lock)
            {
                if (_lines.Exists(l => l.Text == text))
                {
                    return;
                }

                added = _added.Task;
            }

            await added.Bounded($"the log has '{text}'");
        }
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        lock (_lock)
        {
            _lines.Add((logLevel, formatter(state, exception)));
            _added.SetResult();
            _added = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }
}
