using System.Collections.Concurrent;
using System.Threading.Channels;
using CriShim.TestSupport;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy.Tests;

/// <summary>Keeps what the proxy logs as an error: nothing that a caller or a backend does is one.</summary>
internal sealed class RecordedLog : ILoggerFactory, ILogger
{
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();

    public ConcurrentQueue<string> Failures { get; } = new();

    /// <summary>Every line, whatever its level.</summary>
    public ConcurrentQueue<string> All { get; } = new();

    /// <summary>Bodies that a typed handler could not read.</summary>
    public ConcurrentQueue<string> Unread { get; } = new();

    /// <summary>What a test provokes, and an operator should read.</summary>
    public string? Expected { get; set; }

    /// <summary>The next line below an error that holds <paramref name="part"/>.</summary>
    public async Task<string> NextLineAsync(string part)
    {
        while (true)
        {
            string line = await _lines.Reader.ReadAsync().AsTask().Bounded($"a line with {part}");
            if (line.Contains(part, StringComparison.Ordinal))
            {
                return line;
            }
        }
    }

    public LogLevel LowestLevel { get; set; } = LogLevel.Warning;

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider)
    {
    }

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LowestLevel;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        All.Enqueue($"{formatter(state, exception)} {exception}");
        if (logLevel < LogLevel.Error)
        {
            _lines.Writer.TryWrite(formatter(state, exception));
            return;
        }

        string line = $"{logLevel}: {formatter(state, exception)} {exception}";
        if (line.Contains("the call goes through without it", StringComparison.Ordinal))
        {
            Unread.Enqueue(line);
        }
        else if (Expected is null || !line.Contains(Expected, StringComparison.Ordinal))
        {
            Failures.Enqueue(line);
        }
    }

    public void Dispose()
    {
    }
}
