using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Tests.Support;

/// <summary>Keeps what is logged, as text.</summary>
internal sealed class RecordedLog : ILoggerFactory, ILogger
{
    private readonly ConcurrentQueue<(LogLevel Level, string Line)> _lines = new();

    public IReadOnlyList<string> All => [.. _lines.Select(line => $"{line.Level}: {line.Line}")];

    public IReadOnlyList<string> At(LogLevel level) => [.. _lines.Where(line => line.Level == level).Select(line => line.Line)];

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
        {
            _lines.Enqueue((logLevel, $"{formatter(state, exception)} {exception}".Trim()));
        }
    }

    public void Dispose()
    {
    }
}
