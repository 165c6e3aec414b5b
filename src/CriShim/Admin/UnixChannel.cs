using CriShim.Linux;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Admin;

/// <summary>A command's gRPC connection to a Unix socket: that of the crishim that serves, containerd's, or the callers'.</summary>
internal sealed class UnixChannel : IDisposable
{
    private readonly GrpcChannel _channel;

    public UnixChannel(string socketPath)
    {
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = UnixConnector.CreateHandler(socketPath),
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null, // A full node's pods are more than the 4 MB of the default.
        });
        Invoker = _channel.CreateCallInvoker();
    }

    public CallInvoker Invoker { get; }

    public void Dispose() => _channel.Dispose();
}
