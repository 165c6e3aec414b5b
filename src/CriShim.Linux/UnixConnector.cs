using System.Net.Sockets;

namespace CriShim.Linux;

/// <summary>Connections to Unix stream sockets, for clients that want a stream.</summary>
public static class UnixConnector
{
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
