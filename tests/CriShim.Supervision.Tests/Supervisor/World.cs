using System.Globalization;
using System.Text;
using System.Text.Json;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Tests.Supervisor;

/// <summary>
/// A small model of one pod on a node: containerd, a kubelet, the shim around one supervisor, and a clock. Each step does one thing that
/// may happen at any time; rules are checked where they could be broken. A crash may come between any two commands.
/// </summary>
internal sealed class World
{
    public const string Main = "main";

    private const string Agent = "agent";

    private static readonly string[] Names = ["proxy", "agent", Main];

    private readonly StringBuilder _log = new();
    private readonly List<Box> _boxes = [];
    private readonly List<OurCall> _calls = [];
    private readonly List<PodInput> _replies = [];
    private readonly List<ContainerExited> _events = [];
    private readonly List<SandboxSnapshot> _lists = [];
    private readonly List<KubeletCall> _kubeletCalls = [];
    private readonly Dictionary<string, LineageRecord> _records = [];
    private readonly HashSet<string> _knownToKubelet = [];
    private readonly HashSet<string> _stoppedByKubelet = [];
    private readonly HashSet<string> _perhapsStopped = [];
    private readonly HashSet<string> _explained = [];
    private readonly Dictionary<string, DateTimeOffset> _maskedSince = [];
    private readonly Random _chance;
    private readonly RestartOptions _options;
    private readonly TeardownOptions _teardown = new();
    private readonly HashSet<string> _turnsTaken = [];
    private readonly Dictionary<string, (DateTimeOffset At, TimeSpan Timeout)> _stopsAsked = [];

    private PodRecord? _podRecord;
    private PodSupervisor? _shim;
    private NodeRestartLimit _limit;
    private DateTimeOffset? _timer;
    private PodFacts? _facts;
    private SupervisionMode _mode = SupervisionMode.On;
    private bool _sandboxReady = true;
    private bool _sandboxStopForwarded;
    private bool _sandboxStopAsked;
    private bool _sandboxStopWaitRefused;
    private bool _sandboxEndAsked;
    private bool _wasSpecUnknown;
    private bool _kubeletIsAway;
    private bool _refuseNext;
    private bool _isTerminating;
    private int _crashAfter = -1;
    private int _nextId;
    private readonly bool _isEmulated;
    private readonly Dictionary<string, DateTimeOffset> _completions = [];
    private readonly HashSet<string> _failedProbes = [];
    private readonly SidecarAnnotation _annotation;

    /// <param name="seed">Of its chances.</param>
    /// <param name="isEmulated">"agent" is an emulated init container, and "main" is created when it is shown completed.</param>
    public World(int seed, bool isEmulated = false)
    {
        _isEmulated = isEmulated;
        _annotation = isEmulated
            ? SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = Agent })
            : SidecarAnnotation.None;
        _chance = new Random(seed);
        _options = new RestartOptions();
        _limit = new NodeRestartLimit(_options.NodeLimit, Now);
        _facts = Facts();
        _shim = new PodSupervisor(Options());
        Do(_shim.Handle(new FactsChanged(_facts), Now));
        Do(_shim.Handle(new AnnotationChanged(_annotation), Now));
        foreach (string name in Names.Where(name => !isEmulated || name != Main))
        {
            KubeletCreates(name, 0, equalsOurs: true);
            DrainKubelet();
        }

        // Half of them begin when all runs.
        for (int round = 0; isEmulated && seed % 2 == 0 && round < 50; round++)
        {
            Finish();
            KubeletLooks(0);
            DrainKubelet();
        }
    }

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public string Log => _log.ToString();

    public int Restarts { get; private set; }

    public int Deaths { get; private set; }

    public int HeldStops { get; private set; }

    public int OrderedEnds { get; private set; }

    public int Completions => _completions.Count;

    public int HiddenRestarts { get; private set; }

    public int HeldRemovals { get; private set; }

    public void Step(int kind, int a)
    {
        Now += TimeSpan.FromMilliseconds(1);
        Note($"step {kind} {a}");
        switch (kind)
        {
            case 0 or 1 or 2:
                Die(Names[a % (kind == 0 ? 3 : 2)], a);
                break;
            case 3 or 4 when _events.Count > 0 && _shim is not null:
                ContainerExited exited = _events[0];
                _events.RemoveAt(0);
                Tell(exited);
                if (a % 4 == 0)
                {
                    Tell(exited);
                }

                break;
            case 5 when _events.Count > 0:
                _events.RemoveAt(0);
                break;
            case 6 or 7 or 8 when _calls.Count > 0:
                CarryOut(_calls[a % _calls.Count]);
                break;
            case 9 or 10 or 11 when _replies.Count > 0:
                PodInput reply = _replies[a % _replies.Count];
                _ = _replies.Remove(reply);
                Tell(reply);
                break;
            case 12 when _calls.Count > 0:
                LoseReply(_calls[a % _calls.Count], a % 2 == 0);
                break;
            case 13:
                Advance(TimeSpan.FromMilliseconds(a * 17));
                break;
            case 14:
                Advance(TimeSpan.FromMilliseconds(a * 400));
                break;
            case 15 or 16:
                KubeletLooks(a);
                break;
            case 17 or 18 or 19 when _kubeletCalls.Count > 0:
                Go(_kubeletCalls[a % _kubeletCalls.Count], mayWait: a % 10 != 0);
                break;
            case 20 when a % 3 == 0:
                KubeletStops(Names[a % 2]);
                break;
            case 21 when a % 8 == 0:
                Terminate();
                break;
            case 22 when a % 12 == 0:
                _kubeletCalls.Add(new KubeletCall(CallKind.StopSandbox, "", a, false, ""));
                break;
            case 23:
                Crash();
                break;
            case 24:
                _crashAfter = a % 5;
                break;
            case 25:
                _lists.Add(List());
                break;
            case 26 when _lists.Count > 0:
                SandboxSnapshot list = _lists[0];
                _lists.RemoveAt(0);
                Tell(new SandboxRelisted(list));
                break;
            case 27 when a % 6 == 0:
                SetMode(a % 4 == 0 ? SupervisionMode.Observe : a % 6 == 0 ? SupervisionMode.Off : SupervisionMode.On);
                break;
            case 28:
                Collect(Names[a % 2]);
                break;
            case 29:
                _refuseNext = a % 2 == 0;
                break;
            case 30 when a % 2 == 0:
                _facts = a % 4 == 0 ? null : Facts();
                _wasSpecUnknown |= _facts is null;
                Tell(new FactsChanged(_facts));
                break;
            case 31:
                SetMode(SupervisionMode.On);
                break;
            case 32 or 33 or 34:
                Rise();
                break;
            case 35 when a % 4 == 0:
                foreach (int i in (int[])[a % 3, (a + 1) % 3, (a + 2) % 3])
                {
                    KubeletStops(Names[i]);
                }

                break;
            case 36:
                // Whoever waits for a stop may go away at any time.
                _ = _kubeletCalls.RemoveAll(c => c.Kind is CallKind.StopSandbox or CallKind.Stop && c.WasHeld);
                break;
            case 37:
                RemoveCompleted();
                break;
            default:
                break;
        }

        Check();
    }

    /// <summary>Faults end, the kubelet stays away, time goes on: whatever nothing stands down must be running in the end.</summary>
    public void SettleAndCheck()
    {
        Note("settle");
        _crashAfter = -1;
        _refuseNext = false;
        Rise();
        DrainKubelet();
        _kubeletIsAway = true;
        if (_facts is null)
        {
            _facts = Facts();
            Tell(new FactsChanged(_facts));
        }

        for (int round = 0; round < 60; round++)
        {
            Finish();
            while (_events.Count > 0)
            {
                ContainerExited exited = _events[0];
                _events.RemoveAt(0);
                Tell(exited);
            }

            Advance(TimeSpan.FromSeconds(4));
            Tell(new SandboxRelisted(List()));
            DrainKubelet();
            Check();
        }

        // What is shown completed waits for a kubelet that has not come (or not come again, after a crash) to stop the main.
        bool isMainLeft = _boxes.Any(b => b is { Name: Main, State: BackendState.Running });
        Assert(_podRecord is null || _podRecord.Stops.All(s => isMainLeft && s is { Lineage: Agent, Stage: StopStage.Held, IsCallers: false }),
            "a stop that was asked for is not over");
        if (_podRecord?.End is not null)
        {
            Assert(_sandboxStopForwarded, "a sandbox's end that was asked for is not over");
            Assert(_boxes.All(b => b.State != BackendState.Running), "something runs after the sandbox's end");
        }

        foreach (LineageView view in _shim!.Views(Now).Where(v => v.Name != Main))
        {
            int live = _boxes.Count(b => b.Name == view.Name && b.State == BackendState.Running);
            Assert(live <= 1, $"{view.Name} has {live} live instances");
            bool excused = view.RestReason is not null || view.WouldStandDown is not null;
            Assert(live == 1 || excused, $"{view.Name} is not running again: {view.State}, {view.RestReason}");
            Assert(view.RestReason is not (StandDownReason.TakenOverByCaller or StandDownReason.SpecUnknown or StandDownReason.GivenUp
                or StandDownReason.NotASidecar or StandDownReason.NoRecord or StandDownReason.RemovedByOthers or StandDownReason.OnlyOrdered or StandDownReason.Superseded or StandDownReason.SandboxGone),
                $"{view.Name} rests for no good reason: {view.RestReason}");
            Assert(view.RestReason != StandDownReason.StoppedByCaller || view.IsStoppedByCaller, $"{view.Name} rests as stopped");
            Assert(view.RestReason != StandDownReason.SandboxNotReady || !_sandboxReady, $"{view.Name} rests, and the sandbox is ready");
            Assert(view.RestReason != StandDownReason.NoGraceLeft || _isTerminating || _sandboxEndAsked, $"{view.Name} rests for want of grace");
            Assert(view.RestReason != StandDownReason.TurnToEnd || _isTerminating || _sandboxEndAsked, $"{view.Name} rests as if it were its turn");
            bool isEndedUnasked = _isEmulated && view.Name == Agent && (_isTerminating || _perhapsStopped.Count > 0);
            Assert(!view.IsStoppedByCaller || _sandboxEndAsked || isEndedUnasked || _perhapsStopped.Contains(view.Name), $"{view.Name} counts as stopped");
            Box? current = _boxes.Find(b => b.Id == view.CurrentId);
            if (current is { State: BackendState.Running, IsOurs: true })
            {
                int dead = _boxes.Count(b => b.Name == view.Name && b.State == BackendState.Exited);
                int shownDead = _boxes.Count(b => b.Name == view.Name && _completions.ContainsKey(b.Id) && b.State == BackendState.Exited);
                Assert(dead - shownDead <= 1, $"{view.Name} leaves {dead} dead instances");
                Assert(_boxes.All(b => b.Name != view.Name || b.State != BackendState.Created || !b.IsOurs || _knownToKubelet.Contains(b.Id)), "a replacement is left over");
            }

            foreach (Box box in _boxes.Where(b => b.Name == view.Name && b.State == BackendState.Exited && b.WasSeen))
            {
                Assert(view.Tally.Deaths.Count(d => d.ContainerId == box.Id) <= 1, $"{box.Id} was decided more than once");
            }
        }
    }

    // ---- The shim around the supervisor

    private PodSupervisorOptions Options() => new()
    {
        SandboxId = "sandbox", Restart = _options, Teardown = _teardown, IsSpecSourceConfigured = true, Chance = new Random(_chance.Next()), Mode = _mode,
    };

    /// <summary>All that is under way with the backend, to its end.</summary>
    private void Finish()
    {
        while (_calls.Count + _replies.Count > 0)
        {
            if (_calls.Count > 0)
            {
                CarryOut(_calls[0]);
            }

            if (_replies.Count > 0)
            {
                PodInput reply = _replies[0];
                _replies.RemoveAt(0);
                Tell(reply);
            }
        }
    }

    private PodFacts Facts() => new()
    {
        Uid = "uid",
        Namespace = "ns",
        Name = "pod",
        Containers =
        [
            new ContainerFacts("proxy", ContainerRole.RestartableInit),
            new ContainerFacts(Agent, _isEmulated ? ContainerRole.Init : ContainerRole.RestartableInit),
            new ContainerFacts(Main, ContainerRole.Plain),
        ],
    };

    private void Tell(PodInput input)
    {
        if (_shim is null)
        {
            return;
        }

        Note($"  tell {input}");
        Do(_shim.Handle(input, Now));
    }

    private void Do(IReadOnlyList<PodCommand> commands)
    {
        foreach (PodCommand command in commands)
        {
            if (_crashAfter == 0)
            {
                Crash();
            }

            if (_shim is null)
            {
                return;
            }

            _crashAfter = _crashAfter > 0 ? _crashAfter - 1 : _crashAfter;
            Note($"    {Shown(command)}");
            bool isWritten = command is not RecordCompletion || _chance.Next(8) != 0;
            if (isWritten)
            {
                Write(command.RecordFirst);
            }

            Carry(command, isWritten);
        }
    }

    private void Write(StateRecord? record)
    {
        if (record is LineageRecord lineage)
        {
            Assert(lineage.Deaths.Select(d => d.ContainerId).Distinct().Count() == lineage.Deaths.Count, "a death was decided twice");
            string json = JsonSerializer.Serialize(lineage, RecordJson.Default.LineageRecord);
            _records[lineage.Name] = JsonSerializer.Deserialize(json, RecordJson.Default.LineageRecord)!;
        }
        else if (record is PodRecord pod)
        {
            _podRecord = JsonSerializer.Deserialize(JsonSerializer.Serialize(pod, RecordJson.Default.PodRecord), RecordJson.Default.PodRecord);
            _ = _turnsTaken.RemoveWhere(name => pod.Stops.All(stop => stop.Lineage != name || stop.Stage != StopStage.Ending));
            foreach (StopRecord stop in pod.Stops.Where(stop => stop.Stage == StopStage.Ending && _turnsTaken.Add(stop.Lineage)))
            {
                CheckOrder(stop.Lineage);
            }
        }
    }

    private void Carry(PodCommand command, bool isWritten)
    {
        switch (command)
        {
            case ProbeStartup probe:
                Assert(_isEmulated && probe is { Lineage: Agent, MayFail: true }, "a probe of what has none");
                _calls.Add(new OurCall(command));
                break;
            case RecordCompletion:
                _calls.Add(new OurCall(command) { IsWritten = isWritten });
                break;
            case StopInstance(_, var failed, _) when _failedProbes.Remove(failed):
                _calls.Add(new OurCall(command));
                break;
            case CreateReplacement create:
                Assert(create.Lineage != Main, "a main container is replaced");
                Assert(!_sandboxStopAsked, "a create after StopPodSandbox");
                Assert(!_stoppedByKubelet.Contains(create.Lineage), "a create of what the kubelet stopped");
                Assert(!_isTerminating || Now + _options.LeastGraceLeft <= _shim!.Deadline, "a create without grace left");
                Assert(_podRecord?.End is null || _wasSpecUnknown || Predecessors(create.Lineage).Any() || HasUntoldPredecessor(create.Lineage),
                    "a create of a sidecar whose turn to end has come");
                Assert(create.RecordFirst is LineageRecord { Intent: LineageIntent.Planned } planned && planned.IntendedAttempt == create.Attempt,
                    "a create without its record");
                _calls.Add(new OurCall(command));
                break;
            case StartReplacement start:
                Assert(!_sandboxStopAsked, "a start after StopPodSandbox");
                Assert(!_stoppedByKubelet.Contains(start.Lineage), "a start of what the kubelet stopped");
                Assert(start.RecordFirst is LineageRecord { Intent: LineageIntent.Created } created && created.IntendedId == start.ContainerId,
                    "a start without its record");
                _calls.Add(new OurCall(command));
                break;
            case RemoveInstance remove:
                Box? box = _boxes.Find(b => b.Id == remove.ContainerId);
                Assert(box is null || box.State != BackendState.Running || remove.Reason == RemovalReason.ReplacementNotWanted, "a live instance is removed");
                _calls.Add(new OurCall(command));
                break;
            case InspectInstance or RelistSandbox or RunPreStop:
                _calls.Add(new OurCall(command));
                break;
            case StopInstance stop:
                StopRecord? recorded = _podRecord?.Stops.FirstOrDefault(s => s.Lineage == stop.Lineage);
                Assert(recorded is { Stage: StopStage.Ending } || (recorded is { Stage: StopStage.Forwarded } && stop.Grace == TimeSpan.Zero),
                    $"a stop without its record: {recorded}");
                _calls.Add(new OurCall(command));
                break;
            case StopSandbox:
                Assert(_podRecord is { End: not null, IsSandboxStopping: true }, "a sandbox is stopped without a record");
                _sandboxStopAsked = true;
                if (!_kubeletCalls.Any(c => c.Kind == CallKind.StopSandbox))
                {
                    ForwardSandboxStop();
                }

                break;
            case AskRestartSlot ask:
                _limit.Ask("sandbox", ask.Lineage);
                break;
            case CancelRestartSlot cancel:
                _limit.Cancel("sandbox", cancel.Lineage);
                break;
            case ScheduleTimer timer:
                _timer = timer.At;
                break;
            case Explain { Decision: { Outcome: RestartOutcome.None } decision }:
                Assert(_explained.Add(decision.ContainerId), $"{decision.ContainerId} was decided twice");
                Assert(!_records.TryGetValue(decision.Lineage, out LineageRecord? record) || record.Deaths.All(d => d.ContainerId != decision.ContainerId),
                    $"{decision.ContainerId} was decided before the crash, too");
                break;
            default:
                break;
        }
    }

    /// <summary>What ends before a sidecar, and runs. A replacement that is given up is removed, whatever it does meanwhile.</summary>
    private IEnumerable<Box> Predecessors(string name) => _boxes.Where(
        b => b.State == BackendState.Running && b.Name != name && (b.Name == Main || (name == "proxy" && b.Name == "agent"))
            && (_shim?.ShownState(b.Id, b.Name, b.Attempt, Now) != ShownState.Hidden || b.Id == _shim?.CurrentOf(b.Name)));

    // Its death was not told yet.
    private bool HasUntoldPredecessor(string name) =>
        _shim!.Running.Any(running => running == Main || (name == "proxy" && running == "agent"));

    private void CheckOrder(string name)
    {
        if (name == Main || _wasSpecUnknown)
        {
            // Without the spec, what no annotation names may be a main, and mains end together.
            return;
        }

        (DateTimeOffset askedAt, TimeSpan timeout) = _stopsAsked.GetValueOrDefault(name, (DateTimeOffset.MaxValue, TimeSpan.Zero));
        bool isAlone = _podRecord is { TerminatingSince: null, End: null } && askedAt < Now && Now >= askedAt + _teardown.UnprovenHold;
        (DateTimeOffset mainAskedAt, TimeSpan mainTimeout) = _stopsAsked.GetValueOrDefault(Main, (DateTimeOffset.MaxValue, TimeSpan.Zero));
        bool isGraceOver = (_isEmulated && mainAskedAt < Now && Now >= mainAskedAt + mainTimeout - _teardown.SidecarFloor)
            || (_isEmulated && _isTerminating && Now >= _shim!.Deadline - _teardown.SidecarFloor && _stopsAsked.ContainsKey(Main))
            || (_sandboxEndAsked && Now >= _shim!.Deadline - _teardown.SidecarFloor)
            || (askedAt < Now && Now >= askedAt + timeout - _teardown.SidecarFloor);
        Box? early = Predecessors(name).FirstOrDefault();
        Assert(early is null || isAlone || isGraceOver, $"it is the turn of {name} while {early?.Id} runs");
    }

    private void ForwardSandboxStop()
    {
        _sandboxStopForwarded = true;
        foreach (Box live in _boxes.Where(b => b.State == BackendState.Running))
        {
            End(live, 137, false);
        }

        _sandboxReady = false;
    }

    private void Grant()
    {
        foreach (RestartSlot slot in _limit.TakeGranted(Now))
        {
            Tell(new SlotGranted(slot.Lineage));
        }
    }

    private void Advance(TimeSpan time)
    {
        DateTimeOffset end = Now + time;
        for (int turn = 0; turn < 100 && _shim is not null; turn++)
        {
            DateTimeOffset? next = _timer;
            next = _limit.NextAt(Now) is { } limit && (next is null || limit < next) ? limit : next;
            if (next is null || next > end)
            {
                break;
            }

            Now = next > Now ? next.Value : Now;
            Grant();
            if (_timer <= Now)
            {
                _timer = null;
                Tell(new TimerDue());
            }
        }

        Now = end > Now ? end : Now;
    }

    private void Crash()
    {
        if (_shim is null)
        {
            return;
        }

        Note("  crash");
        _shim = null;
        _crashAfter = -1;
        _timer = null;
        _replies.Clear();
        _events.Clear();
        _lists.Clear();
        _explained.Clear();
        _maskedSince.Clear();
        _limit = new NodeRestartLimit(_options.NodeLimit, Now);

        // The kubelet's calls end with the connection, and it asks again by what it sees; forwarded ones may be carried out still.
        _ = _kubeletCalls.RemoveAll(c => c.Kind != CallKind.StopSandbox || c.WasHeld);

        // So may ours: those that only tell the shim something cannot.
        _ = _calls.RemoveAll(c => c.Command is InspectInstance or RelistSandbox or RemoveInstance or StopInstance or RunPreStop or ProbeStartup or RecordCompletion);
        _failedProbes.Clear();
        foreach (OurCall call in _calls)
        {
            call.IsOrphan = true;
        }
    }

    private void Rise()
    {
        if (_shim is not null)
        {
            return;
        }

        Note("  rise");
        (_shim, IReadOnlyList<PodCommand> commands) = PodSupervisor.Rebuild(
            Options(), _podRecord, _records.Values.ToArray(), List(), _facts, _annotation, Now);
        if (_isTerminating && !_shim.IsTerminating)
        {
            // Lost with the crash before it was recorded: the evidence comes again.
            Do(commands);
            Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
            return;
        }

        Do(commands);
    }

    // ---- containerd

    private SandboxSnapshot List() => new(
        _sandboxReady, Now, [.. _boxes.Select(b => new SeenContainer(b.Id, b.Name, b.Attempt, b.State, b.CreatedAt, null, null))]);

    private Box? Create(string name, int attempt, bool isOurs)
    {
        if (_boxes.Any(b => b.Name == name && b.Attempt == attempt))
        {
            return null;
        }

        var box = new Box($"{name}-{attempt}-{_nextId++}", name, attempt) { CreatedAt = Now, IsOurs = isOurs };
        _boxes.Add(box);
        return box;
    }

    private void Run(Box box)
    {
        box.State = BackendState.Running;
        box.StartedAt = Now;
        Assert(_boxes.Count(b => b.Name == box.Name && b.State == BackendState.Running) == 1, $"two live instances of {box.Name}");
        Assert(!_sandboxStopForwarded || _sandboxStopWaitRefused, $"{box.Id} runs after StopPodSandbox");
    }

    private void End(Box box, int code, bool oom)
    {
        box.State = BackendState.Exited;
        box.Exit = new ContainerExit(code, oom, Now);
        box.WasSeen = true;
        Deaths++;
        if (_shim is not null)
        {
            _events.Add(new ContainerExited(box.Id, box.Exit));
        }
    }

    private void Die(string name, int a)
    {
        if (_boxes.Find(b => b.Name == name && b.State == BackendState.Running) is { } box)
        {
            Note($"  {box.Id} dies");
            End(box, a % 3 == 0 ? 0 : 1, a % 7 == 0);
        }
    }

    private void CarryOut(OurCall call)
    {
        Note($"  containerd does {call.Command.GetType().Name}");
        _ = _calls.Remove(call);
        bool refuse = _refuseNext && call.Command is CreateReplacement or StartReplacement or RemoveInstance && !call.IsOrphan;
        _refuseNext = false;
        PodInput? reply = null;
        switch (call.Command)
        {
            case CreateReplacement(var name, var attempt):
                if (!_sandboxReady || refuse)
                {
                    reply = new ReplacementFailed(name, attempt, refuse ? ReplacementFailure.Refused : ReplacementFailure.SandboxNotReady);
                    break;
                }

                reply = Create(name, attempt, true) is { } made
                    ? new ReplacementCreated(name, attempt, made.Id, made.CreatedAt)
                    : new ReplacementFailed(name, attempt, ReplacementFailure.NameReserved);
                break;
            case StartReplacement(var name, var attempt, var id):
                Box? box = _boxes.Find(b => b.Id == id);
                if (box is not { State: BackendState.Created } || !_sandboxReady || refuse)
                {
                    if (refuse && box is { State: BackendState.Created })
                    {
                        box.State = BackendState.Exited;
                        box.Exit = new ContainerExit(128, false, Now);
                    }

                    reply = new ReplacementFailed(name, attempt, ReplacementFailure.Refused);
                    break;
                }

                Run(box);
                Restarts++;
                HiddenRestarts += box.Name == Agent && _completions.Count > 0 ? 1 : 0;
                reply = new ReplacementStarted(id, Now);
                break;
            case RemoveInstance(_, var id, _) when refuse:
                reply = new RemovalFailed(id);
                break;
            case RemoveInstance(_, var id, _):
                _ = _boxes.RemoveAll(b => b.Id == id);
                reply = new ContainerRemoved(id);
                break;
            case ProbeStartup(_, var id, _):
                if (_shim?.IsProbeWanted(Agent, id) == true && _boxes.Any(b => b.Id == id && b.State == BackendState.Running))
                {
                    if (_chance.Next(6) == 0)
                    {
                        _ = _failedProbes.Add(id);
                        reply = new StartupProbeFailed(id);
                        break;
                    }

                    reply = new StartupProbePassed(id);
                }

                break;
            case RecordCompletion(var name):
                reply = new CompletionRecorded(name, call.IsWritten);
                break;
            case InspectInstance(_, var id):
                Box? inspected = _boxes.Find(b => b.Id == id);
                reply = inspected is null ? new ContainerRemoved(id) : inspected.Exit is null ? null
                    : new ContainerExited(id, inspected.Exit) { IsListed = true };
                break;
            case RelistSandbox:
                reply = new SandboxRelisted(List());
                break;
            case RunPreStop(_, var id, _):
                reply = new PreStopEnded(id);
                break;
            case StopInstance(_, var id, var grace):
                // Some ignore their signal; the backend's own SIGKILL at the end of the time-out is left to the shim's.
                if (_boxes.Find(b => b.Id == id) is { State: BackendState.Running } stopped)
                {
                    if (grace > TimeSpan.Zero && _chance.Next(3) == 0)
                    {
                        break;
                    }

                    if (_chance.Next(5) == 0)
                    {
                        reply = new StopAnswered(id, false);
                        break;
                    }

                    End(stopped, grace > TimeSpan.Zero ? 143 : 137, false);
                }

                reply = new StopAnswered(id, true);
                break;
            default:
                break;
        }

        if (reply is not null && !call.IsOrphan)
        {
            _replies.Add(reply);
        }
    }

    private void LoseReply(OurCall call, bool isCarriedOut)
    {
        if (call.IsOrphan)
        {
            return;
        }

        PodInput? lost = call.Command switch
        {
            CreateReplacement(var name, var attempt) => new ReplacementFailed(name, attempt, ReplacementFailure.OutcomeUnknown),
            StartReplacement(var name, var attempt, _) => new ReplacementFailed(name, attempt, ReplacementFailure.OutcomeUnknown),
            _ => null,
        };
        if (lost is null)
        {
            return;
        }

        Note($"  the reply of {call.Command.GetType().Name} is lost");
        call.IsOrphan = true;
        if (isCarriedOut)
        {
            CarryOut(call);
        }

        _replies.Add(lost);
    }

    // ---- The kubelet

    private void KubeletLooks(int a)
    {
        if (_shim is null || _kubeletIsAway)
        {
            return;
        }

        foreach (string name in Names)
        {
            // The shim's rule for lists: what a list says dead, and no event has told yet, is told first.
            foreach (Box box in _boxes.Where(b => b.Name == name && b.State == BackendState.Exited).ToArray())
            {
                Tell(new ContainerSeenExited(box.Id));
            }

            if (_shim is null)
            {
                return;
            }

            List<(Box Box, BackendState State)> shown = Shown(name);
            foreach ((Box box, BackendState state) in shown)
            {
                Assert(state != BackendState.Created || !box.IsOurs || _knownToKubelet.Contains(box.Id) || _kubeletCalls.Count > 0, $"{box.Id} shows as CREATED");
            }

            (Box Box, BackendState State) newest = shown.OrderBy(s => s.Box.CreatedAt).LastOrDefault();
            bool isWanted = newest.Box is null || newest.State is BackendState.Exited or BackendState.Created;
            if (_isEmulated && name != "proxy")
            {
                // An init container that has completed is not looked at again, and the main follows it.
                bool hasMain = _boxes.Any(b => b.Name == Main);
                bool isInitialized = hasMain || _boxes.Any(b => b.Name == Agent && _shim!.ShownState(b.Id, b.Name, b.Attempt, Now) == ShownState.Masked);
                isWanted &= name == Main ? isInitialized : !isInitialized && !(newest.Box is { Exit.ExitCode: 0 } && _mode != SupervisionMode.On);
            }

            if (isWanted && !_isTerminating && !_sandboxStopAsked && _kubeletCalls.All(c => c.Name != name))
            {
                KubeletCreates(name, newest.Box is null ? 0 : newest.Box.Attempt + 1, a % 3 != 0);
            }
        }
    }

    private List<(Box Box, BackendState State)> Shown(string name) =>
        [.. _boxes.Where(b => b.Name == name).Select(b => (b, _shim!.ShownState(b.Id, b.Name, b.Attempt, Now))).Where(s => s.Item2 != ShownState.Hidden)
            .Select(s => (s.b, s.Item2 switch
            {
                ShownState.Running => BackendState.Running,
                ShownState.Masked => BackendState.Exited,
                _ => s.b.State,
            }))];

    private void KubeletCreates(string name, int attempt, bool equalsOurs)
    {
        Note($"  kubelet creates {name} {attempt} {(equalsOurs ? "equal" : "different")}");
        _kubeletCalls.Add(new KubeletCall(CallKind.Create, name, attempt, equalsOurs, ""));
    }

    private void KubeletStops(string name)
    {
        if (_shim is null || _kubeletIsAway)
        {
            return;
        }

        (Box Box, BackendState State) running = Shown(name).Find(s => s.State == BackendState.Running);
        if (running.Box is not null && _kubeletCalls.All(c => c.Name != name))
        {
            Note($"  kubelet stops {running.Box.Id}");
            _kubeletCalls.Add(new KubeletCall(CallKind.Stop, name, 0, false, running.Box.Id));
        }
    }

    private void Terminate()
    {
        _isTerminating = true;
        Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
    }

    private void DrainKubelet()
    {
        for (int turn = 0; turn < 50 && _kubeletCalls.Count > 0 && _shim is not null; turn++)
        {
            Now += TimeSpan.FromMilliseconds(1);
            Go(_kubeletCalls[0], mayWait: turn < 20);
        }
    }

    private void Go(KubeletCall call, bool mayWait)
    {
        if (_shim is null)
        {
            return;
        }

        switch (call.Kind)
        {
            case CallKind.Create:
                CreateVerdict create = _shim.ArbitrateCreate(call.Name, call.Attempt, call.EqualsOurs, mayWait, Now);
                Note($"  create of {call.Name} {call.Attempt}: {create.Verdict} {create.ContainerId} {string.Join(' ', create.RemoveFirst)}");
                Assert(mayWait || create.Verdict != Verdict.Wait, "told to wait against its will");
                Do(create.Commands);
                if (_shim is null || create.Verdict == Verdict.Wait)
                {
                    return;
                }

                _ = _kubeletCalls.Remove(call);
                if (create.Verdict == Verdict.Refuse)
                {
                    Assert(_sandboxEndAsked, "a create is refused");
                }
                else if (create.Verdict == Verdict.Answer)
                {
                    Assert(call.EqualsOurs, "a create that differs is answered with ours");
                    Assert(_boxes.Any(b => b.Id == create.ContainerId), "answered with an instance that is not there");
                    _ = _knownToKubelet.Add(create.ContainerId!);
                    _kubeletCalls.Add(new KubeletCall(CallKind.Start, call.Name, 0, false, create.ContainerId!));
                }
                else
                {
                    _kubeletCalls.Add(new KubeletCall(CallKind.ForwardedCreate, call.Name, call.Attempt, false, string.Join(' ', create.RemoveFirst)));
                }

                break;
            case CallKind.ForwardedCreate:
                _ = _kubeletCalls.Remove(call);
                foreach (string id in call.Id.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                {
                    _ = _boxes.RemoveAll(b => b.Id == id);
                    Tell(new ContainerRemoved(id));
                }

                if (_sandboxReady && Create(call.Name, call.Attempt, false) is { } box)
                {
                    // The shim passes the reply on when it has written down what it says.
                    Tell(new ContainerCreated(box.Id, box.Name, box.Attempt, box.CreatedAt));
                    if (_shim is not null)
                    {
                        _ = _knownToKubelet.Add(box.Id);
                        _kubeletCalls.Add(new KubeletCall(CallKind.Start, call.Name, 0, false, box.Id));
                    }
                }
                else
                {
                    Tell(new CallerCreateFailed(call.Name));
                }

                break;
            case CallKind.Start:
                CallVerdict start = _shim.ArbitrateStart(call.Id, null, Now);
                Note($"  start of {call.Id}: {start.Verdict}");
                Do(start.Commands);
                if (_shim is null || (start.Verdict == Verdict.Wait && mayWait))
                {
                    return;
                }

                _ = _kubeletCalls.Remove(call);
                Box? target = _boxes.Find(b => b.Id == call.Id);
                if (start.Verdict is Verdict.Answer or Verdict.Forward)
                {
                    _ = _stoppedByKubelet.Remove(call.Name);
                    _ = _stopsAsked.Remove(call.Name);
                }

                if (start.Verdict == Verdict.Forward && target is { State: BackendState.Created } && _sandboxReady)
                {
                    Run(target);
                    Tell(new ContainerStarted(target.Id, Now));
                }

                break;
            case CallKind.Stop:
                // Of one that is shown completed, in a pod that goes on, it is an operator's: a death like any other.
                bool isDeath = call.Name == Agent && _shim.IsCompleted(Agent) && !_shim.IsTerminating && !_shim.IsEnding;
                StopVerdict stop = _shim.ArbitrateStop(call.Id, TimeSpan.FromSeconds(10), mayWait, Now);
                Note($"  stop of {call.Id}: {stop.Verdict} {stop.ContainerId}");
                Assert(mayWait || stop.Verdict != Verdict.Wait, "told to wait against its will");
                _ = _perhapsStopped.Add(call.Name);
                _ = _stopsAsked.TryAdd(call.Name, (Now, TimeSpan.FromSeconds(10)));
                Do(stop.Commands);
                if (_shim is null)
                {
                    // Not recorded, not forwarded: the kubelet's call failed.
                    return;
                }

                if (stop.Verdict == Verdict.Held)
                {
                    HeldStops += call.WasHeld ? 0 : 1;
                    call.WasHeld = true;
                    return;
                }

                if (!isDeath)
                {
                    _ = _stoppedByKubelet.Add(call.Name);
                }

                if (stop.Verdict == Verdict.Wait)
                {
                    return;
                }

                _ = _kubeletCalls.Remove(call);
                if (_boxes.Find(b => b.Id == stop.ContainerId) is { State: BackendState.Running } stopped)
                {
                    End(stopped, 143, false);
                }

                break;
            default:
                // Told before it is recorded: a crash in between may have forgotten it again.
                _sandboxEndAsked = true;
                CallVerdict end = _shim.ArbitrateSandboxStop(call.Attempt % 2 == 0 ? TimeSpan.FromSeconds(2) : null, mayWait, Now);
                Note($"  stop of the sandbox: {end.Verdict}");
                _sandboxStopWaitRefused |= !mayWait;
                Do(end.Commands);
                if (_shim is null)
                {
                    return;
                }

                if (end.Verdict == Verdict.Held)
                {
                    OrderedEnds += call.WasHeld ? 0 : 1;
                    call.WasHeld = true;
                    return;
                }

                _sandboxStopAsked = true;
                if (end.Verdict == Verdict.Wait)
                {
                    return;
                }

                _ = _kubeletCalls.Remove(call);
                ForwardSandboxStop();
                break;
        }
    }

    // The kubelet's own collector: anything dead beyond the newest.
    private void Collect(string name)
    {
        if (_shim is null || _kubeletIsAway)
        {
            return;
        }

        List<(Box Box, BackendState State)> shown = Shown(name);
        if (shown.Where(s => s.State == BackendState.Exited).OrderByDescending(s => s.Box.CreatedAt).Skip(1).FirstOrDefault().Box is { } old)
        {
            Note($"  kubelet removes {old.Id}");
            CallVerdict remove = _shim.ArbitrateRemove(old.Id, Now);
            Assert(remove.Verdict == Verdict.Forward, "what is dead can be removed");
            Do(remove.Commands);
            if (_shim is not null)
            {
                _ = _boxes.Remove(old);
                Tell(new ContainerRemoved(old.Id));
            }
        }
    }

    /// <summary>A kubelet's collector, an eviction, an operator: it is shown EXITED.</summary>
    private void RemoveCompleted()
    {
        if (_shim is null || _kubeletIsAway
            || _boxes.Find(b => b.Name == Agent && _shim.ShownState(b.Id, b.Name, b.Attempt, Now) == ShownState.Masked) is not { } box)
        {
            return;
        }

        bool isLive = _boxes.Any(b => b.Name == Agent && b.State == BackendState.Running && b.Id == _shim.CurrentOf(Agent));
        CallVerdict remove = _shim.ArbitrateRemove(box.Id, Now);
        Note($"  kubelet removes {box.Id}: {remove.Verdict}");
        bool isCurrent = _shim.Views(Now).Single(view => view.Name == Agent).CompletedId == box.Id;
        Assert(!(isLive && isCurrent) || remove.Verdict is Verdict.Held or Verdict.TryAgain || !_shim.Running.Contains(Agent), "what runs is removed");
        HeldRemovals += remove.Verdict is Verdict.Held or Verdict.TryAgain ? 1 : 0;
        Do(remove.Commands);
        if (_shim is not null && remove.Verdict == Verdict.Forward)
        {
            _ = _boxes.Remove(box);
            _ = _completions.Remove(box.Id);
            Tell(new ContainerRemoved(box.Id));
        }
    }

    private void SetMode(SupervisionMode mode)
    {
        _mode = mode;
        Tell(new ModeChanged(mode));
    }

    // ---- Rules that hold at every moment

    private void Check()
    {
        if (_shim is null)
        {
            return;
        }

        Grant();
        if (_shim is null)
        {
            return;
        }

        foreach (string name in Names)
        {
            List<(Box Box, BackendState State)> shown = Shown(name);
            Assert(shown.Count(s => s.State == BackendState.Running) <= 1, $"{name} shows two RUNNING instances");
            if (_isEmulated && name == Agent)
            {
                CheckCompletions();
            }

            foreach (Box box in _boxes.Where(b => b.Name == name))
            {
                ShownState state = _shim.ShownState(box.Id, name, box.Attempt, Now);
                if (state != ShownState.Running || box.State != BackendState.Exited)
                {
                    _ = _maskedSince.Remove(box.Id);
                    continue;
                }

                Assert(!_sandboxStopAsked, $"{box.Id} shows RUNNING after StopPodSandbox");
                Assert(name != Main, "a main container is masked");
                _ = _maskedSince.TryAdd(box.Id, Now);
                Assert(Now - _maskedSince[box.Id] <= _options.ShownRunningFor, $"{box.Id} shows RUNNING for too long");
            }
        }
    }

    /// <summary>What was shown completed once stays so, is recorded, and nothing of ours is seen behind it.</summary>
    private void CheckCompletions()
    {
        foreach (Box box in _boxes.Where(b => b.Name == Agent))
        {
            bool isMasked = _shim!.ShownState(box.Id, box.Name, box.Attempt, Now) == ShownState.Masked;
            if (_completions.TryGetValue(box.Id, out DateTimeOffset at))
            {
                Assert(isMasked, $"{box.Id} was shown completed, and is not");
                Assert(_shim.CompletionOf(box.Id)!.Value.At == at, $"{box.Id} has another time");
            }
            else if (isMasked)
            {
                _completions.Add(box.Id, _shim.CompletionOf(box.Id)!.Value.At);
                Assert(_records.TryGetValue(Agent, out LineageRecord? record) && record.Instances.Any(i => i.Id == box.Id && i.CompletedAt is not null),
                    $"{box.Id} is shown completed without a record");
            }
        }

        foreach ((Box box, _) in Shown(Agent))
        {
            // What follows one that the kubelet created anew, and that has not completed, is seen as any replacement is.
            bool isBehind = box.IsOurs && !_knownToKubelet.Contains(box.Id)
                && _boxes.FindLast(b => b.Name == Agent && b.CreatedAt < box.CreatedAt && (!b.IsOurs || _knownToKubelet.Contains(b.Id))) is { } before
                && _completions.ContainsKey(before.Id);
            Assert(!isBehind, $"{box.Id} is seen");
        }
    }

    private void Assert(bool holds, string rule)
    {
        if (!holds)
        {
            throw new RuleBrokenException($"{rule}\n{_log}");
        }
    }

    private void Note(string line) =>
        _log.Append(CultureInfo.InvariantCulture, $"{(Now - new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)).TotalMilliseconds,8:0} {line}\n");

    private static string Shown(PodCommand command) => command switch
    {
        Explain explain => $"explain: {explain.Decision}",
        { RecordFirst: LineageRecord r } => $"{command.GetType().Name} [{r.Name} {r.Intent} {r.IntendedAttempt} {r.IntendedId} rest {r.RestReason} current {r.CurrentId}]",
        CreateReplacement or StartReplacement or RemoveInstance => command.ToString(),
        _ => command.ToString(),
    };

    private enum CallKind
    {
        Create,
        ForwardedCreate,
        Start,
        Stop,
        StopSandbox,
    }

    private sealed record KubeletCall(CallKind Kind, string Name, int Attempt, bool EqualsOurs, string Id)
    {
        public bool WasHeld { get; set; }
    }

    private sealed class OurCall(PodCommand command)
    {
        public PodCommand Command { get; } = command;

        public bool IsOrphan { get; set; }

        public bool IsWritten { get; init; }
    }

    private sealed class Box(string id, string name, int attempt)
    {
        public string Id { get; } = id;

        public string Name { get; } = name;

        public int Attempt { get; } = attempt;

        public BackendState State { get; set; } = BackendState.Created;

        public DateTimeOffset CreatedAt { get; init; }

        public DateTimeOffset StartedAt { get; set; }

        public ContainerExit? Exit { get; set; }

        public bool IsOurs { get; init; }

        public bool WasSeen { get; set; }
    }
}

internal sealed class RuleBrokenException(string message) : Exception(message);
