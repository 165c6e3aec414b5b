using System.Net.Sockets;
using System.Runtime.InteropServices;
using CriShim.Protocol.Runtime.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Tests.Serving;

/// <summary>What the process does with calls and the watchdog, where the backend takes connections and never says a word.</summary>
public sealed class ServeCallsTests : IDisposable
{
    private const byte HeadersFrame = 1;

    private readonly TempDirectory _directory = new();
    private readonly Socket _silentBackend = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource _timeout = new(TimeSpan.FromSeconds(60));

    public ServeCallsTests()
    {
        _silentBackend.Bind(new UnixDomainSocketEndPoint(BackendFile));
        _silentBackend.Listen();
    }

    private string SocketFile => _directory.File("crishim.sock");

    private string BackendFile => _directory.File("containerd.sock");

    public void Dispose()
    {
        _silentBackend.Dispose();
        _timeout.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Serve_WithWatchdogAndSilentBackend_BeatsUntilItStops()
    {
        await using CrishimProcess crishim = Serve("0s", watchdog: TimeSpan.FromSeconds(3));

        Assert.Equal("READY=1", await crishim.Notified());
        Assert.Equal("WATCHDOG=1", await crishim.Notified());
        Assert.Equal("WATCHDOG=1", await crishim.Notified());
        crishim.Signal(PosixSignal.SIGTERM);

        string last = await crishim.Notified();
        while (last == "WATCHDOG=1")
        {
            last = await crishim.Notified();
        }

        Assert.Equal("STOPPING=1", last);
        Assert.Equal(0, await crishim.ExitCode());
    }

    [Fact]
    public async Task Serve_CallOpenBeyondTheGrace_EndsItAndExitsWithZero()
    {
        await using CrishimProcess crishim = Serve("200ms");
        Assert.Equal("READY=1", await crishim.Notified());
        using GrpcChannel caller = Caller();
        Task<VersionResponse> call = await OpenCall(caller);

        crishim.Signal(PosixSignal.SIGTERM);

        RpcException ended = await Assert.ThrowsAsync<RpcException>(() => call);
        Assert.Equal(StatusCode.Unavailable, ended.StatusCode);
        Assert.Equal(0, await crishim.ExitCode());
    }

    [Fact]
    public async Task Serve_SecondSignal_EndsTheProcessDuringTheGrace()
    {
        await using CrishimProcess crishim = Serve("10m");
        Assert.Equal("READY=1", await crishim.Notified());
        using GrpcChannel caller = Caller();
        Task<VersionResponse> call = await OpenCall(caller);
        crishim.Signal(PosixSignal.SIGTERM);
        Assert.Equal("STOPPING=1", await crishim.Notified());

        crishim.Signal(PosixSignal.SIGTERM);

        Assert.Equal(128 + 15, await crishim.ExitCode()); // Ended by the signal.
        await Assert.ThrowsAsync<RpcException>(() => call);
    }

    private CrishimProcess Serve(string grace, TimeSpan? watchdog = null)
    {
        string file = _directory.File("c.yaml");
        File.WriteAllText(file, $"shutdown: {{runningCallsGrace: {grace}}}\nadmin: {{address: {_directory.File("admin.sock")}}}");
        return CrishimProcess.Start(_directory, start =>
        {
            foreach (string argument in (ReadOnlySpan<string>)["serve", "--config", file, "--listen", SocketFile, "--containerd", BackendFile, "--metrics", "off"])
            {
                start.ArgumentList.Add(argument);
            }

            if (watchdog is { } interval)
            {
                start.Environment["WATCHDOG_USEC"] = ((long)interval.TotalMicroseconds).ToString(System.Globalization.CultureInfo.InvariantCulture);
            }
        });
    }

    private GrpcChannel Caller() => GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellationToken) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(SocketFile), cancellationToken);
                return new NetworkStream(socket, ownsSocket: true);
            },
        },
        DisposeHttpClient = true,
    });

    /// <summary>A call that has come through to the backend, which will never answer it.</summary>
    private async Task<Task<VersionResponse>> OpenCall(GrpcChannel caller)
    {
        Task<VersionResponse> call = new RuntimeService.RuntimeServiceClient(caller).VersionAsync(new VersionRequest()).ResponseAsync;
        Socket accepted = await _silentBackend.AcceptAsync(_timeout.Token);
        var stream = new NetworkStream(accepted); // Open until the proxy closes its end.
        await stream.ReadExactlyAsync(new byte["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length], _timeout.Token);
        byte[] header = new byte[9];
        do
        {
            await stream.ReadExactlyAsync(header, _timeout.Token);
            await stream.ReadExactlyAsync(new byte[(header[0] << 16) | (header[1] << 8) | header[2]], _timeout.Token);
        }
        while (header[3] != HeadersFrame);
        return call;
    }
}
