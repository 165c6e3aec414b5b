using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace CriShim.TestSupport.Backends;

/// <summary>
/// A backend on a real Unix socket, scripted by path. It is Kestrel without any gRPC library, so that octets stay octets,
/// and an HTTP/2 implementation that shares nothing with the proxy's.
/// </summary>
public sealed class FakeContainerd : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, Func<FakeCall, Task>> _scripts = new();
    private readonly ConcurrentDictionary<string, ConnectionContext> _connections = new();
    private readonly Channel<FakeCall> _arrivals = Channel.CreateUnbounded<FakeCall>();
    private readonly ConcurrentQueue<FakeCall> _calls = new();
    private readonly Action<KestrelServerOptions>? _configure;
    private KestrelServer? _kestrel;

    private FakeContainerd(string socketPath, Action<KestrelServerOptions>? configure)
    {
        SocketPath = socketPath;
        _configure = configure;
    }

    public string SocketPath { get; }

    /// <summary>What happens on paths without a script; by default the body comes back.</summary>
    public Func<FakeCall, Task> Otherwise { get; set; } = call => call.EchoAsync();

    /// <summary>All calls so far, in the order of arrival.</summary>
    public IReadOnlyList<FakeCall> Calls => [.. _calls];

    public int OpenConnections => _connections.Count;

    /// <summary>A fake that listens.</summary>
    public static async Task<FakeContainerd> StartAsync(string socketPath, Action<KestrelServerOptions>? configure = null)
    {
        FakeContainerd fake = Create(socketPath, configure);
        await fake.AppearAsync();
        return fake;
    }

    /// <summary>A fake that is not there yet.</summary>
    public static FakeContainerd Create(string socketPath, Action<KestrelServerOptions>? configure = null) =>
        new(socketPath, configure);

    public void On(string path, Func<FakeCall, Task> script) => _scripts[path] = script;

    /// <summary>The next call in the order of arrival, whatever its path.</summary>
    public async Task<FakeCall> NextCallAsync() => await _arrivals.Reader.ReadAsync().AsTask().Bounded("a call at the backend");

    /// <summary>Starts to listen: at the start, or again after <see cref="DieAsync"/>.</summary>
    public async Task AppearAsync()
    {
        var options = new KestrelServerOptions
        {
            AddServerHeader = false,
            AllowResponseHeaderCompression = true,
            ApplicationServices = new ServiceCollection().AddLogging().BuildServiceProvider(),
            RequestHeaderEncodingSelector = _ => Encoding.Latin1,
            ResponseHeaderEncodingSelector = _ => Encoding.Latin1,
        };
        File.Delete(SocketPath);
        LiftLimits(options.Limits);
        _configure?.Invoke(options);
        options.ListenUnixSocket(SocketPath, endpoint =>
        {
            endpoint.Protocols = HttpProtocols.Http2;
            endpoint.Use(next => async connection =>
            {
                _connections[connection.ConnectionId] = connection;
                try
                {
                    await next(connection);
                }
                finally
                {
                    _connections.TryRemove(connection.ConnectionId, out _);
                }
            });
        });
        var transport = new SocketTransportFactory(
            Options.Create(new SocketTransportOptions { Backlog = 4096 }), NullLoggerFactory.Instance);
        _kestrel = new KestrelServer(Options.Create(options), transport, NullLoggerFactory.Instance);
        await _kestrel.StartAsync(new Application(this), CancellationToken.None);
    }

    /// <summary>
    /// Dies as by SIGKILL: all connections are cut. The socket file goes too, or stays behind with nobody listening.
    /// </summary>
    public async Task DieAsync(bool leaveSocketFile = false)
    {
        if (_kestrel is not { } kestrel)
        {
            return;
        }

        _kestrel = null;
        string aside = SocketPath + ".aside";
        if (leaveSocketFile)
        {
            // Closing the listener unlinks its path: out of its sight first, and back afterwards.
            File.Move(SocketPath, aside);
        }

        CutConnections();
        await kestrel.StopAsync(new CancellationToken(canceled: true));
        kestrel.Dispose();
        File.Delete(SocketPath);
        if (leaveSocketFile)
        {
            File.Move(aside, SocketPath);
        }
    }

    /// <summary>Cuts what is connected now; who connects again is served.</summary>
    public void CutConnections()
    {
        foreach (ConnectionContext connection in _connections.Values)
        {
            connection.Features.Get<IConnectionSocketFeature>()?.Socket.Close(0);
            connection.Abort();
        }
    }

    public async ValueTask DisposeAsync() => await DieAsync();

    private static void LiftLimits(KestrelServerLimits limits)
    {
        limits.MaxConcurrentConnections = null;
        limits.MaxRequestBodySize = null;
        limits.MinRequestBodyDataRate = null;
        limits.MinResponseDataRate = null;
        // Not infinite: Kestrel of .NET 10 makes TimeSpan.MaxValue of that, overflows, and ends idle connections within seconds.
        limits.KeepAliveTimeout = TimeSpan.FromDays(1);
        limits.RequestHeadersTimeout = TimeSpan.FromDays(1);
        limits.MaxRequestHeadersTotalSize = 4 << 20;
        limits.MaxRequestHeaderCount = 20_000;
        limits.MaxRequestLineSize = 1 << 20;
        limits.MaxRequestBufferSize = 16 << 20;
        limits.Http2.MaxStreamsPerConnection = 100_000;
        limits.Http2.MaxRequestHeaderFieldSize = 2 << 20;
        limits.Http2.InitialConnectionWindowSize = 16 << 20;
        limits.Http2.InitialStreamWindowSize = 4 << 20;
    }

    private async Task RunAsync(FakeCall call)
    {
        _calls.Enqueue(call);
        _arrivals.Writer.TryWrite(call);
        try
        {
            await (_scripts.TryGetValue(call.Path, out Func<FakeCall, Task>? script) ? script(call) : Otherwise(call));
        }
        catch (Exception error) when (error is IOException or OperationCanceledException or ConnectionAbortedException)
        {
            // The call was cut under the script; the test sees it in Cancelled.
            call.Context.Abort();
        }
        finally
        {
            call.Finish();
        }
    }

    private sealed class Application(FakeContainerd fake) : IHttpApplication<FakeCall>
    {
        public FakeCall CreateContext(IFeatureCollection contextFeatures) => new(contextFeatures);

        public Task ProcessRequestAsync(FakeCall context) => fake.RunAsync(context);

        public void DisposeContext(FakeCall context, Exception? exception)
        {
        }
    }
}
