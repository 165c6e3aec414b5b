using System.Threading.Channels;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;
using static CriShim.Protocol.Runtime.V1.ContainerEventType;
using static CriShim.Protocol.Runtime.V1.ContainerState;

namespace CriShim.Proxy.Tests;

/// <summary>GetContainerEvents while supervision shows something otherwise than the backend: one story, in order, and nothing lost.</summary>
public sealed class ContainerEventsTests
{
    private const string Pod = "pod-a";

    // ---- A death that is replaced ------------------------------------------------------------------------------------

    [Fact]
    public async Task Death_Replaced_IsToldOnceTheReplacementIsShownAndThenWhole()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerExited), ("new", ContainerRunning));
        await scene.AssertNothingCameAsync();

        scene.Supervision.Flip("old", "new");

        // Each with the statuses that a list shows by now: a caller takes each message for the whole truth of the pod.
        foreach ((ContainerEventType type, string id) in new[]
        {
            (ContainerStoppedEvent, "old"), (ContainerCreatedEvent, "new"), (ContainerStartedEvent, "new"),
        })
        {
            ContainerEventResponse told = await scene.NextAsync();
            Assert.Equal((type, id), (told.ContainerEventType, told.ContainerId));
            Assert.Equal([("old", ContainerExited), ("new", ContainerRunning)], Statuses(told));
        }
    }

    [Fact]
    public async Task Death_ShownBeforeTheBackendHasSentTheStart_WaitsForIt()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.AssertNothingCameAsync();
        scene.Supervision.Flip("old", "new");

        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerExited), ("new", ContainerRunning));

        Assert.Equal(
            ["ContainerStoppedEvent old", "ContainerCreatedEvent new", "ContainerStartedEvent new"],
            [await scene.NextTitleAsync(), await scene.NextTitleAsync(), await scene.NextTitleAsync()]);
    }

    [Fact]
    public async Task Death_WhoseStartNeverComes_IsToldAllTheSameAndAsListsShowIt()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.AssertNothingCameAsync();

        scene.Supervision.Flip("old", "new");

        for (int i = 0; i < 2; i++)
        {
            ContainerEventResponse told = await scene.NextAsync();
            Assert.Equal([("old", ContainerExited), ("new", ContainerRunning)], Statuses(told));
            Assert.Equal(100_000_000_000, told.ContainersStatuses[1].StartedAt);
        }
    }

    [Fact]
    public async Task Death_ToldByTheBackendAfterItsReplacement_ComesFirst()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        scene.Supervision.Flip("old", "new");
        scene.Supervision.KnowEnded("old", 3);
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerRunning), ("new", ContainerCreated));
        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerRunning), ("new", ContainerRunning));

        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited), ("new", ContainerRunning));

        Assert.Equal(
            ["ContainerStoppedEvent old", "ContainerCreatedEvent new", "ContainerStartedEvent new"],
            [await scene.NextTitleAsync(), await scene.NextTitleAsync(), await scene.NextTitleAsync()]);
    }

    [Fact]
    public async Task Death_ToldByAListBeforeTheBackendsStopped_ComesFirst()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        scene.Supervision.Flip("old", "new");
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerExited), ("new", ContainerRunning));

        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited), ("new", ContainerRunning));

        Assert.Equal(
            ["ContainerStoppedEvent old", "ContainerCreatedEvent new", "ContainerStartedEvent new"],
            [await scene.NextTitleAsync(), await scene.NextTitleAsync(), await scene.NextTitleAsync()]);
    }

    [Fact]
    public async Task Death_NotReplacedInTime_IsToldWhenItIsShown()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.AssertNothingCameAsync();

        scene.Supervision.Unmask("old");

        // Of the replacement that is made yet nobody hears.
        ContainerEventResponse told = await scene.NextAsync();
        Assert.Equal((ContainerStoppedEvent, "old"), (told.ContainerEventType, told.ContainerId));
        Assert.Equal([("old", ContainerExited)], Statuses(told));
        await scene.AssertNothingCameAsync();

        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerExited), ("new", ContainerRunning));
        await scene.AssertNothingCameAsync();
        scene.Supervision.Flip("old", "new");
        Assert.Equal(["ContainerCreatedEvent new", "ContainerStartedEvent new"], [await scene.NextTitleAsync(), await scene.NextTitleAsync()]);
    }

    [Fact]
    public async Task Death_ThatSupervisionHasNotHeardOf_IsHeardOfByTheEvent()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.OnSeenExited = id => scene.Supervision.Mask(id, "new");

        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));

        await scene.AssertNothingCameAsync();
        Assert.Equal(["old"], scene.Supervision.SeenExited);
    }

    [Fact]
    public async Task Replacement_RemovedBeforeItWasShown_IsNeverTold()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Hide("new");
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.SendAsync(ContainerStoppedEvent, "new", ("old", ContainerExited), ("new", ContainerExited));
        await scene.SendAsync(ContainerDeletedEvent, "new", ("old", ContainerExited));
        await scene.AssertNothingCameAsync();
        // By now nothing is rewritten any more, and a last message of it is only on its way.
        scene.Supervision.RewritesViews = false;
        await scene.SendAsync(ContainerDeletedEvent, "new", ("old", ContainerExited));

        await scene.AssertNothingCameAsync();
    }

    // ---- What has nothing to do with it ------------------------------------------------------------------------------

    [Fact]
    public async Task Events_OfOtherPods_PassAsTheyCameWhileOneIsHeld()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));

        // With a field that nobody knows.
        byte[] other = [.. Event(ContainerStoppedEvent, "other", "pod-b", [("other", ContainerExited)]).ToByteArray(), 0xfa, 0x7f, 0x01, 0x05];
        await scene.SendAsync(GrpcWire.Message(other));

        byte[] told = await scene.NextBytesAsync();
        Octets.AssertEqual(other, told, "another pod's event");
        await scene.AssertNothingCameAsync();
    }

    [Fact]
    public async Task Events_OfTheSamePodBehindOneThatIsHeld_KeepTheirOrder()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited), ("main", ContainerRunning));
        await scene.SendAsync(ContainerStoppedEvent, "main", ("old", ContainerExited), ("main", ContainerExited));
        await scene.AssertNothingCameAsync();

        scene.Supervision.Unmask("old");

        ContainerEventResponse first = await scene.NextAsync();
        Assert.Equal("old", first.ContainerId);
        // Not older than what comes next.
        Assert.Equal([("old", ContainerExited), ("main", ContainerExited)], Statuses(first));
        Assert.Equal("main", (await scene.NextAsync()).ContainerId);
    }

    [Fact]
    public async Task Events_OfTheSamePodBeforeTheEnd_ShowWhatListsShow()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");

        await scene.SendAsync(ContainerStartedEvent, "main", ("old", ContainerExited), ("new", ContainerCreated), ("main", ContainerRunning));

        ContainerEventResponse told = await scene.NextAsync();
        Assert.Equal([("old", ContainerRunning), ("main", ContainerRunning)], Statuses(told));
        Assert.Equal((0, 0, ""), (told.ContainersStatuses[0].FinishedAt, told.ContainersStatuses[0].ExitCode, told.ContainersStatuses[0].Reason));
    }

    [Fact]
    public async Task Events_NothingIsShownOtherwise_PassAsTheyCame()
    {
        await using var scene = await Scene.StartAsync();
        foreach (ContainerEventType type in new[] { ContainerCreatedEvent, ContainerStartedEvent, ContainerStoppedEvent, ContainerDeletedEvent })
        {
            byte[] message = [.. Event(type, "one", Pod, [("one", ContainerRunning)]).ToByteArray(), 0xfa, 0x7f, 0x01, 0x05];
            await scene.SendAsync(GrpcWire.Message(message));
            byte[] told = await scene.NextBytesAsync();
            Octets.AssertEqual(message, told, $"{type}");
        }
    }

    [Fact]
    public async Task Events_UnreadableCompressedAndOversized_PassAsTheyCameAndInOrder()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        byte[] small = Event(ContainerStartedEvent, "other", "pod-b", [("other", ContainerRunning)]).ToByteArray();
        byte[][] messages =
        [
            GrpcWire.Message([0xff, 0xff]), GrpcWire.Message(small, compressed: true), GrpcWire.Message([]),
            GrpcWire.Message(Octets.Varied((4 << 20) + 1)), GrpcWire.Message(Octets.Varied(4 << 20)), GrpcWire.Message(small),
        ];
        foreach (byte[] message in messages)
        {
            await scene.SendAsync(message);
        }

        foreach (byte[] message in messages)
        {
            byte[] told = await scene.NextFramedAsync();
            Octets.AssertEqual(message, told, $"a message of {message.Length} octets");
        }

        await scene.AssertNothingCameAsync();
    }

    [Fact]
    public async Task View_ChangesInTheMiddleOfAnOversizedMessage_BreaksNothing()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        byte[] large = GrpcWire.Message(Octets.Varied(5 << 20));
        await scene.SendAsync(large.AsMemory(0, 3 << 20));
        await scene.BodyLengthAsync(3 << 20);

        scene.Supervision.Unmask("old");
        await scene.SendAsync(large.AsMemory(3 << 20));

        byte[] told = await scene.NextFramedAsync();
        Octets.AssertEqual(large, told, "the large message");
        Assert.Equal("ContainerStoppedEvent old", await scene.NextTitleAsync());
    }

    // ---- Bounds ------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Held_MoreThanItsShare_PassesInOrder()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        ContainerEventResponse large = Event(ContainerStartedEvent, "main", Pod, [("main", ContainerRunning)]);
        large.PodSandboxStatus.Annotations["large"] = new string('x', 1 << 20);

        for (int i = 0; i < 3; i++)
        {
            await scene.SendAsync(GrpcWire.Message(large.ToByteArray()));
        }

        Assert.Equal("ContainerStoppedEvent old", await scene.NextTitleAsync());
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal("ContainerStartedEvent main", await scene.NextTitleAsync());
        }
    }

    [Fact]
    public async Task Held_OfManyPods_AllAreToldWhenTheyAreShown()
    {
        const int pods = 300;
        await using var scene = await Scene.StartAsync();
        for (int i = 0; i < pods; i++)
        {
            scene.Supervision.Mask($"old{i}", $"new{i}");
            await scene.SendAsync(GrpcWire.Message(
                Event(ContainerStoppedEvent, $"old{i}", $"pod{i}", [($"old{i}", ContainerExited)]).ToByteArray()));
        }

        await scene.AssertNothingCameAsync();
        string[] olds = [.. Enumerable.Range(0, pods).Select(i => $"old{i}")];
        foreach (string old in olds)
        {
            scene.Supervision.Unmask(old);
        }

        var told = new List<string>();
        while (told.Count < pods)
        {
            told.Add((await scene.NextAsync()).ContainerId);
        }

        Assert.Equal(olds.Order(), told.Order());
    }

    [Fact]
    public async Task Caller_DoesNotRead_BackendIsThrottledAndNothingIsLost()
    {
        var supervision = new ShownContainers();
        supervision.Mask("old", "new");
        await using TestBed bed = await TestBed.WithSupervisionAsync(supervision);
        byte[] message = GrpcWire.Message(Event(ContainerStartedEvent, "main", Pod, [("old", ContainerExited), ("main", ContainerRunning)]).ToByteArray());
        var end = new Gate();
        int sent = 0;
        bed.Fake.On(TestBed.Events, async call =>
        {
            byte[] many = [.. Enumerable.Repeat(message, 1000).SelectMany(one => one)];
            while (!end.IsOpen)
            {
                await call.SendAsync(many);
                Interlocked.Add(ref sent, 1000);
            }

            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Settings = [], GrantStreamWindows = false });
        RawStream call = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
        await call.BodyLengthAsync(65535);
        Assert.Equal(65535, call.BodyLength);

        // The backend is stuck, or will be: what it has sent when the caller reads at last is all that ever waited.
        int before;
        do
        {
            before = Volatile.Read(ref sent);
            for (int i = 0; i < 20; i++)
            {
                await caller.PingAsync();
                await bed.AssertOthersAreServedAsync();
            }
        }
        while (before != Volatile.Read(ref sent));

        Assert.InRange((long)before * message.Length, 0, 48 << 20);
        end.Open();
        await caller.GrantAsync(call.Id, 1 << 30);
        await call.EndedAsync();
        // Rewritten throughout, and one as long as another.
        Assert.Equal(0, call.Body.Length % Volatile.Read(ref sent));
        Assert.Equal("0", call.Status);
    }

    // ---- Ends --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task End_WhileOneIsHeld_EndsTheStreamWithItsStatusAndWithoutIt()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited), ("main", ContainerRunning));
        await scene.SendAsync(ContainerStoppedEvent, "main", ("old", ContainerExited), ("main", ContainerExited));

        await scene.EndAsync(8);

        ContainerEventResponse told = await scene.NextAsync();
        Assert.Equal("main", told.ContainerId);
        Assert.Equal([("old", ContainerRunning), ("main", ContainerExited)], Statuses(told));
        await scene.Call.EndedAsync();
        Assert.Equal("8", scene.Call.Status);
    }

    [Fact]
    public async Task Backend_LostWhileOneIsHeld_IsUnavailable()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.AssertNothingCameAsync();

        await scene.Bed.Fake.DieAsync();

        await scene.Call.EndedAsync();
        Assert.Equal("14", scene.Call.Status);
    }

    [Fact]
    public async Task Cancel_WhileOneIsHeld_ReachesTheBackendAndTheWindowIsGivenBack()
    {
        var supervision = new ShownContainers();
        supervision.Mask("old", "new");
        await using TestBed bed = await TestBed.WithSupervisionAsync(supervision);
        ContainerEventResponse large = Event(ContainerStoppedEvent, "old", Pod, [("old", ContainerExited)]);
        large.PodSandboxStatus.Annotations["large"] = new string('x', 1 << 20);
        byte[] message = GrpcWire.Message(large.ToByteArray());
        byte[] other = GrpcWire.Message(Event(ContainerStartedEvent, "other", "pod-b", [("other", ContainerRunning)]).ToByteArray());
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendAsync(message);
            await call.SendAsync(other);
            await call.Cancelled;
        });
        RawConnection caller = await bed.ConnectAsync();

        // More than a connection's window in all.
        for (int i = 0; i < 80; i++)
        {
            RawStream call = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
            FakeCall seen = await bed.Fake.NextCallAsync();
            await call.BodyLengthAsync(other.Length);
            await call.ResetAsync(Http2Code.Cancel);
            await seen.Cancelled.Bounded();
        }

        byte[] body = GrpcWire.Message(Octets.Varied(1 << 20));
        RawStream answer = await caller.CallAsync(TestBed.Brandnew, body);
        Octets.AssertEqual(body, answer.Body, "an answer on that connection");
    }

    [Fact]
    public async Task Stop_WhileOneIsHeld_EndsTheStream()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.Mask("old", "new");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.AssertNothingCameAsync();

        Task stopping = scene.Bed.Proxy!.StopAsync(TimeSpan.FromMinutes(1));

        await scene.Call.EndedAsync();
        Assert.Equal("14", scene.Call.Status);
        scene.Supervision.Flip("old", "new");
        await stopping.Bounded();
    }

    // ---- What is shown completed while it runs -----------------------------------------------------------------------

    [Fact]
    public async Task Completion_IsToldBehindTheStartAndWithWhatListsShow()
    {
        await using var scene = await Scene.StartAsync();
        await scene.SendAsync(ContainerStartedEvent, "old", ("old", ContainerRunning));
        Assert.Equal("ContainerStartedEvent old", await scene.NextTitleAsync());

        scene.Complete("old", ("old", ContainerRunning));

        ContainerEventResponse told = await scene.NextAsync();
        Assert.Equal((ContainerStoppedEvent, "old"), (told.ContainerEventType, told.ContainerId));
        ContainerStatus status = Assert.Single(told.ContainersStatuses);
        Assert.Equal((ContainerExited, 0, "Completed", 70_000_000_000), (status.State, status.ExitCode, status.Reason, status.FinishedAt));
    }

    [Fact]
    public async Task Completion_WhoseStartTheBackendHasNotSent_WaitsForIt()
    {
        await using var scene = await Scene.StartAsync();
        scene.Supervision.RewritesViews = true;

        scene.Complete("old", ("old", ContainerRunning));
        await scene.AssertNothingCameAsync();
        await scene.SendAsync(ContainerCreatedEvent, "old", ("old", ContainerCreated));
        await scene.SendAsync(ContainerStartedEvent, "old", ("old", ContainerRunning));

        Assert.Equal(
            ["ContainerCreatedEvent old", "ContainerStartedEvent old", "ContainerStoppedEvent old"],
            [await scene.NextTitleAsync(), await scene.NextTitleAsync(), await scene.NextTitleAsync()]);
    }

    [Fact]
    public async Task Completion_WhoseStartNeverComes_IsToldAllTheSame()
    {
        await using var scene = await Scene.StartAsync();
        scene.Complete("old", ("old", ContainerRunning));
        Assert.Equal("ContainerStoppedEvent old", await scene.NextTitleAsync());
    }

    [Fact]
    public async Task Completion_IsNoDeathToSupervision_AndTheTrueEndIs()
    {
        await using var scene = await Scene.StartAsync();
        await scene.SendAsync(ContainerStartedEvent, "old", ("old", ContainerRunning));
        Assert.Equal("ContainerStartedEvent old", await scene.NextTitleAsync());

        scene.Complete("old", ("old", ContainerRunning));
        Assert.Equal("ContainerStoppedEvent old", await scene.NextTitleAsync());
        Assert.Empty(scene.Supervision.SeenExited);

        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.AssertNothingCameAsync();
        Assert.Equal(["old"], scene.Supervision.SeenExited);
    }

    [Fact]
    public async Task TrueEnd_AndWhatRunsInItsPlace_GoNoFurther()
    {
        await using var scene = await Scene.StartAsync();
        await scene.SendAsync(ContainerStartedEvent, "old", ("old", ContainerRunning));
        scene.Complete("old", ("old", ContainerRunning));
        Assert.Equal("ContainerStartedEvent old", await scene.NextTitleAsync());
        Assert.Equal("ContainerStoppedEvent old", await scene.NextTitleAsync());

        scene.Supervision.HideForGood("new", behind: "old");
        await scene.SendAsync(ContainerStoppedEvent, "old", ("old", ContainerExited));
        await scene.SendAsync(ContainerCreatedEvent, "new", ("old", ContainerExited), ("new", ContainerCreated));
        await scene.SendAsync(ContainerStartedEvent, "new", ("old", ContainerExited), ("new", ContainerRunning));
        await scene.AssertNothingCameAsync();

        await scene.SendAsync(ContainerStartedEvent, "main", ("old", ContainerExited), ("new", ContainerRunning), ("main", ContainerRunning));
        ContainerEventResponse told = await scene.NextAsync();
        Assert.Equal([("old", ContainerExited), ("main", ContainerRunning)], Statuses(told));
        Assert.Equal("Completed", told.ContainersStatuses[0].Reason);
    }

    private static (string, ContainerState)[] Statuses(ContainerEventResponse told) =>
        [.. told.ContainersStatuses.Select(status => (status.Id, status.State))];

    private static ContainerEventResponse Event(
        ContainerEventType type, string id, string pod, IEnumerable<(string Id, ContainerState State)> statuses)
    {
        var change = new ContainerEventResponse
        {
            ContainerId = id, ContainerEventType = type, CreatedAt = 1, PodSandboxStatus = new PodSandboxStatus { Id = pod },
        };
        foreach ((string container, ContainerState state) in statuses)
        {
            bool isExited = state == ContainerExited;
            change.ContainersStatuses.Add(new ContainerStatus
            {
                Id = container,
                Metadata = new ContainerMetadata { Name = container is "old" or "new" ? "sidecar" : container },
                State = state,
                FinishedAt = isExited ? 50 : 0,
                ExitCode = isExited ? 3 : 0,
                Reason = isExited ? "Error" : "",
            });
        }

        return change;
    }

    /// <summary>One stream of events that the test writes, and reads at the other end.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private readonly Channel<(ReadOnlyMemory<byte> Octets, int? Status)> _script = Channel.CreateUnbounded<(ReadOnlyMemory<byte>, int?)>();
        private int _read;
        private int _marks;

        private Scene(TestBed bed) => Bed = bed;

        public TestBed Bed { get; }

        public ShownContainers Supervision => Bed.Supervision!;

        public RawStream Call { get; private set; } = null!;

        public static async Task<Scene> StartAsync()
        {
            var scene = new Scene(await TestBed.WithSupervisionAsync(new ShownContainers()));
            scene.Bed.Fake.On(TestBed.Events, scene.RunAsync);
            RawConnection caller = await scene.Bed.ConnectAsync();
            scene.Call = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
            await scene.Bed.Fake.NextCallAsync();
            return scene;
        }

        public Task SendAsync(ContainerEventType type, string id, params (string Id, ContainerState State)[] statuses) =>
            SendAsync(GrpcWire.Message(Event(type, id, Pod, statuses).ToByteArray()));

        /// <summary>It is shown completed from here on, and supervision makes its end.</summary>
        public void Complete(string id, params (string Id, ContainerState State)[] statuses) => Supervision.Complete(
            id, DateTimeOffset.UnixEpoch.AddSeconds(70), 0, Event(ContainerStoppedEvent, id, Pod, statuses));

        public Task SendAsync(ReadOnlyMemory<byte> octets) => _script.Writer.WriteAsync((octets, null)).AsTask();

        public Task EndAsync(int status) => _script.Writer.WriteAsync((default, status)).AsTask();

        public async Task<byte[]> NextFramedAsync()
        {
            await BodyLengthAsync(5);
            int length = 5 + (int)System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(Call.Body.AsSpan(_read + 1));
            await BodyLengthAsync(length);
            byte[] framed = Call.Body.AsSpan(_read, length).ToArray();
            _read += length;
            return framed;
        }

        public async Task<byte[]> NextBytesAsync() => (await NextFramedAsync())[5..];

        public async Task<ContainerEventResponse> NextAsync() => ContainerEventResponse.Parser.ParseFrom(await NextBytesAsync());

        public async Task<string> NextTitleAsync()
        {
            ContainerEventResponse told = await NextAsync();
            return $"{told.ContainerEventType} {told.ContainerId}";
        }

        /// <summary>Until so many octets are there that were not read.</summary>
        public Task BodyLengthAsync(int length) => Call.BodyLengthAsync(_read + length);

        /// <summary>What was sent so far has been looked at, and nothing of it came: an event of a pod of its own, sent behind it, is next.</summary>
        public async Task AssertNothingCameAsync()
        {
            string mark = $"mark{_marks++}";
            await SendAsync(GrpcWire.Message(Event(ContainerStartedEvent, mark, mark, [(mark, ContainerRunning)]).ToByteArray()));
            Assert.Equal($"ContainerStartedEvent {mark}", await NextTitleAsync());
        }

        public async ValueTask DisposeAsync()
        {
            _script.Writer.TryComplete();
            await Bed.DisposeAsync();
        }

        private async Task RunAsync(FakeCall call)
        {
            await call.SendHeadersAsync();
            await foreach ((ReadOnlyMemory<byte> octets, int? status) in _script.Reader.ReadAllAsync())
            {
                if (status is { } code)
                {
                    await call.EndAsync(code);
                    return;
                }

                await call.SendAsync(octets);
            }
        }
    }
}
