using System.Net.Sockets;
using CriShim.Protocol.Runtime.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.TestSupport.Lab;

/// <summary>Calls CRI over a Unix socket, as the kubelet does.</summary>
public sealed class CriCaller : IDisposable
{
    private readonly GrpcChannel _channel;

    public CriCaller(string socketPath)
    {
        SocketPath = socketPath;
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellationToken).ConfigureAwait(false);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
            MaxSendMessageSize = null,
        });
        Invoker = _channel.CreateCallInvoker();
        Runtime = new RuntimeService.RuntimeServiceClient(Invoker);
        Images = new ImageService.ImageServiceClient(Invoker);
    }

    public string SocketPath { get; }

    public RuntimeService.RuntimeServiceClient Runtime { get; }

    public ImageService.ImageServiceClient Images { get; }

    /// <summary>For calls that need their bytes, or have no generated method.</summary>
    public CallInvoker Invoker { get; }

    public void Dispose() => _channel.Dispose();
}
