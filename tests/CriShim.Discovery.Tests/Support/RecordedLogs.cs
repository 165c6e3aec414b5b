using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.Tests.Support;

/// <summary>Keeps what is logged.</summary>
internal sealed class RecordedLogs : ILoggerFactory
{
    private readonly ConcurrentQueue<(LogLevel Level, string Event, string Text)> _lines = new();

    public IReadOnlyList<string> Texts => [.. _lines.Select(l => l.Text)];

    public IReadOnlyList<string> Of(string eventName) => [.. _lines.Where(l => l.Event == eventName).Select(l => l.Text)];

    public void AssertNoErrors() => Assert.DoesNotContain(_lines, l => l.Level >= LogLevel.Error);

    public ILogger CreateLogger(string categoryName) => new Recorder(_lines);

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public void Dispose()
    {
    }

    private sealed class Recorder(ConcurrentQueue<(LogLevel, string, string)> lines) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            lines.Enqueue((logLevel, eventId.Name ?? "", formatter(state, exception) + (exception is null ? "" : " " + exception)));
    }
}
