using CriShim.Containerd.Events;
using CriShim.Containerd.Runtime;
using CriShim.Node.State;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using ContainerExited = CriShim.Supervision.Supervisor.ContainerExited;

namespace CriShim.Node;

/// <content>Watching the backend: its events, and its lists.</content>
public sealed partial class NodeSupervision
{
    private async Task ConsumeEventsAsync()
    {
        await foreach (BackendEvent happened in _events.Reader.ReadAllAsync(Stopping).ConfigureAwait(false))
        {
            switch (happened)
            {
                case Connected:
                    Log.EventsState("connected");
                    await RelistAllUntilDoneAsync().ConfigureAwait(false);
                    break;
                case Gap gap:
                    Log.EventsState($"gap, {gap.Reason}");
                    break;
                case Containerd.Events.ContainerExited exited:
                    var exit = new ContainerExit((int)exited.ExitCode, exited.OomSeen, exited.ExitedAt);
                    NoteEnd(exited.ContainerId, exit);
                    Tell(exited.ContainerId, new ContainerExited(exited.ContainerId, exit));
                    break;
                default:
                    break;
            }
        }
    }

    /// <summary>How an instance ended, whatever follows from it.</summary>
    internal void NoteEnd(string containerId, ContainerExit exit)
    {
        if (_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            Journal.Ended(container.Pod.Identity.InJournal, container.Name, containerId, container.Attempt, exit);
        }
    }

    private async Task RelistAtIntervalsAsync()
    {
        using var timer = new PeriodicTimer(Options.RelistInterval, Time);
        while (await timer.WaitForNextTickAsync(Stopping).ConfigureAwait(false))
        {
            if (_clock.CatchUp(() => _pods.Values.Any(pod => pod.HasTimer)) is { Ticks: > 0 } skipped)
            {
                Log.ClockWasSet(skipped.TotalSeconds);
            }

            await RelistAllAsync().ConfigureAwait(false);
        }
    }

    private readonly SemaphoreSlim _relisting = new(1);

    /// <summary>
    /// containerd's events are there before its CRI is, and what died meanwhile should not wait for the next interval. Events wait
    /// behind this: nothing can be done about them either.
    /// </summary>
    private async Task RelistAllUntilDoneAsync()
    {
        TimeSpan delay = FirstRelistDelay;
        while (!await RelistAllAsync().ConfigureAwait(false))
        {
            await Task.Delay(delay, Time, Stopping).ConfigureAwait(false);
            delay = delay * 2 < LongestRelistDelay ? delay * 2 : LongestRelistDelay;
        }
    }

    private async Task<bool> RelistAllAsync()
    {
        await _relisting.WaitAsync(Stopping).ConfigureAwait(false);
        try
        {
            DateTimeOffset askedAt = Now;
            CallResult<ListPodSandboxResponse> sandboxes = await _backend.ListPodSandboxAsync(null, Stopping).ConfigureAwait(false);
            CallResult<ListContainersResponse> containers = await _backend.ListContainersAsync(null, Stopping).ConfigureAwait(false);
            if (sandboxes.Value is null || containers.Value is null)
            {
                Log.ListFailed(sandboxes.Failure ?? containers.Failure!);
                return false;
            }

            Volatile.Write(ref _listedAt, Time.GetTimestamp());
            Store.ForgetLeft();
            Tell(askedAt, sandboxes.Value.Items, containers.Value.Containers);
            if (!_known.Task.IsCompleted)
            {
                Log.NodeKnown(sandboxes.Value.Items.Count, containers.Value.Containers.Count, _stored!.Count);
                _stored = new Dictionary<string, StoredSandbox>();
                _known.SetResult();
                _stoppedUnknown.Clear();
                _sandboxesStoppedUnknown.Clear();
            }

            return true;
        }
        finally
        {
            _ = _relisting.Release();
        }
    }

    private void Tell(DateTimeOffset askedAt, IReadOnlyCollection<PodSandbox> sandboxes, IReadOnlyCollection<Container> containers)
    {
        ILookup<string, Container> bySandbox = containers.ToLookup(container => container.PodSandboxId, StringComparer.Ordinal);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (PodSandbox sandbox in sandboxes)
        {
            _ = seen.Add(sandbox.Id);
            SupervisedPod pod = GetOrAdd(sandbox.Id, sandbox.Metadata, sandbox.Annotations);
            SandboxSnapshot snapshot = SnapshotOf(pod, sandbox.State == PodSandboxState.SandboxReady, askedAt, bySandbox[sandbox.Id]);
            if (_known.Task.IsCompleted)
            {
                Tell(pod, new SandboxRelisted(snapshot));
            }
            else
            {
                Rebuild(pod, snapshot);
            }
        }

        foreach ((string sandboxId, SupervisedPod pod) in _pods)
        {
            // One that was run while the list was made is in the next one.
            if (!seen.Contains(sandboxId) && pod.AddedAt < askedAt)
            {
                Tell(pod, new SandboxGone());
            }
        }

        foreach (string sandboxId in _stored!.Keys.Where(id => !seen.Contains(id)))
        {
            Store.Forget(sandboxId);
        }
    }

    /// <summary>Also where a caller's call was quicker than the first list, and made the pod known without its records.</summary>
    private void Rebuild(SupervisedPod pod, SandboxSnapshot snapshot)
    {
        string sandboxId = pod.Identity.SandboxId;
        StoredSandbox? stored = _stored!.GetValueOrDefault(sandboxId);
        PodFacts? facts = FactsOf(pod.Identity) ?? Store.ReadFacts(sandboxId);
        (string Id, TimeSpan Timeout)[] stopped =
            [.. snapshot.Containers.Where(seen => _stoppedUnknown.ContainsKey(seen.Id)).Select(seen => (seen.Id, _stoppedUnknown[seen.Id]))];
        bool isStopped = _sandboxesStoppedUnknown.ContainsKey(sandboxId);
        foreach (SeenContainer seen in snapshot.Containers)
        {
            Journal.Found(pod.Identity.InJournal, seen.Name, seen.Id, seen.Attempt, seen.CreatedAt, seen.State == BackendState.Running);
        }

        try
        {
            pod.Rebuild(stored, snapshot, facts, stopped, isStopped);
        }
        catch (Exception exception) when (stored is not null)
        {
            // Records of a crishim with a fault, or that somebody else wrote: one sandbox's must not keep the others from theirs.
            Log.StepFailed(exception, sandboxId, "its records");
            pod.Rebuild(null, snapshot, facts, stopped, isStopped);
        }
    }

    private SandboxSnapshot SnapshotOf(SupervisedPod pod, bool ready, DateTimeOffset askedAt, IEnumerable<Container> containers)
    {
        var seen = new List<SeenContainer>();
        TimeSpan? grace = null;
        foreach (Container container in containers)
        {
            if (container.Metadata is not { } metadata)
            {
                continue;
            }

            Track(container.Id, pod, metadata.Name, (int)metadata.Attempt, container.Annotations);
            grace ??= GraceOf(container.Annotations);
            BackendState state = container.State switch
            {
                ContainerState.ContainerCreated => BackendState.Created,
                ContainerState.ContainerRunning => BackendState.Running,
                ContainerState.ContainerExited => BackendState.Exited,
                _ => BackendState.Unknown,
            };
            seen.Add(new SeenContainer(
                container.Id, metadata.Name, (int)metadata.Attempt, state, DateTimeOffset.UnixEpoch.AddTicks(container.CreatedAt / 100)));
        }

        return new SandboxSnapshot(ready, askedAt, seen, grace);
    }
}
