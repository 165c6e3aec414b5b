using System.Net.Sockets;
using System.Threading.Channels;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.TestSupport.Backends;

/// <summary>A backend that speaks raw frames, or anything else, as the test tells it.</summary>
public sealed class RawBackend : IAsyncDisposable
{
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Channel<Socket> _accepted = Channel.CreateUnbounded<Socket>();
    private readonly List<RawConnection> _connections = [];
    private readonly List<Socket> _sockets = [];
    private readonly Task _accepting;

    public RawBackend(string socketPath)
    {
        SocketPath = socketPath;
        _listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        _listener.Listen(512);
        _accepting = Task.Run(AcceptLoopAsync);
    }

    public string SocketPath { get; }

    public int ConnectionsAccepted => _sockets.Count;

    /// <summary>The next connection, speaking HTTP/2.</summary>
    public async Task<RawConnection> AcceptAsync(RawConnectionOptions? options = null)
    {
        return Register(new RawConnection(await AcceptSocketAsync(), isCaller: false, options));
    }

    private RawConnection Register(RawConnection connection)
    {
        lock (_connections)
        {
            _connections.Add(connection);
        }

        return connection;
    }

    /// <summary>Every connection that <see cref="AcceptAsync"/> or <see cref="EchoForever"/> took.</summary>
    public IReadOnlyList<RawConnection> Connections
    {
        get
        {
            lock (_connections)
            {
                return [.. _connections];
            }
        }
    }

    /// <summary>From here on every call on every new connection gets its body back.</summary>
    public void EchoForever(RawConnectionOptions? options = null) => _ = Task.Run(async () =>
    {
        await foreach (Socket socket in _accepted.Reader.ReadAllAsync())
        {
            EchoForever(Register(new RawConnection(socket, isCaller: false, options)));
        }
    });

    /// <summary>From here on every further call on this connection gets its body back.</summary>
    public static void EchoForever(RawConnection connection) => _ = Task.Run(async () =>
    {
        while (true)
        {
            RawStream stream = await connection.NextStreamAsync(forever: true);
            _ = Task.Run(async () =>
            {
                await connection.UntilAsync(() => stream.Closed, "the request's end", forever: true);
                if (stream.ResetCode is null)
                {
                    await stream.RespondAsync(stream.Body);
                }
            });
        }
    });

    /// <summary>The next connection, silent.</summary>
    public async Task<Socket> AcceptSocketAsync() =>
        await _accepted.Reader.ReadAsync().AsTask().Bounded("a connection to the backend");

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting.Bounded();
        _accepted.Writer.TryComplete();
        foreach (RawConnection connection in Connections)
        {
            await connection.DisposeAsync();
        }

        foreach (Socket socket in _sockets)
        {
            socket.Dispose();
        }
    }

    private async Task AcceptLoopAsync()
    {
        try
        {
            while (true)
            {
                Socket socket = await _listener.AcceptAsync();
                _sockets.Add(socket);
                _accepted.Writer.TryWrite(socket);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // Disposed.
        }
    }
}
