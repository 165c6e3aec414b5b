using CriShim.Supervision.Pods;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Teardown;

/// <summary>The order in which the containers of one pod end: mains together, then sidecars in reverse order of their first start.</summary>
/// <remarks>
/// <para>Every stop goes through the same stages, whoever asked for it:</para>
/// <code>
///   StopContainer by a caller ──┬─ a main, a short time-out, or nothing runs that must end before ──▶ Forwarded ──┐
///                               └─ otherwise ─▶ Held ──┐                                                           ├──▶ over, once nothing runs
///   StopPodSandbox, drain ─────── every container ──▶ Held ─┴─ its turn has come ──▶ Ending (hook, signal, SIGKILL) ──┘
/// </code>
/// <para>
/// A turn has come when nothing runs that ends before. What a caller asked of a sidecar alone (a liveness failure, a changed spec) looks
/// at first like one of many: it is held until the siblings' stops prove otherwise, and for a moment at most if they do not come. What
/// proves that the pod ends: its deletion, the end of its sandbox, or a stop or a preStop hook under way in everything that ends before.
/// </para>
/// <para>
/// The stop of a container whose turn has come is ours, not the caller's: containerd sends the stop signal once, and does not kill when
/// the call ends early. So a caller that vanishes changes nothing, and after a crash the same stop is sent with what is left.
/// </para>
/// </remarks>
internal sealed class PodTeardown(PodConditions pod, IReadOnlyDictionary<string, Lineage> lineages, TeardownOptions options)
{
    /// <summary>A caller's stop that was forwarded kills by itself; ours comes after it, for a caller that vanished.</summary>
    private static readonly TimeSpan ForwardedSlack = TimeSpan.FromSeconds(1);

    /// <summary>How long what was killed may take to be told dead, before the next one's turn comes all the same.</summary>
    private static readonly TimeSpan KilledSlack = TimeSpan.FromSeconds(1);

    /// <summary>What is still there this long after it was killed, the backend cannot kill: its own StopPodSandbox says why.</summary>
    private static readonly TimeSpan GiveUpAfter = TimeSpan.FromSeconds(10);

    /// <summary>Of an impatient caller's time: for SIGKILL to be told, and for the sandbox's own stop.</summary>
    private static readonly TimeSpan SandboxStopTime = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(500);

    /// <summary>
    /// How long the answer to our stop of a container that has ended is waited for: an exit is told before the backend itself has taken
    /// note of it, and a StopPodSandbox or RemoveContainer in between would have it kill what is no more, and fail.
    /// </summary>
    private static readonly TimeSpan AnswerSlack = TimeSpan.FromSeconds(2);

    private readonly Dictionary<string, PendingStop> _stops = new(StringComparer.Ordinal);
    private readonly Dictionary<string, DateTimeOffset> _hooksOfCallers = new(StringComparer.Ordinal);
    private SandboxEndRecord? _end;

    /// <summary>The sandbox is being ended: nothing of a caller's is created or started in it any more.</summary>
    public bool IsEnding => _end is not null;

    public bool IsIdle => _end is null && _stops.Count == 0;

    /// <summary>Nothing of the pod runs any more, or what runs can't be killed: StopPodSandbox may go to the backend.</summary>
    public bool IsOver { get; private set; }

    public DateTimeOffset? NextDue { get; private set; }

    public IReadOnlyList<StopRecord> StopRecords => [.. _stops.Values.Select(stop => stop.ToRecord())];

    public SandboxEndRecord? EndRecord => _end;

    /// <summary>The pod ends, and everything that ends before this container has: there is nothing left that it would be restarted for.</summary>
    public bool IsTurnToEnd(string name) =>
        (pod.TerminatingSince is not null || _end is not null) && lineages.TryGetValue(name, out Lineage? lineage) && !HasPredecessor(lineage);

    /// <summary>How far the stop of this lineage is; null where none was asked for.</summary>
    public StopStage? StageOf(string name) => _stops.TryGetValue(name, out PendingStop? stop) ? stop.Stage : null;

    /// <summary>This instance has ended by our stop, and the backend has not said so yet.</summary>
    public bool IsAnswerAwaited(string name, string id) =>
        _stops.TryGetValue(name, out PendingStop? stop) && stop.SentTo == id && stop.AnswerUntil is not null;

    /// <summary>A caller's StopContainer has come.</summary>
    /// <returns>True: it waits, until its turn has come and the container has ended. False: forward it.</returns>
    public bool AskedByCaller(Lineage lineage, TimeSpan timeout, DateTimeOffset now)
    {
        DateTimeOffset until = now + timeout;
        if (!_stops.TryGetValue(lineage.Name, out PendingStop? stop))
        {
            if (!Applies || !lineage.IsAlive)
            {
                return false;
            }

            pod.RenewDeadline(until, now);
            stop = new PendingStop(lineage.Name, now, until, isCallers: true);
            bool waits = IsSidecar(lineage.Name) && timeout > options.NotHeldUpTo && HasPredecessor(lineage);
            stop.Stage = waits ? StopStage.Held : StopStage.Forwarded;
            _stops.Add(lineage.Name, stop);
            pod.IsChanged = true;
        }
        else if (until < stop.Until)
        {
            stop.Until = until;
            stop.KillAt = until < stop.KillAt ? until : stop.KillAt;
            pod.IsChanged = true;
            if (stop.Stage == StopStage.Held && timeout <= options.NotHeldUpTo)
            {
                stop.Stage = StopStage.Forwarded;
            }
        }

        Shorten(until, now);
        EndCompleted(now);
        Advance(now);
        return _stops.TryGetValue(lineage.Name, out stop) && stop.Stage != StopStage.Forwarded;
    }

    /// <summary>The sandbox is to be stopped. Asked again, it joins what is under way, and can only shorten it.</summary>
    /// <param name="patience">How long the caller waits; null: for ever, or nobody does.</param>
    /// <param name="graceLimit">The most grace there is (drain); null: the pod's own.</param>
    /// <param name="now">The time.</param>
    /// <returns>True: wait for <see cref="IsOver"/>. False: nothing runs, or this pod's end is not ours.</returns>
    public bool BeginEnd(TimeSpan? patience, TimeSpan? graceLimit, DateTimeOffset now)
    {
        bool isImpatient = patience < options.ImpatientBelow;
        if (_end is null)
        {
            if (!Applies || pod.IsSandboxStopping || !lineages.Values.Any(MayRun))
            {
                return false;
            }

            TimeSpan grace = Least(pod.Grace, options.MaxGrace);
            DateTimeOffset deadline = now + Least(grace, graceLimit ?? grace);
            deadline = pod.Deadline > now ? Least(deadline, pod.Deadline.Value) : deadline;
            foreach (PendingStop stop in _stops.Values)
            {
                deadline = stop.Until > now ? Least(deadline, stop.Until) : deadline;
            }

            _end = new SandboxEndRecord(now, deadline, false);
            pod.BeginTermination(deadline - now, now);
            pod.IsChanged = true;
        }
        else if (graceLimit is { } limit)
        {
            Shorten(now + limit, now);
        }

        if (isImpatient && !_end.IsImpatient)
        {
            _end = _end with { IsImpatient = true };
            pod.IsChanged = true;
            TimeSpan total = options.ImpatientTotal - SandboxStopTime - options.SidecarFloor;
            Shorten(now + (total > TimeSpan.Zero ? total : TimeSpan.Zero), now);
        }

        pod.EndBy(_end.Deadline);
        Advance(now);
        return !IsOver;
    }

    /// <summary>A caller started the container: whatever stop was asked for is over.</summary>
    public void Started(string name, DateTimeOffset now)
    {
        if (_end is not null)
        {
            return;
        }

        pod.IsChanged |= _stops.Remove(name);
        if (IsSidecar(name) || pod.TerminatingSince is not null || pod.HaveMainsCompleted)
        {
            return;
        }

        // The stops of the mains looked like the pod's end, and were not.
        foreach (Lineage lineage in lineages.Values.Where(lineage => lineage.RunsBehind || lineage.IsEndedUnasked))
        {
            if (_stops.TryGetValue(lineage.Name, out PendingStop? stop) && !stop.IsCallers && stop.Stage == StopStage.Held)
            {
                _ = _stops.Remove(lineage.Name);
                pod.IsChanged = true;
            }

            if (lineage is { IsEndedUnasked: true, IsAlive: false })
            {
                lineage.Reclaim(now);
            }
        }
    }

    /// <summary>A caller started what runs already, and was given it: a stop of its own from before, whose turn has not come, is over.</summary>
    public void StartAnswered(string name)
    {
        if (_end is null && _stops.TryGetValue(name, out PendingStop? stop) && stop is { IsCallers: true, Stage: StopStage.Held })
        {
            pod.IsChanged |= _stops.Remove(name);
        }
    }

    /// <summary>A caller runs this container's preStop hook, or has just run it: its StopContainer follows.</summary>
    public void CallerHook(string name, bool isRunning, DateTimeOffset now) =>
        _hooksOfCallers[name] = isRunning ? DateTimeOffset.MaxValue : now + options.UnprovenHold;

    public void HookEnded(string id)
    {
        foreach (PendingStop stop in _stops.Values.Where(stop => stop.HookBegun == id))
        {
            stop.HookEnded = id;
        }
    }

    public void StopEnded(string id, bool isDone, DateTimeOffset now)
    {
        foreach (PendingStop stop in _stops.Values.Where(stop => stop.SentTo == id))
        {
            if (isDone)
            {
                stop.AnsweredFor = id;
            }
            else
            {
                stop.RetryAt = now + RetryAfter;
            }
        }
    }

    public void Restore(IReadOnlyList<StopRecord> stops, SandboxEndRecord? end)
    {
        _end = end;
        foreach (StopRecord record in stops)
        {
            _stops[record.Lineage] = PendingStop.From(record);
        }
    }

    /// <summary>After the first list: the callers' own calls ended with the shim before.</summary>
    public void Settle(DateTimeOffset now)
    {
        foreach (PendingStop stop in _stops.Values.Where(stop => stop.Stage == StopStage.Forwarded).ToArray())
        {
            if (IsProven)
            {
                GraceBudget budget = Budget(stop);
                stop.Stage = StopStage.Ending;
                stop.KillAt = IsSidecar(stop.Lineage) ? budget.Deadline : budget.MainsUntil(Kept(budget, lineages.Keys));
            }
            else
            {
                // A stop of one container alone: its caller asks again.
                _ = _stops.Remove(stop.Lineage);
            }

            pod.IsChanged = true;
        }

        Advance(now);
    }

    /// <summary>The mains have completed for good: adopted sidecars are ended, in order, as if the pod were.</summary>
    public void EndServing(DateTimeOffset now)
    {
        if (!pod.HaveMainsCompleted || !Applies)
        {
            return;
        }

        foreach (Lineage lineage in lineages.Values)
        {
            // One that is just being restarted ends when it runs: its own end, from before, would be taken for the pod's failure.
            if (lineage is { IsServing: true, IsBusy: false, Live: not null } && !_stops.ContainsKey(lineage.Name))
            {
                _stops.Add(lineage.Name, new PendingStop(lineage.Name, now, now + Least(pod.Grace, options.MaxGrace), isCallers: false) { IsProven = true });
                pod.IsChanged = true;
            }
        }
    }

    /// <summary>
    /// What is shown completed no caller stops: once the pod ends, by its deletion or by its mains' stops, it is ended, in its turn; and
    /// when the mains have completed for good.
    /// </summary>
    public void EndCompleted(DateTimeOffset now)
    {
        if (_end is not null || !Applies || !lineages.Values.Any(lineage => lineage.IsCompleted))
        {
            return;
        }

        Prove(now);
        if (!IsProven && !pod.HaveMainsCompleted)
        {
            return;
        }

        // Kubelets up to 1.28 give the containers of a pod that is deleted by force the spec's grace all the same.
        DateTimeOffset until = pod.TerminatingSince is not null && pod.Deadline is { } deadline
            ? Later(deadline, _stops.Values.Where(stop => stop is { IsCallers: true, Stage: StopStage.Forwarded } && !IsSidecar(stop.Lineage)).Select(stop => stop.Until))
            : pod.HaveMainsCompleted ? now + Least(pod.Grace, options.MaxGrace)
            : Later(now, _stops.Values.Where(stop => stop.IsCallers).Select(stop => stop.Until));
        foreach (Lineage lineage in lineages.Values.Where(lineage => lineage.IsCompleted))
        {
            // A kubelet that comes late, or anew, gives the pod its whole grace again, whatever becomes of the sidecar just now.
            bool isNew = !_stops.TryGetValue(lineage.Name, out PendingStop? stop);
            if (isNew ? lineage is { IsBusy: false, Live: not null }
                : stop is { IsCallers: false, Stage: StopStage.Held } && pod.TerminatingSince is not null && stop.Until != until)
            {
                _stops[lineage.Name] = new PendingStop(lineage.Name, now, until, isCallers: false) { IsProven = true };
                pod.IsChanged = true;
            }
        }
    }

    /// <summary>Whatever has changed: gives turns, and drives what is ending.</summary>
    public void Advance(DateTimeOffset now)
    {
        NextDue = null;
        if (IsIdle)
        {
            return;
        }

        if (_end is not null)
        {
            AskAll(now);
        }

        Prove(now);
        GiveTurns(now);

        // In the order of their turns, also where several have it at once.
        foreach (PendingStop stop in _stops.Values.OrderBy(stop => IsSidecar(stop.Lineage) ? int.MaxValue - StartIndex(stop.Lineage) : 0).ToArray())
        {
            Drive(lineages[stop.Lineage], stop, now);
        }

        if (_end is { } end && !IsOver)
        {
            DateTimeOffset last = Later(end.Deadline, _stops.Values.Select(stop => stop.KillAt)) + GiveUpAfter;
            IsOver = now >= last || !(lineages.Values.Any(MayRun) || _stops.Values.Any(stop => stop.AnswerUntil is not null));
            if (!IsOver)
            {
                Due(last, now);
            }
        }
    }

    // In every mode what is shown completed is ended in its turn: whoever else would end it kills it.
    private bool Applies => _end is not null || pod.IsSupervised || lineages.Values.Any(lineage => lineage.RunsBehind);

    private bool IsProven => pod.TerminatingSince is not null || _end is not null || _stops.Values.Any(stop => stop.IsProven);

    private static T Least<T>(T a, T b)
        where T : IComparable<T> => a.CompareTo(b) < 0 ? a : b;

    private static DateTimeOffset Later(DateTimeOffset first, IEnumerable<DateTimeOffset> others) =>
        others.Aggregate(first, static (a, b) => a > b ? a : b);

    private bool IsSidecar(string name) => pod.KindOf(name) switch
    {
        SidecarKind.None => false,
        SidecarKind.Unknown => pod.Annotation.Find(name) is not null,
        _ => true,
    };

    // What a known spec does not name was added later: nothing else is.
    private bool IsEphemeral(string name) =>
        pod.Facts is { } facts && SidecarKinds.Find(name, facts) is null or { Role: ContainerRole.Ephemeral };

    private bool MayRun(Lineage lineage) => !IsEphemeral(lineage.Name) && (lineage.IsAlive || lineage.MayComeBack);

    /// <summary>Something runs that ends before this sidecar: a main, or a sidecar that started later.</summary>
    private bool HasPredecessor(Lineage sidecar) => lineages.Values.Any(lineage => IsPredecessor(lineage, sidecar));

    private bool IsPredecessor(Lineage lineage, Lineage sidecar) =>
        lineage != sidecar && lineage.IsAlive && !IsEphemeral(lineage.Name)
        && (!IsSidecar(lineage.Name) || StartIndex(lineage.Name) > StartIndex(sidecar.Name));

    private int StartIndex(string name) => pod.StartOrder.IndexOf(name);

    private TimeSpan Reserve(string name) => IsSidecar(name) ? pod.Annotation.Find(name)?.TeardownReserve ?? TimeSpan.Zero : TimeSpan.Zero;

    private GraceBudget Budget(PendingStop stop)
    {
        DateTimeOffset began = _end?.BeganAt ?? stop.AskedAt;

        // What we ask for ourselves has the sandbox's end for its own: the grace before, if there was one, may be over (no main was stopped in it).
        DateTimeOffset deadline = _end is not { } end ? stop.Until : stop.IsCallers ? Least(end.Deadline, stop.Until) : end.Deadline;
        return new GraceBudget(began, deadline, Least(options.SidecarFloor, deadline > began ? deadline - began : TimeSpan.Zero));
    }

    /// <summary>When what ends from now on is killed, and whether that leaves it what it needs.</summary>
    private (DateTimeOffset Until, bool IsEnough) Limit(PendingStop stop, DateTimeOffset now)
    {
        GraceBudget budget = Budget(stop);
        return IsSidecar(stop.Lineage)
            ? budget.Turn(now, Kept(budget, [stop.Lineage]), Kept(budget, StartedBefore(stop)))
            : (budget.MainsUntil(Kept(budget, lineages.Keys)), true);
    }

    private IEnumerable<string> StartedBefore(PendingStop stop) => pod.StartOrder.Take(StartIndex(stop.Lineage));

    /// <summary>What is kept for those of these sidecars that run. The start order outlives containers: init containers are removed.</summary>
    private TimeSpan Kept(GraceBudget budget, IEnumerable<string> names)
    {
        TimeSpan all = TimeSpan.Zero;
        foreach (string name in lineages.Keys)
        {
            all += Reserve(name);
        }

        return all == TimeSpan.Zero ? all : names.Where(name => lineages.TryGetValue(name, out Lineage? lineage) && lineage.IsAlive)
            .Aggregate(TimeSpan.Zero, (sum, name) => sum + budget.Kept(Reserve(name), all));
    }

    private void AskAll(DateTimeOffset now)
    {
        foreach (Lineage lineage in lineages.Values)
        {
            if (!_stops.ContainsKey(lineage.Name) && (lineage.IsAlive || (lineage.MayComeBack && IsSidecar(lineage.Name))))
            {
                _stops.Add(lineage.Name, new PendingStop(lineage.Name, now, _end!.Deadline, isCallers: false));
                pod.IsChanged = true;
            }
        }
    }

    private void Prove(DateTimeOffset now)
    {
        if (IsProven)
        {
            return;
        }

        foreach (PendingStop stop in _stops.Values.Where(stop => stop.Stage == StopStage.Held))
        {
            Lineage sidecar = lineages[stop.Lineage];
            if (lineages.Values.All(lineage => !IsPredecessor(lineage, sidecar) || IsAskedToo(lineage.Name, now)))
            {
                stop.IsProven = true;
                pod.IsChanged = true;
            }
        }
    }

    private bool IsAskedToo(string name, DateTimeOffset now) => _stops.ContainsKey(name) || _hooksOfCallers.GetValueOrDefault(name) > now
        || (lineages[name].RunsBehind && AreMainsStopped(now));

    /// <summary>Callers have stopped a main, and no other runs that they have not.</summary>
    private bool AreMainsStopped(DateTimeOffset now)
    {
        Lineage[] mains = [.. lineages.Values.Where(lineage => !IsSidecar(lineage.Name) && !IsEphemeral(lineage.Name))];
        return mains.All(main => !main.IsAlive || IsAskedToo(main.Name, now)) && mains.Any(main => main.IsStoppedByCaller || IsAskedToo(main.Name, now));
    }

    private void GiveTurns(DateTimeOffset now)
    {
        if (_end is not null)
        {
            foreach (PendingStop stop in _stops.Values.Where(stop => stop.Stage == StopStage.Held && !IsSidecar(stop.Lineage)).ToArray())
            {
                TakeTurn(stop, Limit(stop, now).Until, now);
            }
        }

        for (int i = pod.StartOrder.Count - 1; i >= 0; i--)
        {
            if (_stops.TryGetValue(pod.StartOrder[i], out PendingStop? stop) && stop.Stage == StopStage.Held && IsSidecar(stop.Lineage))
            {
                if (IsAhead(stop))
                {
                    continue;
                }

                if (TurnAt(stop, now) is { } at && now < at)
                {
                    Due(at, now);
                }
                else
                {
                    TakeTurn(stop, now);
                }
            }
        }
    }

    /// <summary>
    /// What is shown completed is never ended before a main that nobody has stopped yet: a kubelet may come late to a pod's end, and gives
    /// the mains their whole grace then.
    /// </summary>
    private bool IsAhead(PendingStop stop) => _end is null && !stop.IsCallers && lineages[stop.Lineage] is { RunsBehind: true } sidecar
        && lineages.Values.Any(lineage => !IsSidecar(lineage.Name) && IsPredecessor(lineage, sidecar) && !_stops.ContainsKey(lineage.Name));

    /// <summary>When a held sidecar's turn comes at the latest; null: now.</summary>
    private DateTimeOffset? TurnAt(PendingStop stop, DateTimeOffset now)
    {
        if (!HasPredecessor(lineages[stop.Lineage]))
        {
            return null;
        }

        if (!IsProven)
        {
            return stop.AskedAt + options.UnprovenHold;
        }

        // Until then what ends before has been killed; should it not be told dead, or not have been stopped at all, this is the end of it.
        GraceBudget budget = Budget(stop);
        DateTimeOffset last = budget.Deadline - Kept(budget, [stop.Lineage]) + KilledSlack;
        return last > stop.AskedAt ? last : now;
    }

    private void TakeTurn(PendingStop stop, DateTimeOffset now)
    {
        if (!IsProven)
        {
            TakeTurn(stop, stop.Until, now);
            return;
        }

        (DateTimeOffset until, bool isEnough) = Limit(stop, now);
        TakeTurn(stop, until, now);
        if (isEnough)
        {
            return;
        }

        foreach (string name in StartedBefore(stop))
        {
            if (_stops.TryGetValue(name, out PendingStop? other) && other.Stage == StopStage.Held && IsSidecar(name))
            {
                GraceBudget own = Budget(other);
                if (own.Deadline > Budget(stop).Deadline && now < own.Deadline - options.SidecarFloor)
                {
                    // Its caller came later: its grace goes on when this one's is over.
                    continue;
                }

                TakeTurn(other, own.Turn(now, Kept(own, [name]), TimeSpan.Zero).Until, now);
            }
        }
    }

    private void TakeTurn(PendingStop stop, DateTimeOffset killAt, DateTimeOffset now)
    {
        stop.Stage = StopStage.Ending;
        stop.KillAt = killAt;
        pod.IsChanged = true;
        Lineage lineage = lineages[stop.Lineage];
        if (lineage.Current is { } current)
        {
            // Rule 5: from here on it is not restarted. What is under way for it is awaited, and then ended.
            lineage.IsEndedUnasked = _end is null && !stop.IsCallers && lineage.IsCompleted;
            _ = lineage.ArbitrateStop(current.Id, mayWait: true, now);
            lineage.Recheck(isAwaited: true, now);
        }
    }

    private void Drive(Lineage lineage, PendingStop stop, DateTimeOffset now)
    {
        if (!lineage.IsAlive && (stop.Stage != StopStage.Held || !lineage.MayComeBack))
        {
            if (AwaitsAnswer(stop, now))
            {
                return;
            }

            _ = _stops.Remove(stop.Lineage);
            pod.IsChanged = true;
            return;
        }

        if (stop.Stage == StopStage.Forwarded && IsProven)
        {
            GraceBudget budget = Budget(stop);
            TimeSpan kept = IsSidecar(stop.Lineage) ? TimeSpan.Zero : Kept(budget, lineages.Keys);
            DateTimeOffset limit = kept > TimeSpan.Zero ? budget.MainsUntil(kept) : budget.Deadline + ForwardedSlack;
            stop.KillAt = Least(limit, stop.Until + ForwardedSlack);
            if (lineage.Live is { } forwarded)
            {
                Kill(forwarded, stop, now);
            }
        }
        else if (stop.Stage == StopStage.Ending && lineage is { IsBusy: false, Live: { } instance })
        {
            if (HookUntil(stop) is { } hookUntil && !stop.IsCallers && stop.HookEnded != instance.Id && now < hookUntil && stop.SentTo is null)
            {
                if (stop.HookBegun != instance.Id)
                {
                    stop.HookBegun = instance.Id;
                    pod.Commands.Add(new RunPreStop(stop.Lineage, instance.Id, hookUntil - now));
                }

                Due(hookUntil, now);
                return;
            }

            if (stop.SentTo != instance.Id || stop.RetryAt <= now)
            {
                TimeSpan left = stop.KillAt - now;
                Send(instance, stop, left > TimeSpan.Zero ? left : TimeSpan.Zero);
            }

            Kill(instance, stop, now);
        }
    }

    /// <summary>What was stopped has ended; whether that still is to be heard from the backend itself.</summary>
    private bool AwaitsAnswer(PendingStop stop, DateTimeOffset now)
    {
        stop.AnswerUntil ??= now + AnswerSlack;
        if (stop.SentTo is not { } id || stop.AnsweredFor == id || now >= stop.AnswerUntil)
        {
            return false;
        }

        if (stop.RetryAt <= now)
        {
            // To what has ended it is no more than a question.
            stop.RetryAt = null;
            pod.Commands.Add(new StopInstance(stop.Lineage, id, TimeSpan.Zero));
        }

        Due(stop.RetryAt is { } retry && retry < stop.AnswerUntil ? retry : stop.AnswerUntil.Value, now);
        return true;
    }

    /// <summary>At the limit, to the millisecond: StopContainer knows only whole seconds.</summary>
    private void Kill(Instance instance, PendingStop stop, DateTimeOffset now)
    {
        if (now < stop.KillAt)
        {
            Due(stop.KillAt, now);
        }
        else if (!stop.IsKillSent || stop.RetryAt <= now)
        {
            Send(instance, stop, TimeSpan.Zero);
        }

        if (stop.RetryAt is { } retry)
        {
            Due(retry, now);
        }
    }

    private void Send(Instance instance, PendingStop stop, TimeSpan grace)
    {
        stop.SentTo = instance.Id;
        stop.IsKillSent = grace == TimeSpan.Zero;
        stop.RetryAt = null;
        pod.Commands.Add(new StopInstance(stop.Lineage, instance.Id, grace));
    }

    // Whatever the hook does, some time is left for the signal.
    private DateTimeOffset? HookUntil(PendingStop stop)
    {
        TimeSpan whole = stop.KillAt - stop.AskedAt;
        return whole <= TimeSpan.Zero ? null : stop.KillAt - Least(options.SidecarFloor, whole / 2);
    }

    private void Shorten(DateTimeOffset deadline, DateTimeOffset now)
    {
        if (_end is not { } end || deadline >= end.Deadline)
        {
            return;
        }

        _end = end with { Deadline = deadline };
        pod.IsChanged = true;
        foreach (PendingStop stop in _stops.Values.Where(stop => stop.Stage == StopStage.Ending))
        {
            stop.KillAt = Least(stop.KillAt, Limit(stop, now).Until);
        }
    }

    private void Due(DateTimeOffset at, DateTimeOffset now)
    {
        if (at > now && (NextDue is null || at < NextDue))
        {
            NextDue = at;
        }
    }
}
