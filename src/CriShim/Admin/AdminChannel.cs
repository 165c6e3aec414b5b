using CriShim.Linux;
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
            ConnectCallback = (_, cancellationToken) => UnixConnector.ConnectAsync(socketPath, cancellationToken),
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
}
