using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Supervisor;

/// <summary>What a supervisor is given once.</summary>
public sealed record PodSupervisorOptions
{
    /// <summary>Everything is remembered by sandbox, not by pod UID: a pod can get a second sandbox.</summary>
    public required string SandboxId { get; init; }

    public required RestartOptions Restart { get; init; }

    public TeardownOptions Teardown { get; init; } = new();

    /// <summary>A spec source may tell the pod's spec; until it does, what is no plain main container is not known.</summary>
    public required bool IsSpecSourceConfigured { get; init; }

    /// <summary>For jitter; seeded in tests.</summary>
    public required Random Chance { get; init; }

    public SupervisionMode Mode { get; init; } = SupervisionMode.On;
}

/// <summary>
/// The supervisor of one sandbox. Pure: it is told things and asked things, each with the time, and says what is to be done. One call at
/// a time: whoever holds it has the pod's lock, and carries its commands out in order before the next call (calls to the backend may
/// then go on without the lock; their outcomes are told).
/// </summary>
/// <remarks>
/// The pod's own states; the lineages' are drawn in <see cref="Lineage"/>.
/// <code>
///   ready ── PodTerminating ──▶ terminating ── ArbitrateSandboxStop, EndPod ──▶ ending ── nothing runs ──▶ stopping ── SandboxGone ──▶ gone
///     │                      restarts a sidecar                            the same, and             creates nothing           forgets
///     │                      before its turn, within the grace             callers create nothing    (rule 7)
///     └── a list says not ready ──▶ not ready: restarts nothing, until a list says ready
/// </code>
/// </remarks>
public sealed partial class PodSupervisor
{
    /// <summary>A start that was held goes on this long before its caller gives up (rule 22).</summary>
    private static readonly TimeSpan GateMargin = TimeSpan.FromSeconds(10);

    private readonly PodConditions _pod;
    private readonly Dictionary<string, Lineage> _lineages = new(StringComparer.Ordinal);
    private readonly PodTeardown _teardown;
    private readonly PodSupervisorOptions _options;
    private readonly HashSet<string> _inspected = new(StringComparer.Ordinal);
    private DateTimeOffset? _scheduled;
    private DateTimeOffset? _gateUntil;

    public PodSupervisor(PodSupervisorOptions options)
    {
        _pod = new PodConditions(options.SandboxId, options.Restart, options.IsSpecSourceConfigured, options.Chance) { Mode = options.Mode };
        _options = options;
        _teardown = new PodTeardown(_pod, _lineages, options.Teardown);
        _pod.IsTurnToEnd = _teardown.IsTurnToEnd;
    }

    public string SandboxId => _pod.SandboxId;

    /// <summary>When the pod's grace is used up; null while it does not terminate.</summary>
    public DateTimeOffset? Deadline => _pod.Deadline;

    public bool IsTerminating => _pod.TerminatingSince is not null || _pod.IsSandboxStopping;

    public bool IsSandboxStopping => _pod.IsSandboxStopping;

    /// <summary>The sandbox is being ended, or was: callers can't create in it.</summary>
    public bool IsEnding => _teardown.IsEnding;

    /// <summary>By the last list, or by its stop.</summary>
    public bool IsSandboxReady => _pod.IsSandboxReady && !_pod.IsSandboxGone;

    /// <summary>Names of the containers that run, by all that was told.</summary>
    public IReadOnlyList<string> Running => [.. _lineages.Values.Where(l => l.IsAlive).Select(l => l.Name)];

    /// <summary>Container names in the order of their first start in this sandbox; what teardown reverses.</summary>
    public IReadOnlyList<string> StartOrder => _pod.StartOrder;

    /// <summary>A call of ours for this pod is under way, or had no clear outcome.</summary>
    public bool IsBusy => _lineages.Values.Any(l => l.IsBusy);

    /// <summary>Callers may have to be shown something else than the backend shows: see <see cref="ShownState"/>.</summary>
    public bool ChangesViews => _lineages.Values.Any(l => l.ChangesViews);

    /// <summary>A sidecar runs here that would be restarted if it died.</summary>
    public bool WatchesEnds => _lineages.Values.Any(l => l.IsWatched);

    /// <summary>Some instance has died here, so that an id may stand for another one: see <see cref="CurrentInstance"/>.</summary>
    public bool HasDeaths => _lineages.Values.Any(l => l.HasDeaths);

    /// <summary>Tells the supervisor something; gives what is to be done about it.</summary>
    public IReadOnlyList<PodCommand> Handle(PodInput input, DateTimeOffset now)
    {
        switch (input)
        {
            case FactsChanged(var facts):
                SetFacts(facts, now);
                break;
            case AnnotationChanged(var annotation):
                _pod.Annotation = annotation;
                RecheckAll(false, now);
                break;
            case ModeChanged(var mode):
                _pod.Mode = mode;
                RecheckAll(false, now);
                break;
            case ContainerCreated(var id, var name, var attempt, var createdAt):
                Of(name).CreatedByCaller(id, attempt, createdAt, now);
                break;
            case CallerCreateFailed(var name):
                Of(name).CallerCreateFailed(now);
                break;
            case ContainerStarted(var id, var startedAt) when Find(id) is var (lineage, instance):
                lineage.StartedByCaller(instance, startedAt, now);
                _teardown.Started(lineage.Name, now);
                break;
            case GraceTold(var told):
                _pod.IsChanged |= _pod.AnnotatedGrace != told;
                _pod.AnnotatedGrace = told;
                break;
            case CallerHook(var id, var isRunning) when Find(id) is var (lineage, _):
                _teardown.CallerHook(lineage.Name, isRunning, now);
                break;
            case StartupProbePassed(var id) when Find(id) is var (lineage, instance):
                lineage.StartupPassed(instance, now);
                if (lineage.IsGating)
                {
                    OpenGate(lineage, GateReason.Passed);
                }

                break;
            case StartupProbeFailed(var id) when Find(id) is var (lineage, instance):
                lineage.StartupFailed(instance);
                break;
            case CompletionRecorded(var name, var isWritten):
                Of(name).CompletionRecorded(isWritten, now);
                break;
            case PreStopEnded(var id):
                _teardown.HookEnded(id);
                break;
            case StopAnswered(var id, var isDone):
                _teardown.StopEnded(id, isDone, now);
                foreach (Lineage lineage in _lineages.Values)
                {
                    lineage.StopAnswered(id, isDone);
                }

                if (isDone && Find(id) is var (stopped, it) && it.StartedAt is not null)
                {
                    stopped.SeenExited(it, now);
                }

                break;
            case EndPod(var grace):
                if (!_teardown.BeginEnd(null, grace, now) && !_pod.IsSandboxStopping)
                {
                    StopSandboxNow(now);
                }

                break;
            case ContainerExited(var id, var exit) told when Find(id) is var (lineage, instance):
                instance.IsEndSeen |= told.IsListed;
                lineage.Exited(instance, exit, now);
                break;
            case ContainerSeenExited(var id) when Find(id) is var (lineage, instance):
                lineage.SeenExited(instance, now);
                break;
            case ContainerRemoved(var id) when Find(id) is var (lineage, instance):
                lineage.Removed(instance, now);
                break;
            case RemovalFailed(var id) when Find(id) is var (lineage, instance):
                lineage.RemovalFailed(instance, now);
                break;
            case ResourcesUpdated(var id) when Find(id) is var (lineage, _):
                lineage.ResourcesUpdated();
                break;
            case PodTerminating(var grace):
                _pod.BeginTermination(grace, now);
                RecheckAll(false, now);
                break;
            case SandboxStopped:
                _pod.IsSandboxReady = false;
                RecheckAll(false, now);
                break;
            case SandboxGone:
                EndSandbox(now);
                break;
            case SandboxRelisted(var snapshot):
                Relist(snapshot, now);
                break;
            case ReplacementCreated(var name, var attempt, var id, var createdAt):
                Of(name).ReplacementCreated(attempt, id, createdAt, now);
                break;
            case ReplacementStarted(var id, var startedAt) when Find(id) is var (lineage, instance):
                lineage.ReplacementStarted(instance, startedAt, now);
                break;
            case ReplacementFailed(var name, var attempt, var failure):
                Of(name).ReplacementFailed(attempt, failure, now);
                break;
            case SlotGranted(var name):
                Of(name).SlotGranted(now);
                break;
            case TimerDue:
                _scheduled = null;
                foreach (Lineage lineage in _lineages.Values)
                {
                    lineage.TimerDue(now);
                }

                break;
            default:
                // An id that nobody told of: a list will.
                break;
        }

        return Take(now);
    }

    /// <summary>A caller's CreateContainer has come (rule 6). Tell <see cref="ContainerCreated"/> or <see cref="CallerCreateFailed"/> after forwarding it.</summary>
    /// <param name="name"><c>metadata.name</c>.</param>
    /// <param name="attempt"><c>metadata.attempt</c>.</param>
    /// <param name="equalsOurs">
    /// The request equals the lineage's recorded CreateContainer but for attempt, restartCount, log and termination-log paths.
    /// </param>
    /// <param name="mayWait">False once the caller can wait no longer (rule 22): then the answer is not <see cref="Verdict.Wait"/>.</param>
    /// <param name="now">The time.</param>
    public CreateVerdict ArbitrateCreate(string name, int attempt, bool equalsOurs, bool mayWait, DateTimeOffset now)
    {
        if (_teardown.IsEnding)
        {
            return new CreateVerdict(Verdict.Refuse, null, [], Take(now));
        }

        (Verdict verdict, string? ours, IReadOnlyList<string> removeFirst) = Of(name).ArbitrateCreate(attempt, equalsOurs, mayWait, now);
        return new CreateVerdict(verdict, ours, removeFirst, Take(now));
    }

    /// <summary>A caller's StartContainer has come (rules 5 and 6). Tell <see cref="ContainerStarted"/> after forwarding it.</summary>
    /// <param name="id">The container.</param>
    /// <param name="patience">How long the caller waits for the answer; null: without a limit.</param>
    /// <param name="now">The time.</param>
    public CallVerdict ArbitrateStart(string id, TimeSpan? patience, DateTimeOffset now)
    {
        if (_teardown.IsEnding)
        {
            return new CallVerdict(Verdict.Refuse, Take(now));
        }

        if (Find(id) is not var (lineage, instance))
        {
            return new CallVerdict(Verdict.Forward, Take(now));
        }

        Verdict verdict = IsGated(lineage, patience, now) ? Verdict.Held : lineage.ArbitrateStart(instance);
        if (verdict == Verdict.Answer && instance == lineage.Current)
        {
            _teardown.StartAnswered(lineage.Name);
        }

        return new CallVerdict(verdict, Take(now));
    }

    /// <summary>
    /// A caller's StopContainer has come. Once its turn has come, too, the lineage is the caller's until it starts it again (rule 5); one
    /// that is held back leaves it to the shim, which ends it in its turn, and is forwarded when it has ended.
    /// </summary>
    /// <param name="id">Any id of the lineage.</param>
    /// <param name="timeout">The call's time-out; in a terminating pod it can only shorten the grace.</param>
    /// <param name="mayWait">See <see cref="ArbitrateCreate"/>.</param>
    /// <param name="now">The time.</param>
    public StopVerdict ArbitrateStop(string id, TimeSpan timeout, bool mayWait, DateTimeOffset now)
    {
        _pod.Shorten(timeout, now);
        if (Find(id) is not var (lineage, _))
        {
            return new StopVerdict(Verdict.Forward, id, Take(now));
        }

        if (lineage.IsCompleted && !HasTurn(lineage))
        {
            // An operator's: no kubelet stops, nor starts again, what it takes for completed. While the pod goes on it is a death like any other.
            return new StopVerdict(Verdict.Forward, lineage.Current?.Id ?? id, Take(now));
        }

        if (_teardown.AskedByCaller(lineage, timeout, now))
        {
            return new StopVerdict(Verdict.Held, id, Take(now));
        }

        (Verdict verdict, string target) = lineage.ArbitrateStop(id, mayWait, now);
        return new StopVerdict(verdict, target, Take(now));
    }

    /// <summary>
    /// A caller's RemoveContainer has come; it is forwarded with its own id, for one that still runs once its turn in the pod's end is over:
    /// the backend would kill it. Tell <see cref="ContainerRemoved"/> after.
    /// </summary>
    /// <remarks>
    /// One that is shown completed, and runs, is never removed before (rule 15). In a pod that does not end that is <see cref="Verdict.TryAgain"/>:
    /// the kubelet's garbage collection removes all containers of the node one after another, and would stand still.
    /// </remarks>
    public CallVerdict ArbitrateRemove(string id, DateTimeOffset now)
    {
        if (Find(id) is var (lineage, instance))
        {
            if (instance == lineage.Completed)
            {
                if (lineage.RunsBehind || (lineage.Current is { } current && _teardown.IsAnswerAwaited(lineage.Name, current.Id)))
                {
                    return new CallVerdict(HasTurn(lineage) ? Verdict.Held : Verdict.TryAgain, Take(now));
                }

                lineage.RemoveHidden(now);
                return new CallVerdict(Verdict.Forward, Take(now));
            }

            if ((instance == lineage.Live && _teardown.StageOf(lineage.Name) is not null) || _teardown.IsAnswerAwaited(lineage.Name, id))
            {
                return new CallVerdict(Verdict.Held, Take(now));
            }

            lineage.ArbitrateRemove(instance, now);
        }

        return new CallVerdict(Verdict.Forward, Take(now));
    }

    /// <summary>
    /// StopPodSandbox (or RemovePodSandbox) has come. While something runs it is <see cref="Verdict.Held"/>, and the pod is ended in order
    /// (rule 8). Then it is about to be forwarded: from here on nothing is created in the pod (rule 7), whatever the verdict.
    /// <see cref="Verdict.Wait"/>: a call of ours is under way that would otherwise land after the sandbox's end.
    /// </summary>
    /// <param name="patience">How long the caller waits for the answer, from now; null: without a limit.</param>
    /// <param name="mayWait">See <see cref="ArbitrateCreate"/>.</param>
    /// <param name="now">The time.</param>
    public CallVerdict ArbitrateSandboxStop(TimeSpan? patience, bool mayWait, DateTimeOffset now)
    {
        if (_teardown.BeginEnd(patience, null, now))
        {
            return new CallVerdict(Verdict.Held, Take(now));
        }

        if (!_pod.IsSandboxStopping)
        {
            _pod.IsSandboxStopping = true;
            _pod.IsChanged = true;
        }

        RecheckAll(mayWait, now);
        return new CallVerdict(mayWait && IsBusy ? Verdict.Wait : Verdict.Forward, Take(now));
    }

    /// <summary>A caller's StopPodSandbox went through before anything was known of the sandbox.</summary>
    public IReadOnlyList<PodCommand> SandboxStopForwarded(DateTimeOffset now)
    {
        _pod.IsSandboxStopping = true;
        _pod.IsChanged = true;
        RecheckAll(false, now);
        return Take(now);
    }

    /// <summary>The instance that calls for this id go to (rule 4); the id itself when it is none of a known lineage.</summary>
    public string CurrentInstance(string id) => Find(id) is var (lineage, _) ? lineage.Current?.Id ?? id : id;

    /// <summary>What callers are shown of a container now, in lists, statuses and events alike (rules 1 and 3).</summary>
    /// <param name="id">The container id.</param>
    /// <param name="name"><c>metadata.name</c>: a list can show a replacement whose id nobody has told yet.</param>
    /// <param name="attempt"><c>metadata.attempt</c>.</param>
    /// <param name="now">The time.</param>
    public ShownState ShownState(string id, string name, int attempt, DateTimeOffset now) =>
        _lineages.TryGetValue(name, out Lineage? lineage) ? lineage.Show(id, attempt, now) : Supervisor.ShownState.AsBackend;

    /// <summary>That the backend says EXITED of it is news, to be told with <see cref="ContainerSeenExited"/>.</summary>
    public bool IsExitNews(string id) => Find(id) is var (_, instance) && instance is { IsEndSeen: false, IsRemoved: false };

    /// <summary>How an instance ended that one of the shim's has replaced: a message that says RUNNING of it is behind. Null for any other.</summary>
    public ContainerExit? EndOf(string id) => Find(id) is var (lineage, instance) ? lineage.EndOf(instance) : null;

    /// <summary>When the shim started this instance, which runs: a message that says CREATED of it is older. Null for any other.</summary>
    public DateTimeOffset? StartOf(string id) =>
        Find(id) is var (_, instance) && instance is { IsOurs: true, IsHidden: false, IsAlive: true } ? instance.StartedAt : null;

    /// <summary>
    /// When this instance completed, by what callers are told, and the attempt that runs behind it. Null where no <see cref="ShownState.Masked"/> is.
    /// </summary>
    public (DateTimeOffset At, int Attempt)? CompletionOf(string id) => Find(id) is var (lineage, instance) ? lineage.CompletionOf(instance) : null;

    /// <summary>Containers that run behind one that is shown completed: name, the id that is shown, and the instance that runs.</summary>
    public IReadOnlyList<(string Name, string ShownId, string InstanceId)> Masked =>
        [.. _lineages.Values.Where(l => l is { Completed: not null, Live: not null }).Select(l => (l.Name, l.Completed!.Id, l.Live!.Id))];

    /// <summary>Callers are told that this container has completed, and see none of its later instances.</summary>
    public bool IsCompleted(string name) => _lineages.TryGetValue(name, out Lineage? lineage) && lineage.IsCompleted;

    /// <summary>The instance of this container that runs, or ran last; null before the first.</summary>
    public string? CurrentOf(string name) => _lineages.TryGetValue(name, out Lineage? lineage) ? lineage.Current?.Id : null;

    /// <summary>Whether it is still of interest if this instance has started.</summary>
    public bool IsProbeWanted(string name, string id) => _lineages.TryGetValue(name, out Lineage? lineage) && lineage.IsProbeWanted(id);

    /// <summary>All lineages, for <c>crishim explain</c>.</summary>
    public IReadOnlyList<LineageView> Views(DateTimeOffset now) => [.. _lineages.Values.Select(l => l.ToView(now))];

    private void SetFacts(PodFacts? facts, DateTimeOffset now)
    {
        _pod.Facts = facts;
        if (facts is { IsTerminating: true })
        {
            _pod.BeginTermination(facts.TerminationGracePeriod, now);
        }

        CountLostCompletions();
        RecheckAll(false, now);
    }

    private void EndSandbox(DateTimeOffset now)
    {
        _pod.IsSandboxGone = true;
        RecheckAll(false, now);
    }

    /// <summary>
    /// A plain container starts once the adopted sidecars that were started before it have. (A kubelet starts one after another and waits
    /// for each, so that a sidecar that comes later can't be waited for.)
    /// </summary>
    private bool IsGated(Lineage lineage, TimeSpan? patience, DateTimeOffset now)
    {
        if (_pod.Mode != SupervisionMode.On || _pod.TerminatingSince is not null
            || _pod.Facts is not { } facts || SidecarKinds.Find(lineage.Name, facts) is not { Role: ContainerRole.Plain }
            || !_lineages.Values.Any(other => other != lineage && other.IsGating))
        {
            return false;
        }

        TimeSpan limit = _options.Teardown.GateLimit;
        limit = patience is { } time && time - GateMargin < limit ? time - GateMargin : limit;
        _gateUntil ??= now + (limit > TimeSpan.Zero ? limit : TimeSpan.Zero);
        if (now < _gateUntil)
        {
            return true;
        }

        OpenGates(GateReason.TookTooLong);
        return false;
    }

    private void OpenGates(GateReason reason)
    {
        _gateUntil = null;
        foreach (Lineage lineage in _lineages.Values.Where(lineage => lineage.IsGating))
        {
            OpenGate(lineage, reason);
        }
    }

    private void OpenGate(Lineage lineage, GateReason reason)
    {
        if (!lineage.IsGateOpen)
        {
            lineage.OpenGate();
            _pod.Commands.Add(new GateOpened(lineage.Name, reason));
        }
    }

    /// <summary>
    /// When every main has completed for good the adopted sidecars have nothing left to do: the kubelet waits for them only because it
    /// takes them for mains. Which containers are mains only the spec tells.
    /// </summary>
    private void NoteCompletion()
    {
        if (_pod.HaveMainsCompleted || _pod is not { IsSupervised: true, Annotation.Sidecars.Length: > 0, Facts: { } facts }
            || _pod.RestartPolicy is not { } policy || policy == PodRestartPolicy.Always)
        {
            return;
        }

        bool hasMains = false;
        foreach (ContainerFacts main in facts.Containers)
        {
            if (main.Role != ContainerRole.Plain || _pod.Annotation.Find(main.Name) is not null)
            {
                continue;
            }

            if (main.HasRestartRules || !_lineages.TryGetValue(main.Name, out Lineage? lineage))
            {
                return;
            }

            if (!lineage.HasCompleted(policy))
            {
                if (lineage.EndedUnknown is { } id && _inspected.Add(id))
                {
                    _pod.Commands.Add(new InspectInstance(main.Name, id));
                }

                return;
            }

            hasMains = true;
        }

        _pod.HaveMainsCompleted = hasMains;
        _pod.IsChanged |= hasMains;
    }

    /// <summary>
    /// Rule 21: a kubelet creates what follows an init container when that has completed. So of an emulated one that nothing is recorded of,
    /// and that something follows, it was told so.
    /// </summary>
    private void CountLostCompletions()
    {
        foreach (Lineage lineage in _lineages.Values)
        {
            if (_pod.IsEmulated(lineage.Name) && lineage.FirstCreatedAt is { } createdAt && Followers(lineage.Name)
                .Where(other => other.FirstCreatedAt > createdAt).Min(other => other.FirstCreatedAt) is { } followedAt)
            {
                _ = lineage.CountAsCompleted(followedAt);
            }
        }
    }

    /// <summary>Without a spec, what callers create later than an init container follows it; they make each attempt 0 once.</summary>
    private IEnumerable<Lineage> Followers(string name)
    {
        if (_pod.Facts is not { } facts)
        {
            return _lineages.Values.Where(lineage => lineage.Name != name);
        }

        return facts.Containers.SkipWhile(container => container.Name != name).Skip(1)
            .Where(container => container.Role != ContainerRole.Ephemeral && _lineages.ContainsKey(container.Name))
            .Select(container => _lineages[container.Name]);
    }

    /// <summary>What is shown completed is ended in its turn, which comes without anybody's asking: the pod ends, or its mains have completed.</summary>
    private bool HasTurn(Lineage lineage) => IsTerminating || _pod.HaveMainsCompleted || _teardown.StageOf(lineage.Name) is not null;

    private void StopSandboxNow(DateTimeOffset now)
    {
        _pod.IsSandboxStopping = true;
        _pod.IsChanged = true;
        RecheckAll(false, now);
        _pod.Commands.Add(new StopSandbox());
    }

    private PodRecord ToRecord() => _pod.ToRecord() with { Stops = _teardown.StopRecords, End = _teardown.EndRecord };

    private void RecheckAll(bool isAwaited, DateTimeOffset now)
    {
        foreach (Lineage lineage in _lineages.Values)
        {
            lineage.Recheck(isAwaited, now);
        }
    }

    private Lineage Of(string name)
    {
        if (!_lineages.TryGetValue(name, out Lineage? lineage))
        {
            _lineages.Add(name, lineage = new Lineage(name, _pod));
        }

        return lineage;
    }

    private (Lineage Lineage, Instance Instance)? Find(string id)
    {
        foreach (Lineage lineage in _lineages.Values)
        {
            if (lineage.Find(id) is { } instance)
            {
                return (lineage, instance);
            }
        }

        return null;
    }

    private List<PodCommand> Take(DateTimeOffset now)
    {
        if (!_pod.IsSandboxGone)
        {
            NoteCompletion();
            _teardown.EndServing(now);
            _teardown.EndCompleted(now);
            _teardown.Advance(now);
            foreach (Lineage lineage in _lineages.Values.Where(lineage => lineage.IsGateGivenUp))
            {
                OpenGate(lineage, GateReason.GivenUp);
            }

            if (_gateUntil is { } until && (now >= until || _pod.TerminatingSince is not null))
            {
                OpenGates(now >= until ? GateReason.TookTooLong : GateReason.PodEnds);
            }

            if (_teardown.IsOver && !_pod.IsSandboxStopping)
            {
                StopSandboxNow(now);
            }
        }

        if (_pod.IsSandboxGone)
        {
            // What it had to say about a sandbox that is no more is not worth a record.
            List<PodCommand> last = _pod.TakeCommands();
            _ = last.RemoveAll(c => c is WriteRecord or RemoveInstance or ScheduleTimer);
            last.Add(new ForgetRecords());
            return last;
        }

        if (_pod.IsChanged)
        {
            // Ahead of what follows from it: nothing may be asked of the backend before the pod's own state is safe (rule 7).
            _pod.Commands.Insert(0, new WriteRecord { RecordFirst = ToRecord() });
        }

        foreach (Lineage lineage in _lineages.Values)
        {
            lineage.Flush();
        }

        DateTimeOffset? next = _lineages.Values.Min(l => l.NextDue);
        next = _gateUntil is { } gate && (next is null || gate < next) ? gate : next;
        next = _teardown.NextDue is { } due && (next is null || due < next) ? due : next;
        if (next is { } at && next != _scheduled)
        {
            _pod.Commands.Add(new ScheduleTimer(at));
        }

        _scheduled = next;
        return _pod.TakeCommands();
    }
}
