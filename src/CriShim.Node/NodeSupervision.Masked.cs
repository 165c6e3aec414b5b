using CriShim.Linux.Files;
using CriShim.Node.Logs;
using CriShim.Node.Resources;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;

namespace CriShim.Node;

/// <content>What a kubelet does for running containers, and not for those that it is told have completed.</content>
public sealed partial class NodeSupervision
{
    private readonly ILogger _logger;

    private Task CareForMaskedAsync()
    {
        var rotation = new LogRotation(Options.LogRotation, MaskedContainers, _backend, new ContainerFiles(Options.Files), _logger, Time);
        return Options.PodResources == PodResourcesMode.Raise
            ? Task.WhenAll(rotation.RunAsync(Stopping), RaiseLimitsAtIntervalsAsync(new PodLimits(LimitedPods, _logger)))
            : rotation.RunAsync(Stopping);
    }

    private async Task RaiseLimitsAtIntervalsAsync(PodLimits limits)
    {
        using var timer = new PeriodicTimer(Options.RelistInterval, Time);
        while (await timer.WaitForNextTickAsync(Stopping).ConfigureAwait(false))
        {
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
