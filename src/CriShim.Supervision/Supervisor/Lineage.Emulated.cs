using CriShim.Supervision.Pods;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <content>
/// What is special about emulated sidecars: init containers to the kubelet, which starts one, waits until it has completed, and never
/// looks after it again.
/// </content>
/// <remarks>
/// <code>
///   started ── startup probe passes ──▶ recorded ──▶ shown EXITED/0/Completed ── for good ──▶ a caller removes it, or creates it anew
///      │  ▲                                │ not written: tried again, and shown as it is
///      │  └── restarted (the usual way) ◀──┴── dies, or the probe fails too often and it is stopped: no success, whatever its code
///      └── restartPolicy Never: shown failed, and so the pod fails
/// </code>
/// The instance that is shown completed stays with its id and that time, dead or alive: it is kept in the backend, for it is what lists
/// and statuses are made from. What comes after it is hidden, and stands for it wherever its id is used (rules 4 and 14).
/// </remarks>
internal sealed partial class Lineage
{
    /// <summary>Until a record that could not be written is tried again: a full disk.</summary>
    private static readonly TimeSpan RecordAgainAfter = TimeSpan.FromSeconds(1);

    private Instance? _completed;
    private DateTimeOffset? _recordDue;
    private string? _failedStartup;
    private bool _isUnrecorded;

    /// <summary>Callers are told that it has completed; whatever it does is hidden behind that.</summary>
    public bool IsCompleted => _completed is { IsCompletionShown: true };

    /// <summary>It runs, or will, behind an instance that is shown completed: no caller ever stops it.</summary>
    public bool RunsBehind => IsCompleted && (IsAlive || MayComeBack);

    /// <summary>The instance that is shown completed, and is there.</summary>
    public Instance? Completed => IsCompleted ? _completed : null;

    /// <summary>It was ended because the pod seemed to end, which nobody had asked for by its name.</summary>
    public bool IsEndedUnasked { get; set; }

    /// <summary>That the instance has started would have it shown completed.</summary>
    private bool AwaitsStartup => State == LineageState.Running && Current is { IsAlive: true, CompletedAt: null } && _completed is null
        && pod is { IsSupervised: true, IsSandboxStopping: false, IsSandboxGone: false, IsSandboxReady: true, TerminatingSince: null }
        && !IsStoppedByCaller && pod.IsEmulated(Name);

    /// <summary>Whether it is still of interest if this instance has started.</summary>
    public bool IsProbeWanted(string id) => Current is { IsAlive: true } current && current.Id == id && (IsGating || AwaitsStartup);

    /// <summary>What a shown completion says; null where none is shown of this instance.</summary>
    public (DateTimeOffset At, int Attempt)? CompletionOf(Instance instance) => instance is { CompletedAt: { } at, IsCompletionShown: true }
        ? (at, instance == _completed && Current is { IsRemoved: false } current ? current.Attempt : instance.Attempt)
        : null;

    public void StartupPassed(Instance instance, DateTimeOffset now)
    {
        if (AwaitsStartup && instance == Current)
        {
            Complete(instance, instance.StartedAt > now ? instance.StartedAt.Value : now);
        }
    }

    /// <summary>It is stopped as the kubelet would stop it, and its death then is what it is.</summary>
    public void StartupFailed(Instance instance)
    {
        if (AwaitsStartup && instance == Current && _failedStartup != instance.Id && pod.RestartPolicy is not null)
        {
            _failedStartup = instance.Id;
            pod.Commands.Add(new StopInstance(Name, instance.Id, pod.Grace) { HasFailedToStart = true });
        }
    }

    /// <summary>The answer to a stop: one for a failed startup that came to nothing begins with the probe again.</summary>
    public void StopAnswered(string id, bool isDone)
    {
        if (_failedStartup == id)
        {
            _failedStartup = null;
            if (!isDone)
            {
                _probed = null;
                Probe();
            }
        }
    }

    public void CompletionRecorded(bool isWritten, DateTimeOffset now)
    {
        if (_completed is not { IsCompletionShown: false } instance)
        {
            return;
        }

        if (isWritten)
        {
            ShowCompletion(instance);
            DecideWhatWaited(now);
        }
        else if (instance.IsAlive || IsBusy)
        {
            _recordDue = now + RecordAgainAfter;
        }
        else
        {
            // It has died, and callers have not been told anything else: then it had not started.
            Uncomplete();
            DecideWhatWaited(now);
        }
    }

    /// <summary>
    /// Rule 21: it was met without a record, and what follows it was created at this time: so callers were told that it had completed.
    /// </summary>
    public bool CountAsCompleted(DateTimeOffset followedAt)
    {
        if (!_isUnrecorded || _completed is not null || _instances.FindLast(i => !i.IsRemoved && i.CreatedAt < followedAt) is not { } instance)
        {
            return false;
        }

        foreach (Instance later in _instances.Where(i => i.CreatedAt > instance.CreatedAt))
        {
            later.IsOurs = true;
        }

        _isUnrecorded = false;
        instance.CompletedAt = followedAt;
        instance.HasFailedToStart = false;
        _completed = instance;
        ShowCompletion(instance);
        return true;
    }

    /// <summary>When the first of its instances was created; null when none is there.</summary>
    public DateTimeOffset? FirstCreatedAt => _instances.Find(i => !i.IsRemoved)?.CreatedAt;

    /// <summary>A caller removes the instance that is shown completed, and nothing runs behind it: all that was hidden goes with it.</summary>
    public void RemoveHidden(DateTimeOffset now)
    {
        Current = _completed;
        foreach (Instance instance in _instances.Where(i => i != _completed && IsBehind(i) && i is { IsRemoved: false, RemovalAskedAt: null }).ToArray())
        {
            instance.IsHidden = true;
            Remove(instance, RemovalReason.CompletedRemoved, now);
        }
    }

    /// <summary>The pod goes on after all: what was ended for its end runs again.</summary>
    public void Reclaim(DateTimeOffset now)
    {
        IsEndedUnasked = false;
        EndStop();
        Changed();
        if (State == LineageState.Resting && Current is { IsDead: true })
        {
            RestReason = null;
            State = LineageState.BackingOff;
            _due = now;
            _ = StandDownNow(now);
        }
    }

    /// <summary>A later instance of one that is shown completed, and that no caller was given.</summary>
    private bool IsBehind(Instance instance) => IsCompleted && instance != _completed && _instances.IndexOf(instance) > _instances.IndexOf(_completed!);

    private bool IsBehind(int attempt) => IsCompleted && attempt > _completed!.Attempt && !(IsCallerCreating && attempt == _callerAttempt);

    private void Complete(Instance instance, DateTimeOffset at)
    {
        instance.CompletedAt = at;
        _completed = instance;
        RecordCompletion();
    }

    private void RecordCompletion()
    {
        _recordDue = null;
        pod.Commands.Add(new RecordCompletion(Name) { RecordFirst = ToRecord() });
    }

    private void ShowCompletion(Instance instance)
    {
        instance.IsCompletionShown = true;
        _recordDue = null;
        _ = pod.Completed.Add(Name);
        Unmask();
        Changed();
        pod.Commands.Add(new CompletionShown(Name, instance.Id));
        pod.Commands.Add(new ViewChanged(instance.Id));
    }

    /// <summary>The lineage is what its newest instance is again. One that was shown completed stays so.</summary>
    private void Uncomplete()
    {
        if (_completed is { IsCompletionShown: false } instance)
        {
            instance.CompletedAt = null;
        }

        _recordDue = null;
        _completed = null;
        _ = pod.Completed.Remove(Name);
        Changed();
    }

    /// <summary>A death before it had started, which may be told before the answer to its StartContainer is.</summary>
    private void NoteStartup(Instance instance)
    {
        if (_completed is null && pod.RestartPolicy is not null && pod.IsEmulated(Name) && !IsStoppedByCaller
            && pod is { IsSupervised: true, IsSandboxReady: true, IsSandboxStopping: false, IsSandboxGone: false, TerminatingSince: null })
        {
            instance.HasFailedToStart = true;
            Changed();
        }
    }

    /// <summary>A caller creates what it was told has completed.</summary>
    private (Verdict Verdict, string? Ours, IReadOnlyList<string> RemoveFirst)? ArbitrateCreateAnew(int attempt, bool equalsOurs, DateTimeOffset now)
    {
        if (!IsCompleted || Live is not { } live || IsBusy)
        {
            return null;
        }

        if (equalsOurs && !IsStoppedByCaller)
        {
            // It runs, and has started: the caller sees at once that its new container has completed.
            string id = HandOver(live, now);
            return (Verdict.Answer, id, []);
        }

        (Verdict forward, _, IReadOnlyList<string> leftovers) = LetCreate(attempt, now);
        return (forward, null, [.. leftovers, live.Id]);
    }

    /// <summary>What a caller was handed is what is shown completed from now on.</summary>
    private void PassCompletionOn(Instance instance, DateTimeOffset now)
    {
        if (!IsCompleted || instance == _completed)
        {
            return;
        }

        // Between the two nothing may come to light.
        foreach (Instance behind in _instances.Where(i => i != instance && IsBehind(i) && i is { IsDead: true, IsRemoved: false, RemovalAskedAt: null }).ToArray())
        {
            behind.IsHidden = true;
            Remove(behind, RemovalReason.CompletedRemoved, now);
        }

        Complete(instance, instance.StartedAt > now ? instance.StartedAt.Value : now);
    }

    /// <summary>A death is decided by whether callers are told that it completed before.</summary>
    private bool WaitsForRecord()
    {
        if (_completed is not { IsCompletionShown: false } || Current != _completed)
        {
            return false;
        }

        if (_recordDue is null && pod is { IsSandboxReady: true, IsSandboxStopping: false, IsSandboxGone: false })
        {
            return true;
        }

        // It could not be recorded in its life, or its sandbox has ended: callers were not told, and never will be.
        Uncomplete();
        return false;
    }

    private void DecideWhatWaited(DateTimeOffset now)
    {
        if (State == LineageState.Undecided && Current is { IsDead: true } ended)
        {
            Decide(ended, now);
        }
    }

    /// <summary>A caller's own instance is there: nothing of the completed one is left to stand for it.</summary>
    private void BeginAnew(DateTimeOffset now)
    {
        if (_completed is null)
        {
            return;
        }

        foreach (Instance behind in _instances.Where(i => IsBehind(i) && i is { IsRemoved: false, RemovalAskedAt: null }).ToArray())
        {
            behind.IsHidden = true;
            Remove(behind, RemovalReason.CompletedRemoved, now);
        }

        Uncomplete();
    }
}
