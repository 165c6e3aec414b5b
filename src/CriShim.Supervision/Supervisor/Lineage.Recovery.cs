using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <content>
/// What a list tells, after a gap in the events or after a crash. Assumptions:
/// 1. An intent is written before the call it describes is made; so a container of ours is in a record, or its attempt is.
/// 2. The backend holds at most one container of a name and attempt: a create that was lost on the way can be repeated with the same
///    attempt, and is refused if it was carried out after all.
/// 3. Every caller's call goes through the shim; so while the shim is down nobody creates, and an unknown container with a planned
///    attempt is ours.
/// 4. A list may be older than what was told while it was under way, so it is believed about an instance only if it was asked for after
///    that instance changed last. What is dead stays dead, whatever a list says.
/// 5. A container that is first seen dead may have been stopped on purpose: without a record no restart is invented.
/// </content>
internal sealed partial class Lineage
{
    public LineageRecord ToRecord()
    {
        _isChanged = false;
        (LineageIntent intent, int? attempt, string? id) = Intent();
        return new LineageRecord
        {
            SandboxId = pod.SandboxId,
            Name = Name,
            Intent = intent,
            IntendedAttempt = attempt,
            IntendedId = id,
            AbandonedAttempt = Abandoned(),
            Due = intent is LineageIntent.Waiting ? _due : null,
            RestReason = State == LineageState.Resting ? RestReason : _cancel == StandDownReason.TakenOverByCaller ? null : _cancel,
            IsStoppedByCaller = IsStoppedByCaller,
            IsCallerCreating = IsCallerCreating,
            CurrentId = Current?.Id,
            CompletedId = _completed?.Id,
            HighestAttempt = _highestAttempt,
            IsGateOpen = IsGateOpen,
            Streak = _streak,
            FailedTries = _failedTries,
            Instances = [.. _instances.Select(i => i.ToRecord())],
            Deaths = [.. _tally.Deaths],
            TotalDeaths = _tally.Total,
        };
    }

    public void Restore(LineageRecord record, DateTimeOffset now)
    {
        _instances.AddRange(record.Instances.Select(Instance.From));
        _tally = new DeathTally(record.Deaths, record.TotalDeaths);
        Current = record.CurrentId is null ? null : Find(record.CurrentId);
        _highestAttempt = record.HighestAttempt;
        _completed = record.CompletedId is not null && Find(record.CompletedId) is { CompletedAt: not null } completed ? completed : null;
        if (_completed is not null)
        {
            _ = pod.Completed.Add(Name);
        }

        IsGateOpen = record.IsGateOpen;
        _streak = record.Streak;
        _failedTries = record.FailedTries;
        _abandonedAttempt = record.AbandonedAttempt;
        IsStoppedByCaller = record.IsStoppedByCaller;
        _callerCreatingUntil = record.IsCallerCreating ? now : null;
        _unsureSince = DateTimeOffset.MinValue;

        // Whoever made these values known is gone; the merge into a replacement under way is repeated to be safe.
        _resourcesVersion = 1;
        switch (record.Intent)
        {
            case LineageIntent.Planned or LineageIntent.CallerCreating when record.IntendedAttempt is { } attempt:
                // A caller's connection ended with the shim: what its create made is as good as ours.
                _plannedAttempt = attempt;
                State = LineageState.Unsure;
                break;
            case LineageIntent.Created when record.IntendedId is { } id && Find(id) is { IsRemoved: false } replacement:
                _plannedAttempt = replacement.Attempt;
                _replacement = replacement;
                State = LineageState.Unsure;
                break;
            case LineageIntent.Waiting or LineageIntent.CallerCreating:
                // A clock that was set back while the shim was down may not make it wait longer than it ever would.
                _due = record.Due is { } due && due - now <= LongestWait() ? due : now;
                State = LineageState.BackingOff;
                break;
            default:
                RestReason = record.RestReason;
                State = Current switch
                {
                    null => LineageState.Absent,
                    { IsDead: true } => LineageState.Resting,
                    { StartedAt: null } => LineageState.Created,
                    _ => LineageState.Running,
                };
                break;
        }
    }

    private TimeSpan LongestWait()
    {
        TimeSpan afterDeath = Backoff().FullDelay(_tally.Deaths is [.., var last] ? last.Cause : DeathCause.ErrorExit, _streak);
        TimeSpan afterFailure = Backoff().FullDelay(DeathCause.StartFailed, _failedTries);
        return afterDeath > afterFailure ? afterDeath : afterFailure;
    }

    /// <summary>After the first list of a rebuilt pod: what only the crash left open.</summary>
    public void Settle(DateTimeOffset now)
    {
        if (IsEndFinal && (IsBusy || State is LineageState.BackingOff or LineageState.AwaitingSlot))
        {
            // Nothing was shown while the shim was down, and had its end been shown before, it would rest.
            Mask(Current!, now);
        }

        if (IsCompleted && !IsStoppedByCaller && State == LineageState.Resting && RestReason is StandDownReason.SuperviseModeOff or StandDownReason.SuperviseModeObserve
            or StandDownReason.SuperviseAnnotationOff)
        {
            // Nobody else restarts it: to the kubelet it has completed.
            Reclaim(now);
        }

        Probe();
        if (IsCallerCreating)
        {
            // The caller's connection ended with the shim.
            CallerCreateFailed(now);
        }

        if (State == LineageState.Created && _instances.Count > 1)
        {
            // Its caller was cut off between create and start.
            _due = now + CallerStartTime;
        }

        foreach (Instance instance in _instances.Where(i => i is { IsHidden: true, IsRemoved: false } && i != _replacement).ToArray())
        {
            if (instance.RemovalAskedAt is null)
            {
                Remove(instance, RemovalReason.ReplacementNotWanted, now);
            }
        }

        RemoveOlderDead(now);
    }

    public void Relisted(IReadOnlyList<SeenContainer> containers, DateTimeOffset askedAt, DateTimeOffset now)
    {
        // What is new comes first: a caller's newer instance changes what the death of an older one means.
        SeenContainer[] known = [.. containers.Where(c => Find(c.Id) is not null)];
        foreach (SeenContainer seen in containers.Where(c => Find(c.Id) is null).OrderBy(c => c.CreatedAt).ThenBy(c => c.Attempt))
        {
            Meet(seen, askedAt, now);
        }

        foreach (SeenContainer seen in known)
        {
            Compare(Find(seen.Id)!, seen, askedAt, now);
        }

        foreach (Instance instance in _instances.Where(i => !i.IsRemoved && i.ChangedAt < askedAt).ToArray())
        {
            // Of one that is just being started the reply will tell.
            bool isStarting = instance == _replacement && State == LineageState.Starting;
            if (!isStarting && !containers.Any(c => c.Id == instance.Id))
            {
                Removed(instance, now);
            }
        }

        if (State == LineageState.Unsure && _replacement is null && askedAt >= _unsureSince)
        {
            // Nothing was made, or it is made yet: then it is not to be seen.
            _abandonedAttempt = _plannedAttempt;
            if (_cancel is { } reason)
            {
                GiveUpReplacement(reason, now);
            }
            else
            {
                Retry(now);
            }
        }
    }

    private (LineageIntent Intent, int? Attempt, string? Id) Intent() => State switch
    {
        _ when _cancel is not (null or StandDownReason.TakenOverByCaller) => (LineageIntent.None, null, null),
        LineageState.BackingOff or LineageState.AwaitingSlot => (LineageIntent.Waiting, null, null),
        LineageState.Creating or LineageState.Starting or LineageState.Unsure when _replacement is null
            => (LineageIntent.Planned, _plannedAttempt, null),
        LineageState.Creating or LineageState.Starting or LineageState.Unsure
            => (LineageIntent.Created, _plannedAttempt, _replacement.Id),
        LineageState.Resting when IsCallerCreating && RestReason == StandDownReason.TakenOverByCaller
            => (LineageIntent.CallerCreating, _callerAttempt, null),
        _ => (LineageIntent.None, null, null),
    };

    // Once the shim is gone, a create under way has nobody who waits for it: a cancelled one of ours, or a sidecar's by its kubelet.
    // (One that waits to take ours over is gone then, and ours goes on.)
    private int? Abandoned() => IsCreatingOrUnsure && _cancel is not (null or StandDownReason.TakenOverByCaller) ? _plannedAttempt
        : IsCallerCreating && pod.KindOf(Name) == SidecarKind.Native ? _callerAttempt ?? _abandonedAttempt
        : _abandonedAttempt;

    /// <summary>A container that nobody told of.</summary>
    private void Meet(SeenContainer seen, DateTimeOffset askedAt, DateTimeOffset now)
    {
        if (IsCreatingOrUnsure && seen.Attempt == _plannedAttempt)
        {
            if (State == LineageState.Unsure && askedAt >= _unsureSince)
            {
                _replacement = new Instance(seen.Id, seen.Attempt, seen.CreatedAt) { IsOurs = true, IsHidden = true, ChangedAt = askedAt };
                _instances.Add(_replacement);
                Resolve(seen, now);
            }

            return;
        }

        if (IsCallerCreating && seen.Attempt == _callerAttempt && seen.State == BackendState.Created)
        {
            // The caller's, or one of ours that was late: the reply will tell.
            return;
        }

        bool isDead = seen.State == BackendState.Exited;
        if (IsAbandoned(seen.Attempt) && seen.State == BackendState.Created)
        {
            // Also to an older list, which may come later, it is news.
            var leftover = new Instance(seen.Id, seen.Attempt, seen.CreatedAt) { IsOurs = true, IsHidden = true, ChangedAt = askedAt };
            _instances.Add(leftover);
            Remove(leftover, RemovalReason.ReplacementNotWanted, now);
            return;
        }

        _isUnrecorded |= _instances.Count == 0;
        var instance = new Instance(seen.Id, seen.Attempt, seen.CreatedAt) { IsDead = isDead, IsEndSeen = isDead, Exit = seen.Exit, ChangedAt = askedAt };
        if (Current is not null && (seen.CreatedAt < Current.CreatedAt || seen.Attempt < Current.Attempt))
        {
            instance.IsDecided = isDead;
            int newer = _instances.FindIndex(i => i.CreatedAt > seen.CreatedAt);
            _instances.Insert(newer < 0 ? _instances.Count : newer, instance);
            Changed();
            return;
        }

        Adopt(instance, now);
        if (isDead)
        {
            pod.NoteStart(Name);
            DecideAgainst(instance, StandDownReason.NoRecord, now);
            Rest(StandDownReason.NoRecord, now);
        }
        else if (seen.State != BackendState.Created)
        {
            StartedByCaller(instance, seen.StartedAt ?? seen.CreatedAt, now);
        }
    }

    private void Compare(Instance instance, SeenContainer seen, DateTimeOffset askedAt, DateTimeOffset now)
    {
        // That one has ended is never old news.
        instance.IsEndSeen |= seen.State == BackendState.Exited;
        if (instance.IsRemoved || instance.ChangedAt >= askedAt)
        {
            return;
        }

        if (instance == _replacement)
        {
            if (State == LineageState.Unsure && askedAt >= _unsureSince)
            {
                Resolve(seen, now);
            }

            return;
        }

        if (instance.RemovalAskedAt < askedAt && instance.RemovalDue is null)
        {
            Remove(instance, instance.IsHidden ? RemovalReason.ReplacementNotWanted : RemovalReason.OlderDeadInstance, now);
        }

        switch (seen.State)
        {
            case BackendState.Exited when seen.Exit is { } exit:
                Exited(instance, exit, now);
                break;
            case BackendState.Exited:
                SeenExited(instance, now);
                break;
            case BackendState.Running when instance is { IsAlive: true, RemovalAskedAt: null } && (instance.IsHidden || Current is { IsDead: true }):
                // It started while a caller waited to stop or replace it, and the shim went down before it could be told.
                _replacement = instance;
                Flip(seen.StartedAt ?? seen.CreatedAt, now);
                break;
            case BackendState.Running when instance == Current && State == LineageState.Created:
                StartedByCaller(instance, seen.StartedAt ?? seen.CreatedAt, now);
                break;
            default:
                break;
        }
    }

    /// <summary>What became of a replacement whose last call had no clear outcome.</summary>
    private void Resolve(SeenContainer seen, DateTimeOffset now)
    {
        switch (seen.State)
        {
            case BackendState.Created when _cancel is { } reason:
                GiveUpReplacement(reason, now);
                break;
            case BackendState.Created when _isStartRefused:
                DropReplacement(RemovalReason.ReplacementNotStarted, now);
                Retry(now);
                break;
            case BackendState.Created:
                _isStartRepeated = true;
                Start(now);
                break;
            case BackendState.Running:
                Flip(seen.StartedAt ?? seen.CreatedAt, now);
                break;
            case BackendState.Exited:
                _replacement!.IsDead = true;
                _replacement.Exit = seen.Exit;
                Died(_replacement, now);
                break;
            default:
                // The backend cannot tell, and it may run: the next list is asked for when it is due.
                break;
        }
    }
}
