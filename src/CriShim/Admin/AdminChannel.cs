using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Admin;

/// <summary>A command's connection to the crishim that serves.</summary>
internal sealed class AdminChannel : IDisposable
{
    private readonly GrpcChannel _channel;

    public AdminChannel(string socketPath)
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = (_, cancellationToken) => ConnectAsync(socketPath, cancellationToken),
            KeepAlivePingDelay = Timeout.InfiniteTimeSpan,
            ActivityHeadersPropagator = null,
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
        Invoker = _channel.CreateCallInvoker();
    }

    public CallInvoker Invoker { get; }

    public void Dispose() => _channel.Dispose();

    private static async ValueTask<Stream> ConnectAsync(string socketPath, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
