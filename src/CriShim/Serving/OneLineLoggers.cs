using CriShim.Supervision;
using Microsoft.Extensions.Logging;

namespace CriShim.Serving;

/// <summary>
/// Log lines that stay one line, and what they seem to be: names come from callers and pod authors, and could end a line and begin one of
/// their own, move a terminal's cursor, or run backwards. Whatever could is written as <c>\u001b</c> is.
/// </summary>
internal sealed class OneLineLoggers(ILoggerFactory inner) : ILoggerFactory
{
    /// <summary>The most of one message, in characters: no name may push others' lines out of the journal.</summary>
    private const int MaxLength = 4096;

    public ILogger CreateLogger(string categoryName) => new OneLineLogger(inner.CreateLogger(categoryName));

    public void AddProvider(ILoggerProvider provider) => inner.AddProvider(provider);

    public void Dispose() => inner.Dispose();

    internal static string OneLine(string text)
    {
        if (text.Length <= MaxLength && !text.AsSpan().ContainsAnyExceptInRange(' ', '~'))
        {
            return text;
        }

        return text.Length <= MaxLength ? UntrustedText.Escape(text) : UntrustedText.Escape(text.AsSpan(0, MaxLength)) + "...";
    }

    private sealed class OneLineLogger(ILogger inner) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => inner.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => inner.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            inner.Log(logLevel, eventId, state, exception, (said, failure) => OneLine(formatter(said, failure)));
    }
}
