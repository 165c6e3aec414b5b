using CriShim.Containerd.Runtime;
using CriShim.Supervision;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Journal;

/// <summary>
/// What supervision did, decided and saw, in memory: the last of it for each sandbox, and for the node. One method for each kind of
/// thing, which logs it as well, so that the log and the journal never disagree.
/// </summary>
/// <remarks>
/// Bounded: what is oldest goes. A sandbox that is gone is remembered for some time, so that it can still be asked what became of it.
/// Safe from any thread, also under a pod's lock.
/// </remarks>
public sealed class NodeJournal
{
    /// <summary>How much is kept for each sandbox.</summary>
    public const int PerSandbox = 256;

    /// <summary>How much is kept for the node.</summary>
    public const int PerNode = 2048;

    /// <summary>How many sandboxes that are gone are remembered.</summary>
    public const int GoneSandboxes = 32;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Trail> _trails = new(StringComparer.Ordinal);
    private readonly Queue<string> _gone = new();
    private readonly Queue<(long Number, Happening Happening)> _all = new();
    private readonly NodeLog _log;
    private readonly IReadOnlyList<IHappeningListener> _listeners;
    private readonly TimeProvider _time;
    private readonly Func<string, bool> _isThere;
    private TaskCompletionSource _news = NewSignal();
    private long _last;

    /// <param name="log">Where it logs.</param>
    /// <param name="listeners">Who else is told.</param>
    /// <param name="time">The clock.</param>
    /// <param name="isThere">Whether a sandbox is supervised, and will be told to be gone by <see cref="Forget(string)"/>.</param>
    internal NodeJournal(NodeLog log, IReadOnlyList<IHappeningListener> listeners, TimeProvider time, Func<string, bool> isThere)
    {
        _isThere = isThere;
        _log = log;
        _listeners = listeners;
        _time = time;

        // Beyond the cursors of every crishim before this one: one of theirs is followed by all that happens here.
        _last = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
    }

    private DateTimeOffset Now => _time.GetUtcNow();

    // ---- Reading -----------------------------------------------------------------------------------------------------

    /// <summary>What is kept of a sandbox, oldest first; nothing where it is not known.</summary>
    public IReadOnlyList<Happening> Of(string sandboxId)
    {
        lock (_lock)
        {
            return _trails.TryGetValue(sandboxId, out Trail? trail) ? [.. trail.Kept] : [];
        }
    }

    /// <summary>Pods of sandboxes that something is kept of and that are gone, oldest first.</summary>
    public IReadOnlyList<PodName> Gone
    {
        get
        {
            lock (_lock)
            {
                return [.. _gone.Where(_trails.ContainsKey).Select(id => _trails[id].Kept.Peek().Pod)];
            }
        }
    }

    /// <summary>What happened on the node after a cursor, oldest first.</summary>
    /// <param name="cursor">0, or the cursor that came with the last answer, maybe of a crishim before this one.</param>
    /// <param name="most">How many at most.</param>
    /// <returns>They, the cursor behind the last of them, and whether some are missing that were not kept.</returns>
    public (IReadOnlyList<Happening> Happenings, long Cursor, bool IsGap) After(long cursor, int most)
    {
        lock (_lock)
        {
            long from = cursor < 0 || cursor > _last ? 0 : cursor;
            (long Number, Happening Happening)[] found = [.. _all.Where(one => one.Number > from).Take(most)];
            bool isGap = from > 0 && _all.TryPeek(out (long Number, Happening Happening) oldest) && oldest.Number > from + 1;
            return ([.. found.Select(one => one.Happening)], found.Length > 0 ? found[^1].Number : from, isGap);
        }
    }

    /// <summary>The cursor behind all that happened so far.</summary>
    public long Last
    {
        get
        {
            lock (_lock)
            {
                return _last;
            }
        }
    }

    /// <summary>Completes when something happens after this cursor.</summary>
    public Task NewsAfter(long cursor)
    {
        lock (_lock)
        {
            return cursor < _last ? Task.CompletedTask : _news.Task;
        }
    }

    // ---- Lives -------------------------------------------------------------------------------------------------------

    internal void Found(PodName pod, string container, string id, int attempt, DateTimeOffset createdAt, bool isRunning) =>
        Note(new ContainerFound(attempt, createdAt, isRunning) { At = Now, Pod = pod, Container = container, ContainerId = id });

    internal void Started(PodName pod, string container, string id, int attempt, bool isReplacement) =>
        Note(new ContainerStarted(attempt, isReplacement) { At = Now, Pod = pod, Container = container, ContainerId = id });

    /// <summary>Told by an event, and maybe again by a status.</summary>
    internal void Ended(PodName pod, string container, string id, int attempt, ContainerExit exit)
    {
        if (!IsKept<ContainerEnded>(pod, id))
        {
            Note(new ContainerEnded(attempt, exit.ExitCode, exit.OutOfMemory, exit.FinishedAt)
            {
                At = Now, Pod = pod, Container = container, ContainerId = id,
            });
        }
    }

    // ---- Restarts ----------------------------------------------------------------------------------------------------

    internal void Decided(PodName pod, RestartDecision decision)
    {
        string container = decision.Lineage;
        string id = decision.ContainerId;
        if (decision.Outcome == RestartOutcome.Cancelled)
        {
            _log.RestartCancelled(container, pod.SandboxId, id, decision.OutcomeReason);
            Note(new RestartCancelled(decision) { At = Now, Pod = pod, Container = container, ContainerId = id });
        }
        else if (decision.Outcome != RestartOutcome.None)
        {
            // That it runs again is told by who has started it.
        }
        else if (decision.Kind == DecisionKind.Restart)
        {
            TimeSpan delay = decision.Due is { } due && due > decision.At ? due - decision.At : TimeSpan.Zero;
            _log.RestartDecided(
                container, pod.SandboxId, id, decision.Attempt, decision.Cause, decision.ExitCode, (long)delay.TotalMilliseconds);
            Note(new RestartDecided(decision) { At = Now, Pod = pod, Container = container, ContainerId = id });
            if (delay > TimeSpan.Zero)
            {
                Note(new SidecarBackOff(decision.Attempt, delay, decision.Streak + 1) { At = Now, Pod = pod, Container = container, ContainerId = id });
            }
        }
        else
        {
            _log.LeftAlone(
                container, pod.SandboxId, id, decision.Attempt, decision.Cause, decision.ExitCode, decision.Kind, decision.Reason);
            Note(decision.Kind == DecisionKind.GiveUp
                ? new SidecarGivenUp(decision) { At = Now, Pod = pod, Container = container, ContainerId = id }
                : new LeftAlone(decision) { At = Now, Pod = pod, Container = container, ContainerId = id });
        }
    }

    internal void ReplacementFailed(PodName pod, string container, int attempt, string step, CallFailure failure)
    {
        _log.ReplacementFailed(container, pod.SandboxId, attempt, step, failure);
        Note(new ReplacementFailed(attempt, step, failure.ToString()) { At = Now, Pod = pod, Container = container });
    }

    internal void RequestUnknown(PodName pod, string container)
    {
        _log.RequestUnknown(container, pod.SandboxId);
        Note(new RequestUnknown { At = Now, Pod = pod, Container = container });
    }

    internal void Restored(PodName pod, string container, string id, int attempt, TimeSpan? elapsed)
    {
        _log.Restored(container, pod.SandboxId, id, attempt, elapsed is { } time ? (long)time.TotalMilliseconds : -1);
        Note(new SidecarRestored(attempt, elapsed) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void InstanceRemoved(PodName pod, string container, string id, RemovalReason reason)
    {
        _log.InstanceRemoved(id, container, pod.SandboxId, reason.ToString());
        Note(new InstanceRemoved(reason) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    // ---- Start gates -------------------------------------------------------------------------------------------------

    internal void StartHeld(PodName pod, string container, string id)
    {
        _log.StartHeld(container, pod.SandboxId, id);
        Note(new StartHeld { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void GateOpened(PodName pod, string container, GateReason reason)
    {
        _log.GateOpened(container, pod.SandboxId, reason);
        Note(new GateOpened(reason) { At = Now, Pod = pod, Container = container });
    }

    internal void ProbeNotRun(PodName pod, string container, string id, string fault)
    {
        _log.ProbeNotRun(container, pod.SandboxId, fault);
        Note(new ProbeNotRun(fault) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    // ---- Emulated sidecars -------------------------------------------------------------------------------------------

    internal void CompletionShown(PodName pod, string container, string id)
    {
        _log.CompletionShown(container, pod.SandboxId, id);
        Note(new CompletionShown { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    /// <summary>Told again and again, each second, while there is no room for its record.</summary>
    internal void CompletionNotRecorded(PodName pod, string container, string id)
    {
        if (!IsKept<CompletionNotRecorded>(pod, id))
        {
            _log.CompletionNotRecorded(container, pod.SandboxId);
            Note(new CompletionNotRecorded { At = Now, Pod = pod, Container = container, ContainerId = id });
        }
    }

    internal void StartupFailed(PodName pod, string container, string id, int failures)
    {
        _log.StartupFailed(container, pod.SandboxId, id, failures);
        Note(new StartupFailed(failures) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void RemovalHeld(PodName pod, string container, string id)
    {
        _log.RemovalHeld(container, pod.SandboxId, id);
        Note(new RemovalHeld { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    /// <summary>Told again and again: a kubelet's garbage collection comes back every minute.</summary>
    internal void RemovalRefused(PodName pod, string container, string id)
    {
        if (!IsKept<RemovalRefused>(pod, id))
        {
            _log.RemovalRefused(container, pod.SandboxId, id);
            Note(new RemovalRefused { At = Now, Pod = pod, Container = container, ContainerId = id });
        }
    }

    // ---- Ends --------------------------------------------------------------------------------------------------------

    internal void StopHeld(PodName pod, string container, string id)
    {
        _log.StopHeld(container, pod.SandboxId, id);
        Note(new StopHeld { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void StopSent(PodName pod, StopInstance command)
    {
        _log.StopSent(
            command.Lineage, pod.SandboxId, command.ContainerId, command.HasFailedToStart ? "it has failed to start" : "its turn",
            command.Grace.TotalSeconds);
        Note(new StopSent(command.Grace)
        {
            At = Now, Pod = pod, Container = command.Lineage, ContainerId = command.ContainerId, HasFailedToStart = command.HasFailedToStart,
        });
    }

    internal void StopFailed(PodName pod, string container, string id, CallFailure failure)
    {
        _log.StopFailed(container, pod.SandboxId, id, failure);
        Note(new StopFailed(failure.ToString()) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void HookBegan(PodName pod, string container, string id)
    {
        _log.HookBegan(container, pod.SandboxId);
        Note(new HookBegan { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void HookEnded(PodName pod, string container, string id, TimeSpan elapsed)
    {
        _log.HookEnded(container, pod.SandboxId, (long)elapsed.TotalMilliseconds);
        Note(new HookEnded(elapsed) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void HookFailed(PodName pod, string container, string id, int? exitCode, CallFailure? failure)
    {
        _log.HookFailed(container, pod.SandboxId, exitCode, failure);
        Note(new HookFailed(exitCode, failure?.ToString()) { At = Now, Pod = pod, Container = container, ContainerId = id });
    }

    internal void MainsCompleted(PodName pod) => Note(new MainsCompleted { At = Now, Pod = pod });

    internal void TeardownBegan(PodName pod, TimeSpan? grace, bool isSandboxEnd) =>
        Note(new TeardownBegan(grace, isSandboxEnd) { At = Now, Pod = pod });

    internal void TeardownEnded(PodName pod, TimeSpan duration, TimeSpan overrun) =>
        Note(new TeardownEnded(duration, overrun) { At = Now, Pod = pod });

    internal void SandboxStopHeld(PodName pod)
    {
        _log.SandboxStopHeld(pod.SandboxId);
        Note(new SandboxStopHeld { At = Now, Pod = pod });
    }

    internal void SandboxStopped(PodName pod)
    {
        _log.SandboxStopped(pod.SandboxId);
        Note(new SandboxStopped { At = Now, Pod = pod });
    }

    internal void SandboxStopFailed(PodName pod, CallFailure failure)
    {
        _log.SandboxStopFailed(pod.SandboxId, failure);
        Note(new SandboxStopFailed(failure.ToString()) { At = Now, Pod = pod });
    }

    // ---- Annotations -------------------------------------------------------------------------------------------------

    internal void AnnotationWrong(PodName pod, string faults)
    {
        _log.AnnotationWrong(pod.Namespace, pod.Name, faults);
        Note(new AnnotationWrong(faults) { At = Now, Pod = pod });
    }

    // ---- Keeping -----------------------------------------------------------------------------------------------------

    /// <summary>The sandbox is gone: it is remembered as long as there is room.</summary>
    internal void Forget(string sandboxId)
    {
        lock (_lock)
        {
            if (!_trails.TryGetValue(sandboxId, out Trail? trail) || trail.IsGone)
            {
                return;
            }

            Forget(sandboxId, trail);
        }
    }

    /// <summary>Under the lock.</summary>
    private void Forget(string sandboxId, Trail trail)
    {
        trail.IsGone = true;
        _gone.Enqueue(sandboxId);
        while (_gone.Count > GoneSandboxes)
        {
            _ = _trails.Remove(_gone.Dequeue());
        }
    }

    /// <summary>It was told of this instance, and is still kept.</summary>
    private bool IsKept<T>(PodName pod, string id)
        where T : Happening
    {
        lock (_lock)
        {
            return _trails.TryGetValue(pod.SandboxId, out Trail? trail) && trail.Kept.Any(one => one is T && one.ContainerId == id);
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Note(Happening happening)
    {
        TaskCompletionSource news;
        lock (_lock)
        {
            string sandboxId = happening.Pod.SandboxId;
            if (!_trails.TryGetValue(sandboxId, out Trail? trail))
            {
                _trails.Add(sandboxId, trail = new Trail());
                if (!_isThere(sandboxId))
                {
                    // What a call that was still under way tells of a sandbox that was forgotten: nobody will say again that it is gone.
                    Forget(sandboxId, trail);
                }
            }

            Keep(trail.Kept, happening, PerSandbox);
            Keep(_all, (++_last, happening), PerNode);
            news = _news;
            _news = NewSignal();
        }

        news.SetResult();
        foreach (IHappeningListener listener in _listeners)
        {
            try
            {
                listener.Happened(happening);
            }
            catch (Exception exception)
            {
                _log.ListenerFailed(exception, happening.Kind, happening.Pod.SandboxId);
            }
        }
    }

    private static void Keep<T>(Queue<T> kept, T one, int most)
    {
        if (kept.Count == most)
        {
            _ = kept.Dequeue();
        }

        kept.Enqueue(one);
    }

    private sealed class Trail
    {
        public Queue<Happening> Kept { get; } = new();

        /// <summary>A late happening of a sandbox that is gone does not bring it back.</summary>
        public bool IsGone { get; set; }
    }
}
