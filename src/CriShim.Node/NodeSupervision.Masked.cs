using CriShim.Linux.Files;
using CriShim.Node.Logs;
using CriShim.Node.Limits;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;

namespace CriShim.Node;

/// <content>What a kubelet does for running containers, and not for those that it is told have completed.</content>
public sealed partial class NodeSupervision
{
    private readonly ILogger _logger;
    private volatile TaskCompletionSource _maskBegan = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>One more container is shown as completed, and runs: its pod is to be looked at soon.</summary>
    internal void OnMaskBegan() => _ = _maskBegan.TrySetResult();

    private Task CareForMaskedAsync()
    {
        var rotation = new LogRotation(Options.LogRotation, MaskedContainers, _backend, new ContainerFiles(Options.Files), _logger, Time);
        return Options.PodResources == PodResourcesMode.Raise
            ? Task.WhenAll(rotation.RunAsync(Stopping), RaiseLimitsAtIntervalsAsync(new PodLimits(LimitedPods, _logger, Time)))
            : rotation.RunAsync(Stopping);
    }

    private async Task RaiseLimitsAtIntervalsAsync(PodLimits limits)
    {
        while (true)
        {
            TaskCompletionSource began = _maskBegan;
            await began.Task.WaitAsync(Options.RelistInterval, Time, Stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            Stopping.ThrowIfCancellationRequested();
            if (began.Task.IsCompleted)
            {
                // Before the look: what begins from here on is another reason for one.
                _maskBegan = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            await limits.RaiseAllAsync(Stopping).ConfigureAwait(false);
        }
    }

    private IReadOnlyList<LimitedPod> LimitedPods() =>
    [
        .. MaskedContainers().GroupBy(container => container.Pod).Select(containers =>
        {
            PodIdentity pod = containers.Key;
            PodFacts? facts = FactsOf(pod) ?? Store.ReadFacts(pod.SandboxId);
            // Those that have not started yet, too: the spec says what the pod will have together.
            HashSet<string> emulated = _pods.TryGetValue(pod.SandboxId, out SupervisedPod? supervised)
                ? [.. supervised.Annotation.Sidecars.Select(sidecar => sidecar.Name)]
                : [.. containers.Select(container => container.Name)];
            string? parent = containers
                .Select(container => Store.ReadCreateRequest(pod.SandboxId, container.Name)?.SandboxConfig?.Linux?.CgroupParent)
                .FirstOrDefault(path => path is { Length: > 0 });
            return new LimitedPod(pod, facts, emulated, parent ?? "");
        }),
    ];
}
