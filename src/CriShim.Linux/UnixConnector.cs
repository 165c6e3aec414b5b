using System.Net.Sockets;

namespace CriShim.Linux;

/// <summary>Connections to Unix stream sockets, for clients that want a stream.</summary>
public static class UnixConnector
{
    /// <summary>HTTP/2 without encryption, to whoever listens there: what gRPC's clients want, and nothing that is the web's.</summary>
    public static SocketsHttpHandler CreateHandler(string path) => new()
    {
        ConnectCallback = (_, cancellationToken) => ConnectAsync(path, cancellationToken),
        KeepAlivePingDelay = Timeout.InfiniteTimeSpan,
        ActivityHeadersPropagator = null,
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
    };

    /// <summary>Connects; the stream owns the socket.</summary>
    /// <exception cref="SocketException">Nobody listens there, or the caller may not connect.</exception>
    public static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
