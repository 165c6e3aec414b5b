using CriShim.Node.Draining;
using CriShim.Node.State;
using CriShim.Node.Tests.Support;
using Grpc.Core;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Node.Tests.Draining;

public sealed class NodeDrainTests : IAsyncLifetime
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Turn = TimeSpan.FromSeconds(1);

    private readonly TempDirectory _directory = new();
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
    private readonly StandInTeardown _teardown = new();
    private readonly RecordedLog _log = new();
    private readonly List<NodeDrain> _drains = [];

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        foreach (NodeDrain drain in _drains)
        {
            await drain.DisposeAsync();
        }

        _directory.Dispose();
    }

    [Fact]
    public void Begin_SeveralPods_BeginsAllOfThemAtOnceWithTheWholeGrace()
    {
        NodeDrain drain = Create();
        _teardown.Add("a", "b", "c");

        DrainState state = drain.Begin(Grace);

        Assert.Equal([("a", 30.0), ("b", 30.0), ("c", 30.0)], _teardown.Begun);
        Assert.Equal(["pod-a", "pod-b", "pod-c"], state.Pods.Select(pod => pod.Pod.Name));
        Assert.All(
            state.Pods,
            pod => Assert.Equal((PodEndPhase.Ending, "main containers", "main"), (pod.State.Phase, pod.State.Stage, pod.State.Running.Single())));
        Assert.True(drain.IsDraining);
    }

    [Fact]
    public void Begin_AnyPod_RecordsTheDeadlineBeforeTheFirstPodIsTouched()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        DrainRecord? seen = null;
        bool refused = false;
        _teardown.OnBegin = _ =>
        {
            seen = Store().ReadDrain();
            refused = drain.IsDraining;
        };

        drain.Begin(Grace);

        Assert.Equal(new DrainRecord(_time.GetUtcNow(), _time.GetUtcNow() + Grace), seen);
        Assert.True(refused);
    }

    [Fact]
    public void State_PodsEndOneAfterAnother_TellsEachAndThenThatAllHave()
    {
        NodeDrain drain = Create();
        _teardown.Add("a", "b");
        drain.Begin(Grace);

        _teardown.Set("b", PodEndPhase.Done);
        DrainState half = drain.State()!;
        _time.Advance(Turn);
        _teardown.Set("a", PodEndPhase.Done);
        _time.Advance(Turn);
        DrainState whole = drain.State()!;

        Assert.Equal([PodEndPhase.Ending, PodEndPhase.Done], half.Pods.Select(pod => pod.State.Phase));
        Assert.False(half.IsComplete);
        Assert.True(whole.IsComplete);
        Assert.Equal([2.0, 0.0], whole.Pods.Select(pod => (pod.EndedAt!.Value - whole.BeganAt).TotalSeconds));
        Assert.Contains(_log.All, line => line.Contains("pods ended 2", StringComparison.Ordinal));
    }

    [Fact]
    public void Begin_NodeWithoutPods_IsCompleteAndStaysOn()
    {
        NodeDrain drain = Create();

        Assert.True(drain.Begin(Grace).IsComplete);
        _time.Advance(TimeSpan.FromHours(2));

        Assert.True(drain.IsDraining);
        Assert.True(drain.State()!.IsComplete);
    }

    [Fact]
    public void Begin_NodeNotListedYet_IsNotTakenForANodeWithoutPods()
    {
        NodeDrain drain = Create();
        _teardown.IsNodeKnown = false;
        _teardown.Add("a");

        DrainState before = drain.Begin(Grace);
        _teardown.IsNodeKnown = true;
        _time.Advance(Turn);

        Assert.Equal((false, false, 0), (before.IsNodeKnown, before.IsComplete, before.Pods.Count));
        Assert.Equal([("a", 29.0)], _teardown.Begun);
    }

    [Fact]
    public void Begin_ListOfAnEarlierDrainComesLate_IsNotTakenForThisOnes()
    {
        // What waits for the gate goes on inside of its SetResult.
        SynchronizationContext.SetSynchronizationContext(null);
        NodeDrain drain = Create();
        var slow = new TaskCompletionSource();
        _teardown.ListGate = slow.Task;
        drain.Begin(Grace);
        drain.Cancel();
        _time.Advance(Turn);
        _teardown.Add("a");
        DrainState anew = drain.Begin(Grace);
        _teardown.ListGate = Task.CompletedTask;
        slow.SetResult();

        bool wasKnown = drain.State()!.IsNodeKnown;
        _time.Advance(Turn);

        Assert.Equal((false, false), (anew.IsNodeKnown, wasKnown));
        Assert.Equal([("a", 29.0)], _teardown.Begun);
    }

    [Fact]
    public void Sweep_ListTakesItsTime_IsAskedForOnceAndPodsThatAreKnownAreShortenedMeanwhile()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        drain.Begin(Grace);
        var slow = new TaskCompletionSource();
        _teardown.ListGate = slow.Task;

        _time.Advance(TimeSpan.FromSeconds(5));
        drain.Begin(TimeSpan.FromSeconds(3));

        Assert.Equal([("a", 30.0), ("a", 3.0)], _teardown.Begun);
        slow.SetResult();
    }

    // ---- Once more ---------------------------------------------------------------------------------------------------

    [Fact]
    public void Begin_Again_JoinsAndTouchesNothing()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        DrainState first = drain.Begin(Grace);

        _time.Advance(TimeSpan.FromSeconds(10));
        DrainState second = drain.Begin(Grace);

        Assert.Equal([("a", 30.0)], _teardown.Begun);
        Assert.Equal((first.BeganAt, first.Deadline), (second.BeganAt, second.Deadline));
    }

    [Fact]
    public void Begin_AgainWithAShorterGrace_ShortensThePodsThatStillEnd()
    {
        NodeDrain drain = Create();
        _teardown.Add("a", "b");
        drain.Begin(Grace);
        _teardown.Set("a", PodEndPhase.Done);

        _time.Advance(TimeSpan.FromSeconds(10));
        DrainState shortened = drain.Begin(TimeSpan.FromSeconds(5));
        _time.Advance(Turn);

        Assert.Equal([("a", 30.0), ("b", 30.0), ("b", 5.0)], _teardown.Begun);
        Assert.Equal(15, (shortened.Deadline - shortened.BeganAt).TotalSeconds);
        Assert.Equal(shortened.Deadline, Store().ReadDrain()!.Deadline);
    }

    [Fact]
    public void Begin_AgainAfterTheDeadline_BeginsAnewForWhatIsLeft()
    {
        NodeDrain drain = Create();
        _teardown.Add("a", "b");
        drain.Begin(TimeSpan.FromSeconds(5));
        _teardown.Set("a", PodEndPhase.Done);
        _time.Advance(TimeSpan.FromSeconds(5));

        DrainState anew = drain.Begin(Grace);

        Assert.Equal(("b", 30.0), _teardown.Begun[^1]);
        Assert.Equal("pod-b", Assert.Single(anew.Pods).Pod.Name);
        Assert.Equal(_time.GetUtcNow(), anew.BeganAt);
    }

    // ---- What does not go well ---------------------------------------------------------------------------------------

    [Fact]
    public void Sweep_PodAppearsLater_IsEndedWithWhatIsLeft()
    {
        NodeDrain drain = Create();
        drain.Begin(Grace);

        _time.Advance(TimeSpan.FromSeconds(7));
        _teardown.Add("late");
        _time.Advance(Turn);

        Assert.Equal([("late", 22.0)], _teardown.Begun);
        Assert.False(drain.State()!.IsComplete);
    }

    [Fact]
    public void Sweep_PodFailed_IsBegunAgainAndItsReasonSaidOnce()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        drain.Begin(Grace);

        for (int i = 0; i < 3; i++)
        {
            _teardown.Set("a", PodEndPhase.Failed, "containerd is away");
            _time.Advance(Turn);
        }

        Assert.Equal([("a", 30.0), ("a", 29.0), ("a", 28.0), ("a", 27.0)], _teardown.Begun);
        Assert.Single(_log.All, line => line.Contains("containerd is away", StringComparison.Ordinal));
    }

    [Fact]
    public void Sweep_BeginThrows_DoesNotKeepTheOtherPodsFromTheirEndAndTriesAgain()
    {
        NodeDrain drain = Create();
        _teardown.Add("a", "b");
        _teardown.OnBegin = id => _ = id == "a" ? throw new IOException("no room") : id;

        DrainState state = drain.Begin(Grace);
        _teardown.OnBegin = null;
        _time.Advance(Turn);

        Assert.Equal([PodEndPhase.Ending, PodEndPhase.Ending], state.Pods.Select(pod => pod.State.Phase));
        Assert.Equal([("b", 30.0), ("a", 29.0)], _teardown.Begun);
    }

    [Fact]
    public void State_PodRemovedByItsCaller_HasEnded()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        drain.Begin(Grace);

        _teardown.Remove("a");
        _time.Advance(Turn);

        Assert.True(drain.State()!.IsComplete);
    }

    [Fact]
    public void IsSettled_DeadlineOver_OnlyOnceNothingGoesOnAnyMore()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        drain.Begin(Grace);
        _time.Advance(Grace);
        Assert.False(drain.State()!.IsSettled(_time.GetUtcNow()));

        _teardown.Set("a", PodEndPhase.Failed, "a container is not to be killed");

        Assert.True(drain.State()!.IsSettled(_time.GetUtcNow()));
        Assert.False(drain.State()!.IsComplete);
    }

    // ---- Its end, and crishim's --------------------------------------------------------------------------------------

    [Fact]
    public async Task Start_AfterCrishimWasKilled_GoesOnWithTheSameDeadline()
    {
        NodeDrain killed = Create();
        _teardown.Add("a", "b");
        killed.Begin(Grace);
        await killed.DisposeAsync();
        _time.Advance(TimeSpan.FromSeconds(12));

        NodeDrain next = Create();
        next.Start();

        Assert.True(next.IsDraining);
        Assert.Equal([("a", 18.0), ("b", 18.0)], _teardown.Begun.Skip(2));
        Assert.Equal(18, (next.State()!.Deadline - _time.GetUtcNow()).TotalSeconds);
    }

    [Fact]
    public async Task Start_DeadlinePassedMeanwhile_EndsWhatIsLeftWithoutGrace()
    {
        NodeDrain killed = Create();
        killed.Begin(Grace);
        await killed.DisposeAsync();
        _time.Advance(TimeSpan.FromMinutes(5));
        _teardown.Add("a");

        Create().Start();

        Assert.Equal([("a", 0.0)], _teardown.Begun);
    }

    [Fact]
    public void Start_NothingRecorded_IsNotDraining()
    {
        NodeDrain drain = Create();

        drain.Start();

        Assert.False(drain.IsDraining);
        Assert.Null(drain.State());
    }

    [Fact]
    public void Start_RecordOfNoUse_IsSetAside()
    {
        NodeDrain drain = Create();
        File.WriteAllText(Path.Combine(_directory.File("state"), "node.drain.json"), "{}");

        drain.Start();

        Assert.False(drain.IsDraining);
        Assert.True(File.Exists(Path.Combine(_directory.File("state"), "node.drain.json.bad")));
    }

    [Fact]
    public void Cancel_WhileDraining_LetsPodsInAndForgetsTheRecord()
    {
        NodeDrain drain = Create();
        _teardown.Add("a");
        drain.Begin(Grace);
        Assert.Equal(StatusCode.Unavailable, Assert.Throws<RpcException>(drain.RefuseWhileDraining).StatusCode);

        Assert.True(drain.Cancel());
        _teardown.Add("b");
        _time.Advance(Turn);

        drain.RefuseWhileDraining();
        Assert.Null(drain.State());
        Assert.Null(Store().ReadDrain());
        Assert.Equal([("a", 30.0)], _teardown.Begun);
        Assert.False(drain.Cancel());
    }

    [Fact]
    public void Begin_RecordCannotBeWritten_DrainsAllTheSameAndSaysSo()
    {
        NodeDrain drain = Create();
        Directory.CreateDirectory(Path.Combine(_directory.File("state"), "node.drain.json"));
        _teardown.Add("a");

        drain.Begin(Grace);

        Assert.Equal([("a", 30.0)], _teardown.Begun);
        Assert.Contains(_log.All, line => line.Contains("could not be recorded", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(25 * 3600)]
    public void Begin_GraceOutOfBounds_IsRefused(int seconds)
    {
        NodeDrain drain = Create();

        Assert.Throws<ArgumentOutOfRangeException>(() => drain.Begin(TimeSpan.FromSeconds(seconds)));
        Assert.False(drain.IsDraining);
    }

    private StateStore Store() => new(_directory.File("state"), _log);

    private NodeDrain Create()
    {
        var drain = new NodeDrain(_teardown, Store(), _log, _time);
        _drains.Add(drain);
        return drain;
    }
}
