using CriShim.Linux;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Containerd;

/// <summary>HTTP/2 connections to containerd's Unix socket, for the shim's own calls. What callers send is forwarded elsewhere.</summary>
internal sealed class ContainerdChannel : IDisposable
{
    // Multi-megabyte lists need more than the default 64 KiB to arrive without pauses; fixed, for probing for the best window
    // sends pings, which grpc-go takes for abuse.
    private const int StreamWindowBytes = 1024 * 1024;
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(5);

    private readonly GrpcChannel _channel;

    static ContainerdChannel() =>
        AppContext.SetSwitch("System.Net.SocketsHttpHandler.Http2FlowControl.DisableDynamicWindowSizing", true);

    public ContainerdChannel(string socketPath)
    {
        SocketsHttpHandler handler = UnixConnector.CreateHandler(socketPath);

        // Of use where a stopped containerd lets its backlog fill up: the kernel then neither accepts nor refuses.
        handler.ConnectTimeout = s_connectTimeout;
        handler.EnableMultipleHttp2Connections = true;
        handler.InitialHttp2StreamWindowSize = StreamWindowBytes;
        handler.PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan;
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
            MaxSendMessageSize = null,
        });
        Invoker = _channel.CreateCallInvoker();
    }

    public CallInvoker Invoker { get; }

    /// <summary>Ends the connections, and calls on them with CANCELLED.</summary>
    public void Dispose() => _channel.Dispose();
}
