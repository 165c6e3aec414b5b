using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Supervisor;

/// <content>What to do with callers' calls.</content>
internal sealed partial class Lineage
{
    /// <summary>Rule 6: a kubelet's create is always honoured, with our instance where that equals what it asks for.</summary>
    public (Verdict Verdict, string? Ours, IReadOnlyList<string> RemoveFirst) ArbitrateCreate(int attempt, bool equalsOurs, bool mayWait, DateTimeOffset now)
    {
        if (ArbitrateCreateAnew(attempt, equalsOurs, now) is { } anew)
        {
            return anew;
        }

        switch (State)
        {
            case LineageState.Creating or LineageState.Unsure when _replacement is null:
                if (mayWait)
                {
                    if (!equalsOurs)
                    {
                        Cancel(StandDownReason.TakenOverByCaller, isAwaited: true, now);
                    }

                    return (Verdict.Wait, null, []);
                }

                Cancel(StandDownReason.TakenOverByCaller, isAwaited: false, now);
                return LetCreate(attempt, now);

            case LineageState.Starting or LineageState.Unsure:
                if (equalsOurs && _cancel is null)
                {
                    return (Verdict.Answer, HandOver(_replacement!, now), []);
                }

                // The backend does not remove what it is starting.
                if (mayWait)
                {
                    Cancel(StandDownReason.TakenOverByCaller, isAwaited: true, now);
                    return (Verdict.Wait, null, []);
                }

                Cancel(StandDownReason.TakenOverByCaller, isAwaited: false, now);
                return LetCreate(attempt, now);

            case LineageState.Running when Current is { IsOurs: true, IsAlive: true } ours && (!IsStoppedByCaller || attempt <= ours.Attempt):
                // The caller decided by what it saw before our replacement ran. One that it stopped is about to be told dead, and is left
                // as the kubelet's last state, unless it has the very attempt that is wanted.
                if (equalsOurs && !IsStoppedByCaller)
                {
                    return (Verdict.Answer, HandOver(ours, now), []);
                }

                (Verdict forward, _, IReadOnlyList<string> leftovers) = LetCreate(attempt, now);
                return (forward, null, [.. leftovers, ours.Id]);

            default:
                return LetCreate(attempt, now);
        }
    }

    public Verdict ArbitrateStart(Instance instance)
    {
        if (instance is { StartedAt: not null, IsRemoved: false } && (instance.IsOurs || instance == _completed) && (instance.IsAlive || !IsStoppedByCaller))
        {
            // The caller was handed it, and it was started (rule 6). Should it have died since, its status tells, as after any start;
            // the backend would refuse a second one, and the caller take that for a failure.
            if (instance == Current)
            {
                EndStop();
                Changed();
            }

            return Verdict.Answer;
        }

        if (instance == _replacement)
        {
            return Verdict.Wait;
        }

        // Rule 5: from here on it is ours again. One that has ended the backend refuses to start.
        if (instance is { IsDead: false } && instance == Current)
        {
            EndStop();
            Changed();
        }

        return Verdict.Forward;
    }

    /// <summary>Rule 5: the kubelet stops it, so it is the kubelet's.</summary>
    public (Verdict Verdict, string Target) ArbitrateStop(string id, bool mayWait, DateTimeOffset now)
    {
        IsStoppedByCaller = true;
        Changed();
        switch (State)
        {
            case LineageState.BackingOff or LineageState.AwaitingSlot:
                Rest(StandDownReason.StoppedByCaller, now);
                break;
            case LineageState.Undecided when Current!.Exit is not null:
                Decide(Current, now);
                break;
            case LineageState.Creating or LineageState.Starting or LineageState.Unsure:
                Cancel(StandDownReason.StoppedByCaller, mayWait, now);
                if (mayWait)
                {
                    return (Verdict.Wait, id);
                }

                break;
            case LineageState.Resting when RestReason == StandDownReason.TakenOverByCaller:
                // Should the caller's create fail, it stays stopped.
                RestReason = StandDownReason.StoppedByCaller;
                break;
            default:
                break;
        }

        Unmask();
        return (Verdict.Forward, Current?.Id ?? id);
    }

    /// <summary>
    /// RemoveContainer goes to the instance itself: a kubelet collects dead attempts while the current one runs. Only where the id shows
    /// RUNNING does it mean the lineage, and ends it as a stop would (rule 4).
    /// </summary>
    public void ArbitrateRemove(Instance instance, DateTimeOffset now)
    {
        if (instance == _replacement || (instance == Current && (instance.IsAlive || _maskedId == instance.Id)))
        {
            _ = ArbitrateStop(instance.Id, mayWait: false, now);
        }
    }

    private (Verdict Verdict, string? Ours, IReadOnlyList<string> RemoveFirst) LetCreate(int attempt, DateTimeOffset now)
    {
        if (Current is not null)
        {
            _callerCreatingUntil = now + CallerCreateTime;
            _callerAttempt = attempt;
            Changed();
        }

        if (State is LineageState.BackingOff or LineageState.AwaitingSlot)
        {
            // The decision to restart stands until the caller's create succeeds: should it fail, we go on.
            Rest(StandDownReason.TakenOverByCaller, now);
        }

        return (Verdict.Forward, null, [.. _instances.Where(i => i is { IsHidden: true, IsRemoved: false }).Select(i => i.Id)]);
    }

    private string HandOver(Instance instance, DateTimeOffset now)
    {
        _highestAttempt = Math.Max(_highestAttempt, instance.Attempt);
        if (instance.IsHidden)
        {
            // The caller knows its id from now on, and has created it by all it knows.
            instance.IsHidden = false;
            pod.Commands.Add(new ViewChanged(instance.Id));
            Unmask();
        }

        PassCompletionOn(instance, now);
        Changed();
        return instance.Id;
    }
}
