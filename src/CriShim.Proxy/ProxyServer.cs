using CriShim.Linux;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy;

/// <summary>Accepts callers on a listener and forwards their CRI calls to the backend.</summary>
public sealed class ProxyServer : IAsyncDisposable
{
    /// <summary>Takes ownership of <paramref name="listener"/>.</summary>
    public ProxyServer(ProxyOptions options, UnixListener listener, ILoggerFactory loggerFactory)
    {
    }

    /// <summary>Starts the loop's thread and accepts callers. Returns at once; never waits for the backend.</summary>
    public void Start()
    {
    }

    /// <summary>Completes when the loop has run a turn after this call: the proof of life that the watchdog asks for.</summary>
    public Task PingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Stops accepting, tells callers to go away, ends endless streams with UNAVAILABLE at once and other calls when
    /// <paramref name="grace"/> has passed. Completes when all is closed.
    /// </summary>
    public Task StopAsync(TimeSpan grace) => Task.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await StopAsync(TimeSpan.Zero);
}
