using CriShim.Containerd.Events;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Containerd.Tests.Events;

public sealed class ContainerdEventsTests : IAsyncLifetime, IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly string _directory = Directory.CreateTempSubdirectory("crishim-").FullName;
    private readonly CancellationTokenSource _stop = new();
    private readonly RecordedLog _log = new();
    private readonly FakeEventService _service;
    private ContainerdEvents? _events;
    private Task _running = Task.CompletedTask;

    public ContainerdEventsTests() => _service = new FakeEventService(SocketPath);

    private string SocketPath => Path.Combine(_directory, "containerd.sock");

    public Task InitializeAsync() => _service.StartAsync();

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(s_patience);
        await _service.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    public void Dispose() => _stop.Dispose();

    [Fact]
    public async Task RunAsync_ServiceThere_SubscribesInTheNamespaceOfCriAndReportsConnected()
    {
        Start();

        Assert.IsType<Connected>(await NextAsync());
        SubscribeRequest request = await _service.Subscriptions.Reader.ReadAsync();
        Assert.Equal("namespace==\"k8s.io\",topic==\"/tasks/exit\"", request.Filters[0]);
        Assert.Equal("namespace==\"k8s.io\",topic==\"/tasks/oom\"", request.Filters[1]);
        Assert.Equal(["k8s.io"], _service.Namespaces);
        Assert.True(_events!.IsConnected);
    }

    [Fact]
    public async Task RunAsync_ContainerExits_GivesCodeAndTime()
    {
        await ConnectAsync();
        DateTimeOffset at = DateTimeOffset.UnixEpoch.AddDays(20000).AddTicks(1234567);

        _service.SendExit("c1", 143, at: at);

        Assert.Equal(new ContainerExited("c1", 143, at, OomSeen: false), await NextAsync());
    }

    [Fact]
    public async Task RunAsync_ExecExits_IsLeftOut()
    {
        await ConnectAsync();

        _service.SendExit("c1", 1, id: "exec-of-a-probe");
        _service.SendExit("c1", 1, id: "");
        _service.SendExit("c2");

        Assert.Equal("c2", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_ManyExits_KeepTheirOrder()
    {
        await ConnectAsync();

        for (int i = 0; i < 1000; i++)
        {
            _service.SendExit($"c{i}");
        }

        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal($"c{i}", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
        }
    }

    [Fact]
    public async Task RunAsync_OomBeforeTheExit_IsSeenInIt()
    {
        await ConnectAsync();

        _service.SendOom("c1");
        _service.SendExit("c1", 137);
        _service.SendExit("c1", 137);

        Assert.Equal(new ContainerOutOfMemory("c1"), await NextAsync());
        Assert.True(Assert.IsType<ContainerExited>(await NextAsync()).OomSeen);
        Assert.False(Assert.IsType<ContainerExited>(await NextAsync()).OomSeen);
    }

    [Fact]
    public async Task RunAsync_OomLongBeforeTheExit_IsNotItsCause()
    {
        await ConnectAsync(options => options with { OomWindow = TimeSpan.Zero });

        _service.SendOom("c1");
        _service.SendExit("c1", 1);

        Assert.IsType<ContainerOutOfMemory>(await NextAsync());
        Assert.False(Assert.IsType<ContainerExited>(await NextAsync()).OomSeen);
    }

    [Fact]
    public async Task RunAsync_MalformedEvents_AreLeftOutAndTheStreamGoesOn()
    {
        await ConnectAsync();

        _service.SendRaw([0xFF, 0xFF, 0xFF]);
        _service.SendRaw([]);
        _service.SendRaw(new Envelope { Namespace = "k8s.io", Topic = "/tasks/exit" }.ToByteArray());
        _service.SendRaw(Exit(ByteString.CopyFrom(0x0A, 0x7F)));
        _service.SendRaw(Exit(ByteString.Empty));
        _service.Send("/tasks/exit", new TaskOOM { ContainerId = "c1" });
        _service.Send("/tasks/exit", new TaskExit { ContainerId = "elsewhere", Id = "elsewhere" }, @namespace: "moby");
        _service.Send("/tasks/start", new TaskOOM { ContainerId = "c1" });
        _service.SendExit("c2");

        Assert.Equal("c2", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
        Assert.Equal(1, _log.Count(LogLevel.Warning));
    }

    [Fact]
    public async Task RunAsync_ExitWithoutAProperTime_HasTheEnvelopes()
    {
        await ConnectAsync();

        _service.Send("/tasks/exit", new TaskExit { ContainerId = "c1", Id = "c1", ExitedAt = new Timestamp { Seconds = long.MaxValue } });
        _service.Send("/tasks/exit", new TaskExit { ContainerId = "c2", Id = "c2" });

        Assert.Equal(DateTimeOffset.UnixEpoch.AddYears(56), Assert.IsType<ContainerExited>(await NextAsync()).ExitedAt);
        Assert.Equal(DateTimeOffset.UnixEpoch.AddYears(56), Assert.IsType<ContainerExited>(await NextAsync()).ExitedAt);
    }

    [Fact]
    public async Task RunAsync_TypeUrlWithAHost_IsReadAsWell()
    {
        await ConnectAsync();

        _service.Send("/tasks/exit", new TaskExit { ContainerId = "c1", Id = "c1" }, typeUrl: "type.googleapis.com/containerd.events.TaskExit");

        Assert.Equal("c1", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_StreamEnds_ReportsAGapAndSubscribesAgain()
    {
        await ConnectAsync();

        _service.EndStreams();

        Assert.Equal(new Gap(GapReason.Ended), await NextAsync());
        Assert.IsType<Connected>(await NextAsync());
        _service.SendExit("c1");
        Assert.Equal("c1", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_ServiceRestarts_ReportsOneGapAndConnectsWhenItIsBack()
    {
        await ConnectAsync();

        await _service.StopAsync();
        Assert.Equal(new Gap(GapReason.Ended), await NextAsync());
        Assert.False(_events!.IsConnected);
        // Some attempts fail meanwhile: they are nothing new.
        await _log.ReachesAsync(LogLevel.Debug, 2).WaitAsync(s_patience);
        Assert.False(_events.Reader.TryRead(out _));
        Assert.Equal(1, _log.Count(LogLevel.Warning));

        await _service.StartAsync();
        Assert.IsType<Connected>(await NextAsync());
    }

    [Fact]
    public async Task RunAsync_ServiceNotThereYet_ConnectsWhenItComes()
    {
        await _service.StopAsync();
        Start();
        await _log.ReachesAsync(LogLevel.Debug, 1).WaitAsync(s_patience);

        await _service.StartAsync();

        Assert.IsType<Connected>(await NextAsync());
    }

    [Fact]
    public async Task RunAsync_ServiceHangs_IsSilentAndConnectsWhenItAnswersAgain()
    {
        await ConnectAsync(options => options with
        {
            ProofInterval = TimeSpan.FromMilliseconds(20),
            ProofTimeout = TimeSpan.FromMilliseconds(200),
        });

        _service.Echoes = false;
        Assert.Equal(new Gap(GapReason.Silent), await NextAsync());

        _service.Echoes = true;
        Assert.IsType<Connected>(await NextAsync());
    }

    [Fact]
    public async Task RunAsync_SubscriptionNotProvedYet_ReportsNothing()
    {
        _service.Echoes = false;
        Start();
        await _service.Subscriptions.Reader.ReadAsync();
        Assert.False(_events!.Reader.TryRead(out _));

        // An exit proves it as well.
        _service.SendExit("c1");

        Assert.IsType<Connected>(await NextAsync());
        Assert.Equal("c1", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_PublishRefused_ConnectsWithoutProof()
    {
        _service.PublishAnswer = StatusCode.Unimplemented;

        await ConnectAsync();
        await _service.Subscriptions.Reader.ReadAsync();
        _service.SendExit("c1");

        Assert.Equal("c1", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_ReaderIsSlow_KeepsABoundAndLeavesAGap()
    {
        await ConnectAsync(options => options with { Capacity = 10 });

        for (int i = 0; i < 11; i++)
        {
            _service.SendExit($"c{i}");
        }

        await _log.ReachesAsync(LogLevel.Warning, 1).WaitAsync(s_patience);
        Assert.Equal(new Gap(GapReason.Overflow), await NextAsync());
        Assert.IsType<Connected>(await NextAsync());
        _service.SendExit("later");
        Assert.Equal("later", Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
    }

    [Fact]
    public async Task RunAsync_Stopped_CompletesTheStream()
    {
        await ConnectAsync();

        await _stop.CancelAsync();
        await _running.WaitAsync(s_patience);

        Assert.False(await _events!.Reader.WaitToReadAsync());
    }

    private static byte[] Exit(ByteString value) => new Envelope
    {
        Namespace = "k8s.io",
        Topic = "/tasks/exit",
        Event = new Any { TypeUrl = "containerd.events.TaskExit", Value = value },
    }.ToByteArray();

    private void Start(Func<ContainerdEventsOptions, ContainerdEventsOptions>? change = null)
    {
        var options = new ContainerdEventsOptions
        {
            SocketPath = SocketPath,
            FirstDelay = TimeSpan.FromMilliseconds(5),
            KeenDelay = TimeSpan.FromMilliseconds(20),
        };
        _events = new ContainerdEvents(change?.Invoke(options) ?? options, _log);
        _running = _events.RunAsync(_stop.Token);
    }

    private async Task ConnectAsync(Func<ContainerdEventsOptions, ContainerdEventsOptions>? change = null)
    {
        Start(change);
        Assert.IsType<Connected>(await NextAsync());
    }

    private Task<BackendEvent> NextAsync() => _events!.Reader.ReadAsync().AsTask().WaitAsync(s_patience);
}
