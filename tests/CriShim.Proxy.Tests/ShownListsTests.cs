using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;
using static CriShim.Protocol.Runtime.V1.ContainerState;

namespace CriShim.Proxy.Tests;

/// <summary>Lists, in one message and in many, while supervision shows something otherwise than the backend.</summary>
public sealed class ShownListsTests
{
    private const string Service = "/runtime.v1.RuntimeService/";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task List_WhileAReplacementIsMade_ShowsTheOldRunning(bool isStream)
    {
        await using Scene scene = await Scene.StartAsync(isStream);
        scene.Supervision.Mask("old", "new");

        IReadOnlyList<(string, ContainerState)> shown = await scene.ListAsync(
            null, [("old", 0, ContainerExited), ("main", 0, ContainerRunning)], [("new", 1, ContainerCreated), ("gone", 0, ContainerExited)]);

        Assert.Equal([("old", ContainerRunning), ("main", ContainerRunning), ("gone", ContainerExited)], shown);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(ContainerRunning)]
    public async Task List_ThatTellsOfADeathFirst_ShowsTheOldRunning(ContainerState? filter)
    {
        await using Scene scene = await Scene.StartAsync(isStream: false);
        scene.Supervision.WatchesEnds = true;
        scene.Supervision.OnSeenExited = id => scene.Supervision.Mask(id);

        IReadOnlyList<(string, ContainerState)> shown = await scene.ListAsync(filter, [("old", 0, ContainerExited)]);

        Assert.Equal([("old", ContainerRunning)], shown);
    }

    [Theory]
    [InlineData(false, ContainerRunning, "old main")]
    [InlineData(false, ContainerExited, "gone")]
    [InlineData(false, ContainerCreated, "")]
    [InlineData(true, ContainerRunning, "old main")]
    [InlineData(true, ContainerExited, "gone")]
    [InlineData(true, ContainerCreated, "")]
    public async Task List_FilteredByState_IsFilteredByWhatIsShown(bool isStream, ContainerState state, string expected)
    {
        await using Scene scene = await Scene.StartAsync(isStream);
        scene.Supervision.Mask("old", "new");

        IReadOnlyList<(string Id, ContainerState State)> shown = await scene.ListAsync(
            state, [("old", 0, ContainerExited), ("main", 0, ContainerRunning)], [("new", 1, ContainerCreated), ("gone", 0, ContainerExited)]);

        Assert.Equal(expected, string.Join(' ', shown.Select(one => one.Id)));
        Assert.All(shown, one => Assert.Equal(state, one.State));
        Assert.Null(scene.Requested!.State);
        Assert.Equal("pod-a", scene.Requested.PodSandboxId);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task List_OlderThanTheStep_ShowsWhatIsKnownBetter(bool isStream)
    {
        await using Scene scene = await Scene.StartAsync(isStream);
        scene.Supervision.Mask("old", "new");
        // It is looked at for what was hidden when it was asked for.
        scene.BeforeAnswer = () =>
        {
            scene.Supervision.Flip("old", "new");
            scene.Supervision.KnowEnded("old", 3);
        };

        IReadOnlyList<(string, ContainerState)> shown = await scene.ListAsync(null, [("old", 0, ContainerRunning)], [("new", 1, ContainerCreated)]);

        Assert.Equal([("old", ContainerExited), ("new", ContainerRunning)], shown);
    }

    [Theory]
    [InlineData("old new")]
    [InlineData("new old")]
    public async Task Stream_ReplacementIsShownInTheMiddle_StaysWithWhatItHasSaid(string order)
    {
        await using Scene scene = await Scene.StartAsync(isStream: true);
        scene.Supervision.Mask("old", "new");
        (string, uint, ContainerState)[] all = [("old", 0, ContainerExited), ("new", 1, ContainerRunning)];
        if (order == "new old")
        {
            Array.Reverse(all);
        }

        // The first message has something else that shows that it has come.
        scene.Between = async call =>
        {
            await call.BodyLengthAsync(10);
            scene.Supervision.Flip("old", "new");
        };
        IReadOnlyList<(string, ContainerState)> shown = await scene.ListAsync(null, [("main", 0, ContainerRunning), all[0]], [all[1]]);

        Assert.Equal([("main", ContainerRunning), ("old", ContainerRunning)], shown);
    }

    [Theory]
    [InlineData("ContainerStats")]
    [InlineData("StreamContainerStats")]
    [InlineData("PodSandboxStats")]
    [InlineData("ListPodSandboxStats")]
    [InlineData("StreamPodSandboxStats")]
    [InlineData("ListPodSandboxMetrics")]
    [InlineData("StreamPodSandboxMetrics")]
    public async Task Stats_OfAHiddenContainer_AreNotThere(string method)
    {
        await using TestBed bed = await TestBed.WithSupervisionAsync(new ShownContainers());
        bed.Supervision!.Mask("old", "new");
        ContainerStats[] stats = [Stats("main"), Stats("new")];
        var pod = new PodSandboxStats { Attributes = new PodSandboxAttributes { Id = "pod-a" }, Linux = new LinuxPodSandboxStats { Containers = { stats } } };
        var metrics = new PodSandboxMetrics
        {
            PodSandboxId = "pod-a",
            ContainerMetrics = { new ContainerMetrics { ContainerId = "main" }, new ContainerMetrics { ContainerId = "new" } },
        };
        (IMessage whole, Func<byte[], IMessage> parse) = method switch
        {
            "ContainerStats" => ((IMessage)new ListContainerStatsResponse { Stats = { stats } }, (Func<byte[], IMessage>)ListContainerStatsResponse.Parser.ParseFrom),
            "StreamContainerStats" => (new StreamContainerStatsResponse { ContainerStats = { stats } }, StreamContainerStatsResponse.Parser.ParseFrom),
            "PodSandboxStats" => (new PodSandboxStatsResponse { Stats = pod }, PodSandboxStatsResponse.Parser.ParseFrom),
            "ListPodSandboxStats" => (new ListPodSandboxStatsResponse { Stats = { pod } }, ListPodSandboxStatsResponse.Parser.ParseFrom),
            "StreamPodSandboxStats" => (new StreamPodSandboxStatsResponse { PodSandboxStats = { pod } }, StreamPodSandboxStatsResponse.Parser.ParseFrom),
            "ListPodSandboxMetrics" => (new ListPodSandboxMetricsResponse { PodMetrics = { metrics } }, ListPodSandboxMetricsResponse.Parser.ParseFrom),
            _ => (new StreamPodSandboxMetricsResponse { PodSandboxMetrics = { metrics } }, StreamPodSandboxMetricsResponse.Parser.ParseFrom),
        };
        string path = Service + (method == "ContainerStats" ? "ListContainerStats" : method);
        bed.Fake.On(path, async call =>
        {
            await call.SendAsync(GrpcWire.Message(whole.ToByteArray()));
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();

        RawStream hidden = await caller.CallAsync(path, GrpcWire.Message([]));
        string told = parse(hidden.Body[5..]).ToString()!;

        Assert.Contains("main", told, StringComparison.Ordinal);
        Assert.DoesNotContain("new", told, StringComparison.Ordinal);
        bed.Supervision.Flip("old", "new");
        RawStream shown = await caller.CallAsync(path, GrpcWire.Message([]));
        Octets.AssertEqual(GrpcWire.Message(whole.ToByteArray()), shown.Body, "what is shown as it is");
    }

    [Fact]
    public async Task UnknownStream_WhileSomethingIsShownOtherwise_IsUnimplemented()
    {
        await using TestBed bed = await TestBed.WithSupervisionAsync(new ShownContainers());
        RawConnection caller = await bed.ConnectAsync();
        byte[] body = GrpcWire.Message("anything"u8);
        Assert.Equal("0", (await caller.CallAsync(Service + "StreamNovelties", body)).Status);

        bed.Supervision!.Mask("old", "new");

        Assert.Equal("12", (await caller.CallAsync(Service + "StreamNovelties", body)).Status);
        Assert.Equal("0", (await caller.CallAsync(Service + "Novelty", body)).Status);
        Assert.Equal("0", (await caller.CallAsync("/runtime.v1.ImageService/StreamNovelties", body)).Status);
        bed.Supervision.Flip("old", "new");
        Assert.Equal("0", (await caller.CallAsync(Service + "StreamNovelties", body)).Status);
    }

    private static ContainerStats Stats(string id) => new()
    {
        Attributes = new ContainerAttributes { Id = id, Metadata = new ContainerMetadata { Name = "x" } },
    };

    /// <summary>A list from a backend that has these containers.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private readonly TestBed _bed;
        private readonly bool _isStream;

        private Scene(TestBed bed, bool isStream)
        {
            _bed = bed;
            _isStream = isStream;
        }

        public ShownContainers Supervision => _bed.Supervision!;

        /// <summary>The filter that reached the backend.</summary>
        public ContainerFilter? Requested { get; private set; }

        /// <summary>Between the request and the answer.</summary>
        public Action BeforeAnswer { get; set; } = () => { };

        /// <summary>Between the messages of a stream.</summary>
        public Func<RawStream, Task> Between { get; set; } = _ => Task.CompletedTask;

        public static async Task<Scene> StartAsync(bool isStream) => new(await TestBed.WithSupervisionAsync(new ShownContainers()), isStream);

        public async Task<IReadOnlyList<(string Id, ContainerState State)>> ListAsync(
            ContainerState? state, params (string Id, uint Attempt, ContainerState State)[][] messages)
        {
            var filter = new ContainerFilter { PodSandboxId = "pod-a" };
            filter.State = state is { } wanted ? new ContainerStateValue { State = wanted } : null;
            string path = Service + (_isStream ? "StreamContainers" : "ListContainers");
            var ready = new Gate();
            RawStream? asked = null;
            _bed.Fake.On(path, async call =>
            {
                Requested = ListContainersRequest.Parser.ParseFrom((await call.ReadBodyAsync()).AsSpan(5)).Filter;
                BeforeAnswer();
                await ready.Opened;
                if (!_isStream)
                {
                    await call.SendAsync(Message(messages.SelectMany(one => one)));
                    await call.EndAsync();
                    return;
                }

                for (int i = 0; i < messages.Length; i++)
                {
                    await call.SendAsync(Message(messages[i]));
                    if (i < messages.Length - 1)
                    {
                        await Between(asked!);
                    }
                }

                await call.EndAsync();
            });
            RawConnection caller = await _bed.ConnectAsync();
            asked = await caller.SendCallAsync(path, GrpcWire.Message(new ListContainersRequest { Filter = filter }.ToByteArray()));
            ready.Open();
            await asked.EndedAsync();
            Assert.Equal("0", asked.Status);
            return [.. Containers(asked.Body).Select(one => (one.Id, one.State))];
        }

        public ValueTask DisposeAsync() => _bed.DisposeAsync();

        // A stream's messages are the same as a list's.
        private static byte[] Message(IEnumerable<(string Id, uint Attempt, ContainerState State)> containers)
        {
            var list = new ListContainersResponse();
            list.Containers.Add(containers.Select(one => new Container
            {
                Id = one.Id,
                PodSandboxId = "pod-a",
                Metadata = new ContainerMetadata { Name = one.Id is "old" or "new" ? "sidecar" : one.Id, Attempt = one.Attempt },
                State = one.State,
            }));
            return GrpcWire.Message(list.ToByteArray());
        }

        private static IEnumerable<Container> Containers(byte[] body)
        {
            for (int at = 0; at < body.Length;)
            {
                int length = (int)System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(body.AsSpan(at + 1));
                foreach (Container container in ListContainersResponse.Parser.ParseFrom(body, at + 5, length).Containers)
                {
                    yield return container;
                }

                at += 5 + length;
            }
        }
    }
}
