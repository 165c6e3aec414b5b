using CriShim.Containerd.Requests;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision.Supervisor;
using Grpc.Core;

namespace CriShim.Node;

/// <content>What callers' calls ask and tell.</content>
public sealed partial class NodeSupervision
{
    /// <summary>A kubelet's RemoveContainer takes at most this long.</summary>
    private static readonly TimeSpan LongestRemovalHold = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan RemovalMargin = TimeSpan.FromSeconds(10);

    /// <inheritdoc/>
    public async Task ReadyAsync(CancellationToken cancellationToken)
    {
        await WaitUntilKnownAsync(cancellationToken).ConfigureAwait(false);
        if (MayHide)
        {
            // Something may be hidden that a list would show (rule 21): better no answer than a wrong one.
            throw new RpcException(new Status(StatusCode.Unavailable, "crishim has started and does not know the node yet"));
        }
    }

    /// <inheritdoc/>
    public string CurrentInstance(string containerId) =>
        _containers.TryGetValue(containerId, out TrackedContainer? container) ? container.Pod.CurrentInstance(containerId) : containerId;

    /// <inheritdoc/>
    public void BeforeRunPodSandbox() => Drain.RefuseWhileDraining();

    /// <inheritdoc/>
    public void OnPodSandboxRan(string sandboxId, PodSandboxConfig? config) =>
        _ = GetOrAdd(sandboxId, config?.Metadata, config?.Annotations);

    /// <inheritdoc/>
    public async Task<CreateAnswer> BeforeCreateAsync(CreateContainerRequest request, CancellationToken cancellationToken)
    {
        await WaitUntilKnownAsync(cancellationToken).ConfigureAwait(false);
        Drain.RefuseWhileDraining();
        if (NameOf(request) is not { } name)
        {
            return default;
        }

        SupervisedPod pod = GetOrAdd(request.PodSandboxId, request.SandboxConfig?.Metadata, request.SandboxConfig?.Annotations);
        CreateContainerRequest? recorded = Store.ReadCreateRequest(request.PodSandboxId, name);
        bool equalsOurs = recorded is not null
            && ReplacementRequest.IsSameButForCounters(request, recorded, Store.ReadResources(request.PodSandboxId, name)?.Linux);
        int attempt = (int)request.Config.Metadata.Attempt;
        CreateVerdict verdict = await AskAsync(
            pod, (supervisor, mayWait, now) => supervisor.ArbitrateCreate(name, attempt, equalsOurs, mayWait, now), DateTime.MaxValue, null,
            cancellationToken).ConfigureAwait(false);
        switch (verdict.Verdict)
        {
            case Verdict.Answer:
                return new CreateAnswer(verdict.ContainerId);
            case Verdict.Refuse:
                throw IsEnding(request.PodSandboxId);
            default:
                foreach (string ours in verdict.RemoveFirst)
                {
                    await Replacements.RemoveAsync(pod, new RemoveInstance(name, ours, RemovalReason.ReplacementNotWanted)).ConfigureAwait(false);
                }

                RecordAhead(request, name, recorded);
                return default;
        }
    }

    /// <inheritdoc/>
    public void OnCreated(CreateContainerRequest request, string containerId)
    {
        if (NameOf(request) is not { } name || !_pods.TryGetValue(request.PodSandboxId, out SupervisedPod? pod))
        {
            return;
        }

        int attempt = (int)request.Config.Metadata.Attempt;
        Track(containerId, pod, name, attempt, request.Config.Annotations);
        _ = _replacedRequests.TryRemove((request.PodSandboxId, name), out _);
        if (GraceOf(request.Config.Annotations) is { } grace)
        {
            pod.Tell(new GraceTold(grace));
        }

        pod.Tell(new ContainerCreated(containerId, name, attempt, Now));
    }

    /// <inheritdoc/>
    public void OnCreateFailed(CreateContainerRequest request, bool isOutcomeKnown)
    {
        if (NameOf(request) is not { } name || !_pods.TryGetValue(request.PodSandboxId, out SupervisedPod? pod))
        {
            return;
        }

        if (_replacedRequests.TryRemove((request.PodSandboxId, name), out RequestsBefore? before) && isOutcomeKnown)
        {
            Restore(request.PodSandboxId, name, before);
        }

        pod.Tell(new CallerCreateFailed(name));
    }

    /// <inheritdoc/>
    public async Task<bool> BeforeStartAsync(string containerId, DateTime deadline, CancellationToken cancellationToken)
    {
        TimeSpan? patience = PatienceOf(deadline);
        await WaitUntilKnownAsync(cancellationToken).ConfigureAwait(false);
        Drain.RefuseWhileDraining();
        if (!_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            return false;
        }

        string sandboxId = container.Pod.Identity.SandboxId;
        CallVerdict verdict = await AskAsync(
            container.Pod, (supervisor, _, now) => supervisor.ArbitrateStart(containerId, patience, now), deadline,
            () => Journal.StartHeld(container.Pod.Identity.InJournal, container.Name, containerId), cancellationToken).ConfigureAwait(false);
        return verdict.Verdict == Verdict.Refuse ? throw IsEnding(sandboxId) : verdict.Verdict == Verdict.Answer;
    }

    /// <inheritdoc/>
    public void OnStarted(string containerId)
    {
        if (_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            Journal.Started(container.Pod.Identity.InJournal, container.Name, containerId, container.Attempt, isReplacement: false);
            Tell(container.Pod, new ContainerStarted(containerId, Now));
        }
    }

    /// <inheritdoc/>
    public async Task<string> BeforeStopAsync(string containerId, TimeSpan timeout, DateTime deadline, CancellationToken cancellationToken)
    {
        await WaitUntilKnownAsync(cancellationToken).ConfigureAwait(false);
        if (!_known.Task.IsCompleted)
        {
            // It goes through without being arbitrated; the record may not know, but the caller owns it from here on (rule 5).
            _stoppedUnknown[containerId] = timeout;
        }

        if (!_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            return containerId;
        }

        StopVerdict verdict = await AskAsync(
            container.Pod, (supervisor, mayWait, now) => supervisor.ArbitrateStop(containerId, timeout, mayWait, now), deadline,
            () => Journal.StopHeld(container.Pod.Identity.InJournal, container.Name, containerId), cancellationToken).ConfigureAwait(false);
        return verdict.ContainerId;
    }

    /// <inheritdoc/>
    public void OnStopped(string containerId) => Tell(containerId, new StopAnswered(containerId, true));

    /// <inheritdoc/>
    public void OnExec(string containerId, IReadOnlyList<string> command, bool isRunning)
    {
        if (_containers.TryGetValue(containerId, out TrackedContainer? container) && container.Hook is { } hook
            && hook.IsCommand && hook.Command.SequenceEqual(command, StringComparer.Ordinal))
        {
            Tell(container.Pod, new CallerHook(containerId, isRunning));
        }
    }

    /// <inheritdoc/>
    public async Task BeforeRemoveAsync(string containerId, DateTime deadline, CancellationToken cancellationToken)
    {
        // A container that only seems to have completed would be killed (rule 21).
        await ReadyAsync(cancellationToken).ConfigureAwait(false);
        if (_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            PodIdentity pod = container.Pod.Identity;
            bool isHeld = false;
            _ = await AskAsync(
                container.Pod, (supervisor, _, now) => supervisor.ArbitrateRemove(containerId, now), HeldUntil(deadline),
                () =>
                {
                    isHeld = true;
                    Journal.RemovalHeld(pod.InJournal, container.Name, containerId);
                },
                cancellationToken,
                () =>
                {
                    if (!isHeld)
                    {
                        Journal.RemovalRefused(pod.InJournal, container.Name, containerId);
                    }

                    return new RpcException(new Status(
                        StatusCode.Unavailable,
                        $"container \"{containerId}\" of pod sandbox \"{pod.SandboxId}\" still runs, and is removed once it has ended in its turn: "
                        + "try again"));
                }).ConfigureAwait(false);
        }
    }

    /// <summary>Rule 22: what is held ends well before its caller gives up; one that never does waits as long as a kubelet.</summary>
    private DateTime HeldUntil(DateTime deadline)
    {
        TimeSpan patience = PatienceOf(deadline) is { } told && told < LongestRemovalHold ? told : LongestRemovalHold;
        TimeSpan margin = patience / 4 < RemovalMargin ? patience / 4 : RemovalMargin;
        return (Now + patience - margin).UtcDateTime;
    }

    /// <inheritdoc/>
    public void OnRemoved(string containerId) => Tell(containerId, new ContainerRemoved(containerId));

    /// <inheritdoc/>
    public void OnResourcesUpdated(UpdateContainerResourcesRequest request)
    {
        if (request.Linux is not null && _containers.TryGetValue(request.ContainerId, out TrackedContainer? container))
        {
            string sandboxId = container.Pod.Identity.SandboxId;
            UpdateContainerResourcesRequest merged = request.Clone();
            merged.Linux = ReplacementRequest.MergeResources(Store.ReadResources(sandboxId, container.Name)?.Linux, request.Linux);
            _ = Store.WriteResources(sandboxId, container.Name, merged);
            container.Pod.Tell(new ResourcesUpdated(request.ContainerId));
        }
    }

    /// <inheritdoc/>
    public async Task<bool> BeforeStopSandboxAsync(string sandboxId, DateTime deadline, CancellationToken cancellationToken)
    {
        // By its whole time, not by what is left of it when it is asked again.
        TimeSpan? patience = PatienceOf(deadline);
        await WaitUntilKnownAsync(cancellationToken).ConfigureAwait(false);
        if (!_known.Task.IsCompleted)
        {
            _sandboxesStoppedUnknown[sandboxId] = true;
        }

        if (!_pods.TryGetValue(sandboxId, out SupervisedPod? pod))
        {
            return false;
        }

        pod.OnSandboxStopCaller();
        try
        {
            _ = await AskAsync(
                pod, (supervisor, mayWait, now) => supervisor.ArbitrateSandboxStop(patience, mayWait, now), deadline,
                () => Journal.SandboxStopHeld(pod.Identity.InJournal), cancellationToken).ConfigureAwait(false);
            await pod.OwnSandboxStop.WaitAsync(cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch
        {
            pod.OnSandboxStopCallerGone(isStopped: false);
            throw;
        }
    }

    /// <inheritdoc/>
    public void OnStopSandboxEnded(string sandboxId, bool isStopped)
    {
        if (_pods.TryGetValue(sandboxId, out SupervisedPod? pod))
        {
            pod.OnSandboxStopCallerGone(isStopped);
        }
    }

    /// <inheritdoc/>
    public void OnPodSandboxRemoved(string sandboxId)
    {
        if (_pods.TryGetValue(sandboxId, out SupervisedPod? pod))
        {
            pod.Tell(new SandboxGone());
        }
    }

    /// <inheritdoc/>
    public ShownContainer? Show(string containerId, string sandboxId, string name, uint attempt) =>
        PodOf(containerId, sandboxId, ref name, ref attempt)?.Show(containerId, name, (int)attempt);

    /// <inheritdoc/>
    public ShownContainer? See(string containerId, string sandboxId, string name, uint attempt, ContainerState said) =>
        PodOf(containerId, sandboxId, ref name, ref attempt)?.See(containerId, name, (int)attempt, said);

    /// <inheritdoc/>
    public event Action<string>? ViewChanged;

    /// <inheritdoc/>
    public event Action<ContainerEventResponse>? EndMade;

    /// <inheritdoc/>
    public string? SandboxOf(string containerId) =>
        _containers.TryGetValue(containerId, out TrackedContainer? container) ? container.Pod.Identity.SandboxId : null;

    /// <inheritdoc/>
    public string? SandboxOfPod(string podUid) =>
        _pods.Values.FirstOrDefault(pod => pod.RewritesViews && pod.Identity.Uid == podUid)?.Identity.SandboxId;

    /// <summary>The pod of a container; an event of a container that is gone has neither its name nor its attempt.</summary>
    private SupervisedPod? PodOf(string containerId, string sandboxId, ref string name, ref uint attempt)
    {
        if (!_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            return _pods.GetValueOrDefault(sandboxId);
        }

        (name, attempt) = (container.Name, (uint)container.Attempt);
        return container.Pod;
    }
}
