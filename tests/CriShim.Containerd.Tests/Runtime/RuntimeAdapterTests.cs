using System.Net.Sockets;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using Microsoft.Extensions.Logging.Abstractions;

namespace CriShim.Containerd.Tests.Runtime;

public sealed class RuntimeAdapterTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("crishim-").FullName;
    private RuntimeAdapter _adapter;

    public RuntimeAdapterTests() => _adapter = Adapter(deadline: TimeSpan.FromSeconds(5));

    private string SocketPath => Path.Combine(_directory, "containerd.sock");

    public void Dispose()
    {
        _adapter.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Calls_NobodyThere_AreUnavailable()
    {
        Assert.Equal(FailureKind.Unavailable, (await _adapter.ListContainersAsync(null, default)).Failure?.Kind);
        Assert.Equal(FailureKind.Unavailable, (await _adapter.CreateContainerAsync(new CreateContainerRequest(), default)).Failure?.Kind);
    }

    [Fact]
    public async Task Calls_SocketOfADeadProcess_AreUnavailable()
    {
        using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            socket.Bind(new UnixDomainSocketEndPoint(SocketPath));
        }

        Assert.Equal(FailureKind.Unavailable, (await _adapter.ListPodSandboxAsync(null, default)).Failure?.Kind);
    }

    [Fact]
    public async Task Calls_NobodyAnswers_TimeOut()
    {
        using Socket silent = Listen();
        _adapter.Dispose();
        _adapter = Adapter(deadline: TimeSpan.FromMilliseconds(100));

        Assert.Equal(FailureKind.TimedOut, (await _adapter.ListContainersAsync(null, default)).Failure?.Kind);
        Assert.Equal(FailureKind.TimedOut, (await _adapter.StartContainerAsync("c", default)).Failure?.Kind);
    }

    [Fact]
    public async Task Calls_ConnectionBreaks_AreUnavailable()
    {
        using Socket listener = Listen();
        Task<CallResult<StartContainerResponse>> call = _adapter.StartContainerAsync("c", default);
        using (await listener.AcceptAsync())
        {
        }

        Assert.Equal(FailureKind.Unavailable, (await call).Failure?.Kind);
    }

    [Fact]
    public async Task Calls_Cancelled_Throw()
    {
        using Socket silent = Listen();
        using var cancelled = new CancellationTokenSource();
        Task<CallResult<RemoveContainerResponse>> call = _adapter.RemoveContainerAsync("c", cancelled.Token);

        await cancelled.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _adapter.ListContainersAsync(null, cancelled.Token));
    }

    private RuntimeAdapter Adapter(TimeSpan deadline) => new(
        new RuntimeAdapterOptions { SocketPath = SocketPath, ReadDeadline = deadline, ChangeDeadline = deadline },
        NullLogger.Instance);

    private Socket Listen()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(SocketPath));
        socket.Listen(16);
        return socket;
    }
}
