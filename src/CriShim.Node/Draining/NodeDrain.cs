using CriShim.Node.State;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Draining;

/// <summary>Ends every pod of the node, in parallel across pods, and keeps new ones away meanwhile.</summary>
/// <remarks>
/// <code>
///                 Begin                        Cancel
/// (not draining) ───────▶ draining: sweeps ─────────────▶ (not draining)
///                          ▲   │ every second: ready pods that were not begun, or failed, or had a longer grace
///                          └───┘
/// </code>
/// <list type="number">
/// <item>The record is written before the first pod is touched; whoever starts next reads it and goes on, with the same deadline.</item>
/// <item>It stays on when all pods have ended, until it is cancelled: a kubelet would start them anew the moment it was not. The record
/// is on a tmpfs, so that a reboot ends it as well.</item>
/// <item>What callers had under way when it began may still bring a pod: a later sweep ends that too.</item>
/// <item>A cancelled drain lets new pods in; the pods that it has begun to end are ended.</item>
/// </list>
/// </remarks>
public sealed class NodeDrain : IAsyncDisposable
{
    /// <summary>The longest grace that can be asked for.</summary>
    public static readonly TimeSpan MaxGrace = TimeSpan.FromHours(24);

    private static readonly TimeSpan SweepInterval = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly IPodTeardown _teardown;
    private readonly StateStore _store;
    private readonly DrainLog _log;
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private readonly List<Entry> _pods = [];
    private readonly CancellationTokenSource _stopping = new();
    private IReadOnlyList<PodToEnd> _ready = [];
    private int _sweeping;
    private volatile bool _isDraining;
    private bool _isNodeKnown;
    private bool _reportedComplete;
    private DrainRecord? _record;

    /// <summary>Not draining; nothing is read until <see cref="Start"/>.</summary>
    public NodeDrain(IPodTeardown teardown, StateStore store, ILogger logger, TimeProvider time)
    {
        _teardown = teardown;
        _store = store;
        _log = new DrainLog(logger);
        _time = time;
        _timer = time.CreateTimer(
            static drain => _ = ((NodeDrain)drain!).SweepAsync(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Calls that would bring pods or containers up are refused. Read for every such call.</summary>
    public bool IsDraining => _isDraining;

    /// <summary>For each call that would bring a pod or a container up.</summary>
    /// <exception cref="RpcException">UNAVAILABLE, which callers try again: the node is being drained.</exception>
    public void RefuseWhileDraining()
    {
        if (IsDraining)
        {
            throw new RpcException(new Status(
                StatusCode.Unavailable,
                "the node is being drained: crishim lets no pod or container start until 'crishim drain --cancel', or a reboot"));
        }
    }

    /// <summary>Goes on with a drain that a crishim before this one began. To be called before the first caller is let in.</summary>
    public void Start()
    {
        lock (_lock)
        {
            if (_store.ReadDrain() is not { } record)
            {
                return;
            }

            _log.Resumed(record.BeganAt, record.Deadline);
            Set(record);
        }

        _ = SweepAsync();
    }

    /// <summary>
    /// Drains. While a drain is on this joins it: a shorter grace shortens that one, a longer one changes nothing. After its deadline a
    /// new one begins for what is still there.
    /// </summary>
    /// <param name="grace">The most that all of it may take; pods with a shorter grace period of their own keep to that.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is negative, or longer than <see cref="MaxGrace"/>.</exception>
    public DrainState Begin(TimeSpan grace)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(grace, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(grace, MaxGrace);
        lock (_lock)
        {
            DateTimeOffset now = _time.GetUtcNow();
            DateTimeOffset deadline = now + grace;
            if (_record is null || now >= _record.Deadline)
            {
                _ = _pods.RemoveAll(entry => entry.State.Phase == PodEndPhase.Done);
                _pods.ForEach(entry => entry.BegunFor = null);
                _isNodeKnown = false;
                Keep(new DrainRecord(now, deadline));
                _log.Began(grace.TotalSeconds, deadline);
            }
            else if (deadline < _record.Deadline)
            {
                Keep(_record with { Deadline = deadline });
                _log.Shortened(grace.TotalSeconds, deadline);
            }
            else
            {
                _log.Joined(_record.Deadline);
            }

            // Those that are known need not wait for a list.
            BeginPods(_record!);
        }

        _ = SweepAsync();
        return State()!;
    }

    /// <summary>New pods are let in again. Pods whose end has begun are ended all the same.</summary>
    /// <returns>Whether there was a drain.</returns>
    public bool Cancel()
    {
        lock (_lock)
        {
            if (_record is null)
            {
                return false;
            }

            _store.ForgetDrain();
            _isDraining = false;
            _record = null;
            _pods.Clear();
            _ready = [];
            _isNodeKnown = false;
            _ = _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _log.Cancelled();
            return true;
        }
    }

    /// <summary>The drain as it is now; null when there is none.</summary>
    public DrainState? State()
    {
        lock (_lock)
        {
            if (_record is null)
            {
                return null;
            }

            LookAtPods();
            return new DrainState(
                _record.BeganAt, _record.Deadline, _isNodeKnown,
                [.. _pods.Select(entry => new DrainedPod(entry.Pod, entry.State, entry.EndedAt))]);
        }
    }

    /// <summary>The drain's own work ends; the record stays, and the next crishim goes on.</summary>
    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync().ConfigureAwait(false);
        await _stopping.CancelAsync().ConfigureAwait(false);
    }

    // ---- Turns -------------------------------------------------------------------------------------------------------

    private async Task SweepAsync()
    {
        // One at a time: a backend that takes its time must not get a list a second on top.
        if (_stopping.IsCancellationRequested || Interlocked.Exchange(ref _sweeping, 1) != 0)
        {
            return;
        }

        try
        {
            if (RecordNow() is { } record)
            {
                IReadOnlyList<PodToEnd>? ready = await _teardown.ListReadyPodsAsync(_stopping.Token).ConfigureAwait(false);
                Take(record, ready);
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The next crishim goes on.
        }
        catch (Exception exception)
        {
            // A fault in one turn must not keep the pods from the next: nobody looks at this task.
            _log.SweepFailed(exception);
        }
        finally
        {
            Volatile.Write(ref _sweeping, 0);
        }
    }

    private DrainRecord? RecordNow()
    {
        lock (_lock)
        {
            return _record;
        }
    }

    private void Take(DrainRecord askedFor, IReadOnlyList<PodToEnd>? ready)
    {
        lock (_lock)
        {
            // What was listed before a drain began says nothing about the pods of that one.
            if (_record is null || _record.BeganAt != askedFor.BeganAt || _stopping.IsCancellationRequested || ready is null)
            {
                return;
            }

            _ready = ready;
            _isNodeKnown = true;
            foreach (PodToEnd pod in ready)
            {
                if (!_pods.Exists(entry => entry.Pod.SandboxId == pod.SandboxId))
                {
                    _pods.Add(new Entry(pod));
                }
            }

            BeginPods(_record);
            if (!_reportedComplete && _pods.TrueForAll(entry => entry.State.Phase == PodEndPhase.Done))
            {
                _reportedComplete = true;
                _log.Completed(_pods.Count, (_time.GetUtcNow() - _record.BeganAt).TotalSeconds);
            }
        }
    }

    // ---- Under the lock ----------------------------------------------------------------------------------------------

    private void Keep(DrainRecord record)
    {
        if (!_store.WriteDrain(record))
        {
            // Without room for a record pods are still better ended in order than killed: only a crash of crishim would end this drain.
            _log.NotRecorded();
        }

        Set(record);
    }

    private void Set(DrainRecord record)
    {
        _record = record;
        _reportedComplete = false;
        _isDraining = true;
        _ = _timer.Change(SweepInterval, SweepInterval);
    }

    private void BeginPods(DrainRecord record)
    {
        LookAtPods();
        DateTimeOffset now = _time.GetUtcNow();
        TimeSpan left = now < record.Deadline ? record.Deadline - now : TimeSpan.Zero;
        foreach (Entry entry in _pods)
        {
            bool isDue = entry.BegunFor is not { } begunFor || record.Deadline < begunFor || entry.State.Phase == PodEndPhase.Failed;
            if (entry.State.Phase != PodEndPhase.Done && isDue)
            {
                entry.BegunFor = Begin(entry, left) ? record.Deadline : null;
            }
        }

        LookAtPods();
    }

    private bool Begin(Entry entry, TimeSpan left)
    {
        try
        {
            _teardown.BeginEnd(entry.Pod.SandboxId, left);
            return true;
        }
        catch (Exception exception)
        {
            _log.BeginFailed(exception, entry.Pod.Namespace, entry.Pod.Name, entry.Pod.SandboxId);
            return false;
        }
    }

    private void LookAtPods()
    {
        foreach (Entry entry in _pods)
        {
            // A sandbox that nobody knows any more was removed, by its caller perhaps; but not one that the backend has just listed.
            string sandboxId = entry.Pod.SandboxId;
            PodEndState state = _teardown.StateOf(sandboxId)
                ?? (_ready.Any(pod => pod.SandboxId == sandboxId) ? entry.State : new PodEndState(PodEndPhase.Done, [], "removed"));
            if (state.Phase == PodEndPhase.Done && entry.State.Phase != PodEndPhase.Done)
            {
                entry.EndedAt = _time.GetUtcNow();
                _log.PodEnded(entry.Pod.Namespace, entry.Pod.Name, entry.Pod.SandboxId);
            }
            else if (state.Phase == PodEndPhase.Failed && entry.ReportedFailure != state.Stage)
            {
                // It is tried again every second: the same reason is said once.
                entry.ReportedFailure = state.Stage;
                _log.PodFailed(entry.Pod.Namespace, entry.Pod.Name, entry.Pod.SandboxId, state.Stage);
            }

            entry.State = state;
        }
    }

    private sealed class Entry(PodToEnd pod)
    {
        public PodToEnd Pod { get; } = pod;

        public PodEndState State { get; set; } = new(PodEndPhase.Ending, [], "waiting");

        public DateTimeOffset? EndedAt { get; set; }

        public string? ReportedFailure { get; set; }

        /// <summary>The deadline that it was last begun with.</summary>
        public DateTimeOffset? BegunFor { get; set; }
    }
}
