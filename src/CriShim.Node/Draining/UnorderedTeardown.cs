using System.Collections.Concurrent;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Node.Draining;

/// <summary>Ends a pod without an order: all its containers get the same grace at once, then its sandbox is stopped.</summary>
internal sealed class UnorderedTeardown(RuntimeAdapter backend, TimeProvider time, CancellationToken stopping) : IPodTeardown
{
    private readonly ConcurrentDictionary<string, PodEndState> _states = new(StringComparer.Ordinal);

    public async Task<IReadOnlyList<PodToEnd>?> ListReadyPodsAsync(CancellationToken cancellationToken)
    {
        CallResult<ListPodSandboxResponse> listed = await backend.ListPodSandboxAsync(null, cancellationToken).ConfigureAwait(false);
        return listed.Value is not { } sandboxes
            ? null
            :
            [
                .. sandboxes.Items.Where(sandbox => sandbox.State == PodSandboxState.SandboxReady)
                    .Select(sandbox => new PodToEnd(sandbox.Id, sandbox.Metadata?.Namespace ?? "", sandbox.Metadata?.Name ?? "")),
            ];
    }

    public void BeginEnd(string sandboxId, TimeSpan grace)
    {
        var begun = new PodEndState(PodEndPhase.Ending, [], "containers");
        if (_states.TryAdd(sandboxId, begun)
            || (_states[sandboxId] is { Phase: PodEndPhase.Failed } failed && _states.TryUpdate(sandboxId, begun, failed)))
        {
            _ = Task.Run(() => EndAsync(sandboxId, grace), CancellationToken.None);
        }
    }

    public PodEndState? StateOf(string sandboxId) => _states.GetValueOrDefault(sandboxId);

    private async Task EndAsync(string sandboxId, TimeSpan grace)
    {
        long began = time.GetTimestamp();
        CallResult<ListContainersResponse> listed = await backend
            .ListContainersAsync(new ContainerFilter { PodSandboxId = sandboxId }, stopping).ConfigureAwait(false);
        Container[] running = [.. listed.Value?.Containers.Where(container => container.State == ContainerState.ContainerRunning) ?? []];
        _states[sandboxId] = new PodEndState(PodEndPhase.Ending, [.. running.Select(container => container.Metadata.Name)], "containers");
        TimeSpan left = grace - time.GetElapsedTime(began);
        _ = await Task.WhenAll(running.Select(container => backend.StopContainerAsync(container.Id, left, stopping))).ConfigureAwait(false);
        _states[sandboxId] = new PodEndState(PodEndPhase.Ending, [], "sandbox");
        CallResult<StopPodSandboxResponse> stopped = await backend.StopPodSandboxAsync(sandboxId, stopping).ConfigureAwait(false);
        _states[sandboxId] = stopped.IsOk || stopped.Failure?.Kind == FailureKind.NotFound
            ? new PodEndState(PodEndPhase.Done, [], "ended")
            : new PodEndState(PodEndPhase.Failed, [], $"StopPodSandbox failed: {stopped.Failure}");
    }
}
