using CriShim.Linux;
using CriShim.Linux.Polling;
using CriShim.Proxy.Forwarding;
using CriShim.Proxy.Services;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Proxy;

/// <summary>
/// Serves a gRPC service of this process on a socket of its own, with no backend behind it. Its thread is not the proxy's: nothing that
/// happens here can hold up a caller.
/// </summary>
/// <remarks>Unary methods only; requests are not compressed. What goes on is asked for again and again (see supervisor.proto).</remarks>
public sealed class ServiceServer : IAsyncDisposable
{
    private readonly ProxyLoop _loop;
    private readonly UnixListener _listener;
    private bool _disposed;

    /// <summary>Takes ownership of <paramref name="listener"/>.</summary>
    /// <param name="listener">Where callers come.</param>
    /// <param name="bind">Binds the service, such as <c>binder => Supervisor.BindService(binder, service)</c>.</param>
    /// <param name="admits">Whether a process may connect; others are cut off before they say a word.</param>
    /// <param name="loggers">Where it logs.</param>
    /// <param name="time">The clock.</param>
    public ServiceServer(
        UnixListener listener, Action<ServiceBinderBase> bind, Func<PeerCredentials, bool> admits, ILoggerFactory loggers,
        TimeProvider? time = null)
    {
        _listener = listener;
        var binder = new ServiceBinder(static _ => static () => true);
        bind(binder);
        var log = new ProxyLog(loggers.CreateLogger("CriShim.Admin"));
        _loop = new ProxyLoop(backendPath: null, new MethodTable(binder.Methods), listener, log, time ?? TimeProvider.System)
        {
            Admits = admits,
        };
    }

    /// <summary>The path that callers connect to.</summary>
    public string Path => _listener.Path;

    /// <summary>Completes when the server has ended: after <see cref="StopAsync"/>, or with the exception that ended it.</summary>
    public Task Completion => _loop.Stopped;

    /// <summary>Starts the thread and accepts callers.</summary>
    public void Start()
    {
        _loop.Start("admin");
    }

    /// <summary>Stops accepting, and ends what runs when <paramref name="grace"/> has passed.</summary>
    public Task StopAsync(TimeSpan grace) => _loop.StopAsync(grace);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_disposed)
        {
            _disposed = true;
            await StopAsync(TimeSpan.Zero).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _loop.Dispose();
        }
    }
}
