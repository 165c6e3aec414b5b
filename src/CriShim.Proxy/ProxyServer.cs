using System.Diagnostics.Metrics;
using CriShim.Linux;
using CriShim.Proxy.Forwarding;
using CriShim.Proxy.Services;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy;

/// <summary>Accepts callers on a listener and forwards their CRI calls to the backend.</summary>
public sealed class ProxyServer : IAsyncDisposable
{
    private readonly ProxyOptions _options;
    private readonly UnixListener _listener;
    private readonly ProxyLog _log;
    private readonly ProxyLoop _loop;
    private readonly ProxyMetrics? _metrics;
    private bool _disposed;

    /// <summary>Takes ownership of <paramref name="listener"/>.</summary>
    /// <param name="options">Validated.</param>
    /// <param name="listener">Where callers come.</param>
    /// <param name="loggerFactory">Where it logs.</param>
    /// <param name="time">The clock.</param>
    /// <param name="supervision">What has a say in calls.</param>
    /// <param name="meters">Where calls are measured; null: nowhere.</param>
    public ProxyServer(
        ProxyOptions options, UnixListener listener, ILoggerFactory loggerFactory, TimeProvider? time = null, ISupervision? supervision = null,
        IMeterFactory? meters = null)
    {
        _options = options;
        _listener = listener;
        _log = new ProxyLog(loggerFactory.CreateLogger("CriShim.Proxy"));
        supervision ??= new NoSupervision();
        time ??= TimeProvider.System;
        _metrics = meters is null ? null : new ProxyMetrics(meters, time);
        _loop = new ProxyLoop(options.BackendSocketPath, new MethodTable(), listener, _log, time)
        {
            RewritesViews = () => supervision.RewritesViews,
            Metrics = _metrics,
        };
        var service = new RuntimeService(loggerFactory.CreateLogger("CriShim.RuntimeService"), supervision, time);
        foreach ((string path, TypedMethod method) in service.Bind())
        {
            _loop.Methods.Find(System.Text.Encoding.ASCII.GetBytes(path)).Typed = method;
        }
    }

    /// <summary>Completes when the proxy has ended: after <see cref="StopAsync"/>, or with the exception that ended it.</summary>
    public Task Completion => _loop.Stopped;

    /// <summary>Starts the loop's thread and accepts callers. Returns at once; never waits for the backend.</summary>
    public void Start()
    {
        _loop.Start("proxy");
        _log.Serving(_listener.Path, _options.BackendSocketPath);
    }

    /// <summary>Completes when the loop has run a turn after this call: the proof of life that the watchdog asks for.</summary>
    public Task PingAsync(CancellationToken cancellationToken)
    {
        var turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(turn.SetResult);
        return turn.Task.WaitAsync(cancellationToken);
    }

    /// <summary>The callers that are connected now.</summary>
    public Task<IReadOnlyList<CallerInfo>> CallersAsync(CancellationToken cancellationToken) => _loop.CallersAsync(cancellationToken);

    /// <summary>
    /// Stops accepting, tells callers to go away, ends endless streams with UNAVAILABLE at once and other calls when
    /// <paramref name="grace"/> has passed. Completes when all is closed.
    /// </summary>
    public Task StopAsync(TimeSpan grace) => _loop.StopAsync(grace);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_disposed)
        {
            _disposed = true;
            await StopAsync(TimeSpan.Zero).ConfigureAwait(false);
            _loop.Dispose();
            _metrics?.Dispose();
        }
    }
}
