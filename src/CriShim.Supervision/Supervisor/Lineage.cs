using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <summary>Where a lineage stands.</summary>
public enum LineageState
{
    /// <summary>No instance has been seen.</summary>
    Absent,

    /// <summary>A caller's instance, not started yet.</summary>
    Created,

    /// <summary>The current instance runs, by all that was told.</summary>
    Running,

    /// <summary>Dead; how it ended, or what it is, is not known yet.</summary>
    Undecided,

    /// <summary>Dead, and left alone for a reason.</summary>
    Resting,

    /// <summary>Dead; the restart waits for its time.</summary>
    BackingOff,

    /// <summary>Dead; the restart waits for the node's rate limit.</summary>
    AwaitingSlot,

    /// <summary>A CreateContainer of ours is under way.</summary>
    Creating,

    /// <summary>A StartContainer of ours is under way.</summary>
    Starting,

    /// <summary>A call of ours had no clear outcome: a list has to tell.</summary>
    Unsure,
}

/// <summary>All attempts of one container name in one sandbox, as a machine of states and events.</summary>
/// <remarks>
/// <code>
///              caller's create            caller's start
///   Absent ───────────────────▶ Created ─────────────────▶ Running ◀──────────────────────┐
///                                ▲  ▲ ▲                       │ exit                      │
///              caller's create   │  │ │                       ▼                           │
///            ┌───────────────────┘  │ └─────────────────── Undecided (skipped when all     │
///            │                      │                         │       is known)            │
///         Resting ◀──── reason ─────│─────────────────────────┤                            │
///            ▲                      │ caller's create         │ restart                    │
///            │ reason               │                         ▼                            │
///            ├───────────────── BackingOff ◀──────── delay ───┤                            │
///            │                      │ due   ▲                 │ at once                    │
///            │ reason               ▼       │                 │                            │
///            ├──────────────── AwaitingSlot ◀─────────────────┘                            │
///            │                      │ granted                                              │
///            │ cancelled            ▼       │ refused                                      │
///            └─────────────── Creating ──▶ Starting ──────── started: one step ────────────┤
///                                   │       │                                              │
///                                   ▼       ▼                                              │
///                                    Unsure ── a list tells: start again, retry, or runs ──┘
/// </code>
/// Every step that asks the backend for something is recorded before it is asked (rule 13): Planned before create, Created before start.
/// A cancelled step under way is not torn down blindly: its outcome is awaited, and what it made is removed unless a caller is waiting
/// to stop or replace it.
/// </remarks>
internal sealed partial class Lineage(string name, PodConditions pod)
{
    /// <summary>Removed instances whose ids still stand for the lineage (rule 4).</summary>
    private const int MaxRemovedKept = 16;

    /// <summary>A caller's create takes at most the kubelet's 2 minutes (section 7); if nothing was heard by then, its caller is gone.</summary>
    private static readonly TimeSpan CallerCreateTime = TimeSpan.FromSeconds(150);

    /// <summary>
    /// A kubelet starts what it created at once. If it has not by then, it is gone, and kubelet 1.28 would wait for ever when it is back
    /// (section 2).
    /// </summary>
    private static readonly TimeSpan CallerStartTime = TimeSpan.FromSeconds(20);

    /// <summary>Between asks for what did not come: details of an exit, a list after an unclear outcome.</summary>
    private static readonly TimeSpan AskAgainAfter = TimeSpan.FromSeconds(3);

    /// <summary>What creating and starting the next instance takes, with much to spare.</summary>
    private static readonly TimeSpan RestartTime = TimeSpan.FromMilliseconds(500);

    /// <summary>Until a start that the backend is still at is looked at again.</summary>
    private static readonly TimeSpan LookAgainAfter = TimeSpan.FromMilliseconds(250);

    private readonly List<Instance> _instances = [];
    private DeathTally _tally = new();
    private RestartBackoff? _backoff;
    private RestartRequest? _backoffRequest;

    private int _plannedAttempt = -1;
    private Instance? _replacement;
    private StandDownReason? _cancel;
    private int? _abandonedAttempt;
    private DateTimeOffset _unsureSince;
    private bool _isStartRepeated;
    private bool _isStartRefused;
    private int _resourcesVersion;
    private int _resourcesPlanned;

    private DateTimeOffset? _due;
    private DateTimeOffset? _callerCreatingUntil;
    private int? _callerAttempt;
    private string? _maskedId;
    private DateTimeOffset _maskedUntil;
    private bool _isChanged;

    private int _highestAttempt = -1;
    private int _streak;
    private int _failedTries;

    public string Name { get; } = name;

    public LineageState State { get; private set; }

    public Instance? Current { get; private set; }

    public bool IsStoppedByCaller { get; private set; }

    public StandDownReason? RestReason { get; private set; }

    public bool HasDeaths => _tally.Total > 0 || (IsCompleted && Current != _completed);

    /// <summary>A call of ours to the backend is under way, or had no clear outcome.</summary>
    public bool IsBusy => State is LineageState.Creating or LineageState.Starting or LineageState.Unsure;

    /// <summary>Something of it runs, or a call of ours may make it run.</summary>
    public bool IsAlive => IsBusy || Live is not null;

    /// <summary>When its oldest started instance that is known was created; null: none is.</summary>
    public DateTimeOffset? OldestAt => _instances.Find(i => i.StartedAt is not null)?.CreatedAt;

    /// <summary>The instance that runs, by all that was told.</summary>
    public Instance? Live => Runs(Current) ? Current : _instances.FindLast(Runs);

    /// <summary>Dead, and to be restarted by us.</summary>
    public bool MayComeBack => State is LineageState.BackingOff or LineageState.AwaitingSlot
        || (State == LineageState.Undecided && pod.KindOf(Name) is SidecarKind.Native or SidecarKind.Emulated);

    /// <summary>It runs, and would be restarted if it died now: a list may tell of that before any event does.</summary>
    public bool IsWatched => State == LineageState.Running && pod.KindOf(Name).IsSidecar()
        && pod.IsSupervised && !IsStoppedByCaller;

    /// <summary>
    /// What was given up outlives the step that made it: a backend that is just starting it does not remove it, for seconds if the caller
    /// of that start has gone.
    /// </summary>
    public bool ChangesViews => State is LineageState.Undecided or LineageState.AwaitingSlot || IsBusy || _maskedId is not null
        || _instances.Exists(i => !i.IsRemoved && (i.IsHidden || i.HasServed || i.HasFailedToStart || i.CompletedAt is not null))
        || (IsAlive && IsServing) || (Current is { IsAlive: true } && pod.IsEmulated(Name)) || IsCompleted
        || (_abandonedAttempt is { } attempt && !_instances.Exists(i => i.Attempt == attempt))
        || HasUnseenEnds;

    /// <summary>A caller's create was let through, or is about to be, and has not come back: two creates of one attempt only refuse each other.</summary>
    private bool IsCallerCreating => _callerCreatingUntil is not null;

    /// <summary>Our create has not told its id.</summary>
    private bool IsCreatingOrUnsure => State is LineageState.Creating or LineageState.Unsure && _replacement is null;

    private bool IsAbandoned(int attempt) => attempt == _abandonedAttempt && !(IsCallerCreating && attempt == _callerAttempt);

    private static bool Runs(Instance? instance) => instance is { IsAlive: true, StartedAt: not null, RemovalAskedAt: null };

    public Instance? Find(string id) => _instances.Find(i => i.Id == id);

    public DateTimeOffset? NextDue
    {
        get
        {
            DateTimeOffset? next = _due;
            next = _maskedId is not null && (next is null || _maskedUntil < next) ? _maskedUntil : next;
            next = _recordDue is { } record && (next is null || record < next) ? record : next;
            next = AftermathDue is { } aftermath && (next is null || aftermath < next) ? aftermath : next;
            return _callerCreatingUntil is { } until && (next is null || until < next) ? until : next;
        }
    }

    public ShownState Show(string id, int attempt, DateTimeOffset now)
    {
        if (Find(id) is { } instance)
        {
            return instance.IsCompletionShown ? ShownState.Masked
                : instance.IsHidden || IsBehind(instance) ? ShownState.Hidden
                : instance.HasServed && pod.IsSuccess(Name, instance.Exit?.ExitCode) ? ShownState.Completed
                : instance is { HasServed: true, Exit: null } ? ShownState.Running
                : instance.Id == _maskedId && now < _maskedUntil ? ShownState.Running
                : instance.HasFailedToStart ? ShownState.Failed
                : ShownState.AsBackend;
        }

        // A list can show our replacement before the reply that tells its id.
        bool isOurs = (IsCreatingOrUnsure && attempt == _plannedAttempt) || IsAbandoned(attempt) || IsBehind(attempt);
        return isOurs ? ShownState.Hidden : ShownState.AsBackend;
    }

    public LineageView ToView(DateTimeOffset now) => new()
    {
        Name = Name,
        Kind = pod.KindOf(Name),
        State = State,
        CurrentId = Current?.Id,
        Attempt = Current?.Attempt,
        CompletedId = Completed?.Id,
        CompletedAt = Completed?.CompletedAt,
        IsStoppedByCaller = IsStoppedByCaller,
        RestReason = RestReason,
        WouldStandDown = pod.WhyNot(Name, IsStoppedByCaller, now),
        Due = State == LineageState.BackingOff ? _due : null,
        Streak = _streak,
        FailedTries = _failedTries,
        Tally = _tally,
        Notes = Backoff().Notes,
    };

    // ---- What callers did

    public void CreatedByCaller(string id, int attempt, DateTimeOffset createdAt, DateTimeOffset now)
    {
        if (Find(id) is not null)
        {
            return;
        }

        Adopt(new Instance(id, attempt, createdAt) { ChangedAt = now }, now);
    }

    public void CallerCreateFailed(DateTimeOffset now)
    {
        _callerCreatingUntil = null;
        Changed();
        if (State == LineageState.Resting && RestReason == StandDownReason.TakenOverByCaller)
        {
            Retry(now);
        }
        else if (State == LineageState.Undecided)
        {
            Decide(Current!, now);
        }
    }

    public void StartedByCaller(Instance instance, DateTimeOffset startedAt, DateTimeOffset now)
    {
        instance.StartedAt ??= startedAt;
        instance.ChangedAt = now;
        pod.NoteStart(Name);
        if (instance == Current && instance.IsAlive)
        {
            EndStop();
            State = LineageState.Running;
            RestReason = null;
            _due = null;
            RemoveOlderDead(now);
            Probe();
        }

        Changed();
    }

    public void ResourcesUpdated() => _resourcesVersion++;

    // ---- What became of instances

    public void Exited(Instance instance, ContainerExit exit, DateTimeOffset now)
    {
        if (instance is { IsDead: true, Exit: null, IsDecided: true })
        {
            instance.Exit = exit;
            Changed();
            return;
        }

        if (instance.IsDead)
        {
            // Seen dead before anybody told how: this is how. Otherwise a repetition.
            if (instance.Exit is null && !instance.IsDecided)
            {
                instance.Exit = exit;
                DecideOrPass(instance, now);
            }

            return;
        }

        instance.IsDead = true;
        instance.Exit = exit;
        Died(instance, now);
    }

    public void SeenExited(Instance instance, DateTimeOffset now)
    {
        instance.IsEndSeen = true;
        if (instance.IsDead || instance == _replacement)
        {
            return;
        }

        instance.IsDead = true;
        Died(instance, now);
    }

    public void Removed(Instance instance, DateTimeOffset now)
    {
        if (instance.IsRemoved)
        {
            return;
        }

        instance.IsRemoved = true;
        instance.ChangedAt = now;
        Changed();
        if (instance == _completed && !(IsAlive || MayComeBack))
        {
            BeginAnew(now);
        }

        if (instance == _replacement)
        {
            if (_cancel is { } cancelled)
            {
                GiveUpReplacement(cancelled, now);
            }
            else
            {
                Retry(now);
            }
        }
        else if (!instance.IsDecided && instance == Current)
        {
            // Not a death that anybody saw. Whoever removed it had a reason, and a kubelet that misses it creates it.
            instance.IsDead = true;
            StandDownReason reason = pod.WhyNot(Name, IsStoppedByCaller, now) is { } why and not StandDownReason.SpecUnknown ? why
                : IsCallerCreating ? StandDownReason.TakenOverByCaller
                : StandDownReason.RemovedByOthers;
            DecideAgainst(instance, reason, now);
            Rest(reason, now);
        }
        else
        {
            instance.IsDead = true;
        }

        ForgetOldest();
    }

    // ---- What became of our own calls

    public void ReplacementCreated(int attempt, string id, DateTimeOffset createdAt, DateTimeOffset now)
    {
        if (Find(id) is not null)
        {
            return;
        }

        var instance = new Instance(id, attempt, createdAt) { IsOurs = true, IsHidden = true, ChangedAt = now };
        _instances.Add(instance);
        if (!IsCreatingOrUnsure || attempt != _plannedAttempt)
        {
            Remove(instance, RemovalReason.ReplacementNotWanted, now);
            return;
        }

        _replacement = instance;
        if (_cancel is { } reason)
        {
            GiveUpReplacement(reason, now);
        }
        else
        {
            Start(now);
        }
    }

    public void ReplacementStarted(Instance instance, DateTimeOffset startedAt, DateTimeOffset now)
    {
        if (instance != _replacement)
        {
            // Given up while it started. One that a caller was handed is the caller's.
            if (instance is { IsHidden: true, IsRemoved: false })
            {
                Remove(instance, RemovalReason.ReplacementNotWanted, now);
            }

            return;
        }

        Flip(startedAt, now);
    }

    public void ReplacementFailed(int attempt, ReplacementFailure failure, DateTimeOffset now)
    {
        if (State is not (LineageState.Creating or LineageState.Starting or LineageState.Unsure) || attempt != _plannedAttempt)
        {
            return;
        }

        switch (failure)
        {
            case ReplacementFailure.NameReserved:
            case ReplacementFailure.OutcomeUnknown:
                BeUnsure(now);
                break;
            case ReplacementFailure.StillStarting:
                // A list has nothing new to tell yet. Another attempt beside it could be the second that runs.
                State = LineageState.Unsure;
                _unsureSince = now;
                _due = now + LookAgainAfter;
                Changed();
                break;
            case ReplacementFailure.SandboxNotReady:
                GiveUpReplacement(_cancel ?? StandDownReason.SandboxNotReady, now);
                break;
            default:
                if (_isStartRepeated && State == LineageState.Starting)
                {
                    // Refused, perhaps because the first one was carried out after all: a list tells, and nothing live is removed.
                    _isStartRefused = true;
                    BeUnsure(now);
                }
                else if (_cancel is { } reason)
                {
                    GiveUpReplacement(reason, now);
                }
                else
                {
                    DropReplacement(RemovalReason.ReplacementNotStarted, now);
                    Retry(now);
                }

                break;
        }
    }

    public void SlotGranted(DateTimeOffset now)
    {
        // A slot that came too late is lost: the node limit is a protection, not an account.
        if (State == LineageState.AwaitingSlot && !StandDownNow(now))
        {
            Plan();
        }
    }

    public void TimerDue(DateTimeOffset now)
    {
        if (_maskedId is not null && now >= _maskedUntil && !RestIfTooLate(now, now))
        {
            Unmask();
        }

        if (now >= _callerCreatingUntil)
        {
            CallerCreateFailed(now);
        }

        if (now >= _recordDue)
        {
            RecordCompletion();
        }

        DoAftermath(now);

        if (_due is null || now < _due)
        {
            return;
        }

        switch (State)
        {
            case LineageState.BackingOff when !StandDownNow(now):
                AskSlot();
                break;
            case LineageState.Undecided:
                Inspect(Current!, now);
                break;
            case LineageState.Created when !IsCallerCreating && pod.WhyNot(Name, IsStoppedByCaller, now) is null:
                StartForCaller(now);
                break;
            case LineageState.Created:
                _due = now + CallerStartTime;
                break;
            case LineageState.Unsure:
                AskForList(now);
                break;
            default:
                break;
        }
    }

    // ---- What holds for the pod has changed

    /// <param name="isAwaited">Somebody waits for the outcome of what is under way.</param>
    /// <param name="now">The time.</param>
    public void Recheck(bool isAwaited, DateTimeOffset now)
    {
        switch (State)
        {
            case LineageState.Undecided when Current!.Exit is not null:
                Decide(Current, now);
                break;
            case LineageState.Undecided when FinalReason(now) is { } final:
                // Nothing would follow from how it ended.
                DecideAgainst(Current!, final, now);
                Rest(final, now);
                break;
            case LineageState.BackingOff or LineageState.AwaitingSlot:
                _ = StandDownNow(now);
                break;
            case LineageState.Creating or LineageState.Starting or LineageState.Unsure:
                // Whatever else changes, what is under way ends as it began: a half-made replacement helps nobody.
                if (pod.WhyNot(Name, IsStoppedByCaller, now) is { } reason and (StandDownReason.SandboxStopping or StandDownReason.SandboxGone))
                {
                    Cancel(reason, isAwaited, now);
                }

                break;
            case LineageState.Running:
                Probe();
                break;
            default:
                break;
        }

        if (pod.IsSandboxStopping || pod.IsSandboxGone)
        {
            // RUNNING is never shown after StopPodSandbox (rule 9).
            Unmask();
        }
    }

    public void Flush()
    {
        // What is no sidecar needs no record; should a source tell that it is one, all that happened so far is still unwritten.
        if (_isChanged && pod.KindOf(Name) != SidecarKind.None)
        {
            pod.Commands.Add(new WriteRecord { RecordFirst = ToRecord() });
        }
    }

    // ---- Deaths

    private void Died(Instance instance, DateTimeOffset now)
    {
        instance.ChangedAt = now;
        instance.HasServed = IsServing;
        Changed();
        if (instance == _replacement)
        {
            // Its exit came before the reply to its start: it ran.
            Flip(instance.CreatedAt, now);
            if (instance != Current)
            {
                return;
            }
        }

        DecideOrPass(instance, now);
    }

    private void DecideOrPass(Instance instance, DateTimeOffset now)
    {
        if (instance == Current)
        {
            Decide(instance, now);
        }
        else
        {
            DecideAgainst(instance, IsStoppedByCaller ? StandDownReason.StoppedByCaller : StandDownReason.Superseded, now);
            if (Current is { IsAlive: true })
            {
                // It was not dead when the current one came to run: one dead instance stays, and this is the newer one (rule 12).
                RemoveOlderDead(now);
            }
        }
    }

    private void Decide(Instance instance, DateTimeOffset now)
    {
        if (WaitsForRecord())
        {
            if (State != LineageState.Undecided)
            {
                Mask(instance, now);
            }

            State = LineageState.Undecided;
            _due = null;
            return;
        }

        NoteStartup(instance);
        if (IsCallerCreating)
        {
            // Decided by what becomes of that.
            State = LineageState.Undecided;
            _due = null;
            Unmask();
            return;
        }

        StandDownReason? reason = pod.WhyNot(Name, IsStoppedByCaller, now);
        if (instance.Exit is not { } exit)
        {
            State = LineageState.Undecided;
            if (reason is null && (Backoff().FullDelay(DeathCause.ErrorExit, _streak) == TimeSpan.Zero || pod.IsEndFinal(Name, null)))
            {
                Mask(instance, now);
            }

            Inspect(instance, now);
            return;
        }

        if (reason == StandDownReason.SpecUnknown)
        {
            // Decided when a source tells the spec; a kubelet that is there restarts it before.
            State = LineageState.Undecided;
            _due = null;
            Unmask();
            return;
        }

        // Counted from the end, not from when it was noticed; a backend's clock that runs ahead may not add to it, nor one that was set back take away.
        DateTimeOffset began = instance.StartedAt ?? instance.CreatedAt;
        DateTimeOffset ended = exit.FinishedAt < now && exit.FinishedAt >= began ? exit.FinishedAt : now;
        if (!instance.HasFailedToStart && ended - began >= Backoff().ResetAfter)
        {
            _streak = 0;
        }

        TimeSpan delay = Backoff().Delay(exit.Cause, _streak, pod.NextChance());
        DateTimeOffset due = ended + delay < now ? now : ended + delay;
        reason ??= pod.WhyNot(Name, IsStoppedByCaller, due);
        if (reason is null && !IsCompleted && GiveUpRule.Applies(pod.Options.GiveUp, _tally, exit.Cause, now))
        {
            reason = StandDownReason.GivenUp;
        }

        if (reason is { } against)
        {
            DecideAgainst(instance, against, now);
            Rest(against, now);
            return;
        }

        Tell(instance, DecisionKind.Restart, null, due, now);
        _streak++;
        _due = due;
        RestReason = null;
        if (due > now)
        {
            // Waiting is shown as what it is, but where nothing could follow it (rule 3).
            State = LineageState.BackingOff;
            if (pod.IsEndFinal(Name, exit.ExitCode))
            {
                Mask(instance, now);
                _ = RestIfTooLate(due, now);
            }
            else
            {
                Unmask();
            }

            return;
        }

        Mask(instance, now);
        AskSlot();
    }

    private void DecideAgainst(Instance instance, StandDownReason reason, DateTimeOffset now)
    {
        if (!instance.IsDecided)
        {
            DecisionKind kind = reason switch
            {
                StandDownReason.GivenUp => DecisionKind.GiveUp,
                StandDownReason.SuperviseModeObserve => DecisionKind.OnlyObserved,
                _ => DecisionKind.StandDown,
            };
            Tell(instance, kind, reason, null, now);
        }
    }

    private void Tell(Instance instance, DecisionKind kind, StandDownReason? reason, DateTimeOffset? due, DateTimeOffset now)
    {
        instance.IsDecided = true;
        var decision = new RestartDecision
        {
            Lineage = Name,
            ContainerId = instance.Id,
            Attempt = instance.Attempt,
            At = now,
            FinishedAt = instance.Exit?.FinishedAt,
            Cause = instance.Exit?.Cause ?? DeathCause.ErrorExit,
            ExitCode = instance.Exit?.ExitCode,
            Kind = kind,
            Reason = reason,
            Due = due,
            Streak = _streak,
            WhileTerminating = pod.TerminatingSince is not null,
        };
        _tally.Add(decision);
        Changed();
        if (pod.KindOf(Name) != SidecarKind.None)
        {
            pod.Commands.Add(new Explain(decision));
        }
    }

    // ---- Steps of a restart

    private void AskSlot()
    {
        State = LineageState.AwaitingSlot;
        Changed();
        pod.Commands.Add(new AskRestartSlot(Name));
    }

    private void Plan()
    {
        int highest = _highestAttempt;
        foreach (Instance instance in _instances)
        {
            highest = instance.IsRemoved ? highest : Math.Max(highest, instance.Attempt);
        }

        _plannedAttempt = highest + 1;
        _resourcesPlanned = _resourcesVersion;
        _replacement = null;
        _isStartRepeated = false;
        _isStartRefused = false;
        _cancel = null;
        _due = null;
        State = LineageState.Creating;
        pod.Commands.Add(new CreateReplacement(Name, _plannedAttempt) { RecordFirst = ToRecord() });
    }

    private void Start(DateTimeOffset now)
    {
        if (FinalReason(now) is { } reason)
        {
            GiveUpReplacement(reason, now);
            return;
        }

        State = LineageState.Starting;
        _due = null;
        if (_resourcesVersion != _resourcesPlanned)
        {
            _resourcesPlanned = _resourcesVersion;
            pod.Commands.Add(new ApplyResources(Name, _replacement!.Id));
        }

        pod.Commands.Add(new StartReplacement(Name, _plannedAttempt, _replacement!.Id) { RecordFirst = ToRecord() });
    }

    /// <summary>A caller took a restart over, created the next instance, and went away: it is started as if it were ours.</summary>
    private void StartForCaller(DateTimeOffset now)
    {
        Instance instance = Current!;
        instance.IsOurs = true;
        Current = _instances.FindLast(i => i != instance && !i.IsHidden) ?? instance;
        _replacement = instance;
        _plannedAttempt = instance.Attempt;
        _resourcesPlanned = _resourcesVersion;
        _isStartRepeated = true;
        _isStartRefused = false;
        Start(now);
    }

    /// <summary>The replacement runs: callers see the old instance EXITED and the new one RUNNING from one moment to the next (rule 3).</summary>
    private void Flip(DateTimeOffset startedAt, DateTimeOffset now)
    {
        Instance instance = _replacement!;
        instance.StartedAt ??= startedAt;
        instance.ChangedAt = now;
        instance.IsHidden = false;
        Current = instance;
        _replacement = null;
        _cancel = null;
        _due = null;
        _failedTries = 0;
        _highestAttempt = Math.Max(_highestAttempt, instance.Attempt);
        State = LineageState.Running;
        pod.NoteStart(Name);
        Changed();
        Unmask();
        Probe();
        pod.Commands.Add(new ViewChanged(instance.Id));
        if (instance.IsAlive && _resourcesVersion != _resourcesPlanned)
        {
            // They came while it was starting, when calls still went to the instance before.
            _resourcesPlanned = _resourcesVersion;
            pod.Commands.Add(new ApplyResources(Name, instance.Id));
        }

        Conclude(RestartOutcome.Restored, null, now);
        AskForEnds(now);
        RemoveOlderDead(now);
    }

    private void Retry(DateTimeOffset now)
    {
        TimeSpan delay = Backoff().Delay(DeathCause.StartFailed, _failedTries, pod.NextChance());
        _failedTries++;
        _replacement = null;
        _cancel = null;
        _due = now + delay;
        RestReason = null;
        State = LineageState.BackingOff;
        if (!IsEndFinal)
        {
            Unmask();
        }
        else if (RestIfTooLate(_due.Value, now))
        {
            return;
        }

        Changed();
        _ = StandDownNow(now);
    }

    /// <summary>The end of the current instance, once shown, could not be followed by a restart.</summary>
    private bool IsEndFinal => Current is { IsDead: true } ended && pod.IsEndFinal(Name, ended.Exit?.ExitCode);

    /// <summary>
    /// Rule 3: where the end is final it is restarted while its end can still be kept from being shown, or not at all.
    /// </summary>
    private bool RestIfTooLate(DateTimeOffset due, DateTimeOffset now)
    {
        if (!IsEndFinal || (_maskedId == Current!.Id && due + RestartTime <= _maskedUntil))
        {
            return false;
        }

        if (IsBusy)
        {
            Cancel(StandDownReason.EndIsFinal, isAwaited: false, now);
        }
        else
        {
            DecideAgainst(Current!, StandDownReason.EndIsFinal, now);
            Rest(StandDownReason.EndIsFinal, now);
        }

        return true;
    }

    private void BeUnsure(DateTimeOffset now)
    {
        State = LineageState.Unsure;
        _unsureSince = now;
        Changed();
        AskForList(now);
    }

    private void AskForList(DateTimeOffset now)
    {
        _due = now + AskAgainAfter;
        pod.Commands.Add(new RelistSandbox());
    }

    private void Inspect(Instance instance, DateTimeOffset now)
    {
        _due = now + AskAgainAfter;
        pod.Commands.Add(new InspectInstance(Name, instance.Id));
    }

    // ---- Ways out

    private bool StandDownNow(DateTimeOffset now)
    {
        DateTimeOffset startAt = _due > now ? _due.Value : now;
        if (pod.WhyNot(Name, IsStoppedByCaller, startAt, isDecided: true) is not { } reason)
        {
            return false;
        }

        Rest(reason, now);
        return true;
    }

    /// <summary>A reason that ends even a replacement under way, as a change of mode does not.</summary>
    private StandDownReason? FinalReason(DateTimeOffset now) => pod.WhyNot(Name, IsStoppedByCaller, now, isDecided: true) is { } reason
        and (StandDownReason.SandboxGone or StandDownReason.SandboxStopping or StandDownReason.SandboxNotReady
            or StandDownReason.StoppedByCaller or StandDownReason.NoGraceLeft)
        ? reason : null;

    private void Rest(StandDownReason reason, DateTimeOffset now)
    {
        if (State == LineageState.AwaitingSlot)
        {
            pod.Commands.Add(new CancelRestartSlot(Name));
        }

        State = LineageState.Resting;
        RestReason = reason;
        _replacement = null;
        _cancel = null;
        _due = null;
        Unmask();
        Changed();
        Conclude(RestartOutcome.Cancelled, reason, now);
    }

    /// <summary>A step under way is not wanted any more.</summary>
    private void Cancel(StandDownReason reason, bool isAwaited, DateTimeOffset now)
    {
        Unmask();
        if (isAwaited)
        {
            _isChanged |= _cancel != reason;
            _cancel = reason;
        }
        else
        {
            if (_replacement is null)
            {
                _abandonedAttempt = _plannedAttempt;
            }

            GiveUpReplacement(reason, now);
        }
    }

    private void GiveUpReplacement(StandDownReason reason, DateTimeOffset now)
    {
        DropReplacement(RemovalReason.ReplacementNotWanted, now);
        if (reason == StandDownReason.TakenOverByCaller)
        {
            // The caller asks again at once. If it does not, it is gone, and the sidecar is ours again.
            _callerCreatingUntil = now + CallerCreateTime;
            _callerAttempt = null;
        }

        Rest(reason, now);
    }

    private void DropReplacement(RemovalReason reason, DateTimeOffset now)
    {
        if (_replacement is { IsRemoved: false } instance && (instance.IsHidden || reason == RemovalReason.ReplacementNotWanted))
        {
            instance.IsHidden = true;
            Remove(instance, reason, now);
        }

        _replacement = null;
    }

    private void Remove(Instance instance, RemovalReason reason, DateTimeOffset now)
    {
        instance.RemovalAskedAt = now;
        Changed();
        pod.Commands.Add(new RemoveInstance(Name, instance.Id, reason));
    }

    // Only where the shim made instances: what a kubelet leaves is its own to collect.
    private void RemoveOlderDead(DateTimeOffset now)
    {
        if (!_instances.Exists(i => i is { IsOurs: true, IsHidden: false }))
        {
            return;
        }

        bool isNewest = true;
        for (int i = _instances.Count - 1; i >= 0; i--)
        {
            Instance instance = _instances[i];
            if (instance is { IsDead: true, IsRemoved: false, IsHidden: false, CompletedAt: null } && instance != Current)
            {
                if (!isNewest && instance.RemovalAskedAt is null)
                {
                    Remove(instance, RemovalReason.OlderDeadInstance, now);
                }

                isNewest = false;
            }
        }
    }

    /// <summary>A caller's instance becomes the current one.</summary>
    private void Adopt(Instance instance, DateTimeOffset now)
    {
        if (IsBusy)
        {
            Cancel(StandDownReason.TakenOverByCaller, isAwaited: false, now);
        }

        if (Current is { IsDead: true, IsDecided: false } undecided)
        {
            DecideAgainst(undecided, StandDownReason.TakenOverByCaller, now);
        }

        bool isRestart = State is LineageState.BackingOff or LineageState.AwaitingSlot
            || (State == LineageState.Resting && RestReason == StandDownReason.TakenOverByCaller);
        if (isRestart || State == LineageState.Resting)
        {
            Rest(StandDownReason.TakenOverByCaller, now);
        }

        BeginAnew(now);
        _instances.Add(instance);

        // The backend holds one of a name and attempt, and this is a caller's.
        _abandonedAttempt = _abandonedAttempt == instance.Attempt ? null : _abandonedAttempt;
        Current = instance;
        _highestAttempt = Math.Max(_highestAttempt, instance.Attempt);
        _failedTries = 0;
        _due = isRestart ? now + CallerStartTime : null;
        _callerCreatingUntil = null;
        RestReason = null;
        State = LineageState.Created;
        Unmask();
        Changed();
    }

    private void EndStop() => IsStoppedByCaller = false;

    private void Mask(Instance instance, DateTimeOffset now)
    {
        if (_maskedId != instance.Id)
        {
            _maskedId = instance.Id;
            _maskedUntil = now + pod.Options.ShownRunningFor;
        }
    }

    private void Unmask()
    {
        if (_maskedId is { } id)
        {
            _maskedId = null;
            pod.Commands.Add(new ViewChanged(id));
        }
    }

    private void Conclude(RestartOutcome outcome, StandDownReason? reason, DateTimeOffset now)
    {
        if (_tally.Conclude(outcome, now, reason) is { } decision)
        {
            pod.Commands.Add(new Explain(decision));
        }
    }

    private RestartBackoff Backoff()
    {
        RestartRequest? request = pod.Annotation.Find(Name)?.Restart;
        if (_backoff is null || _backoffRequest != request)
        {
            _backoffRequest = request;
            _backoff = new RestartBackoff(pod.Options, request);
        }

        return _backoff;
    }

    private void ForgetOldest()
    {
        if (_instances.Count(i => i.IsRemoved) > MaxRemovedKept)
        {
            _ = _instances.Remove(_instances.First(i => i.IsRemoved && i != Current && i != _completed));
        }
    }

    private void Changed() => _isChanged = true;
}
