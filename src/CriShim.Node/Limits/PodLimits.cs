using CriShim.Linux.Cgroups;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.Supervision.Sidecars;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Limits;

/// <summary>A pod with masked containers, as far as its limits are concerned.</summary>
/// <param name="Pod">The pod.</param>
/// <param name="Facts">Its spec; null while nobody knows it.</param>
/// <param name="Emulated">Its annotation's emulated sidecars, those that have not started yet, too.</param>
/// <param name="CgroupParent">CRI's <c>linux.cgroup_parent</c>.</param>
internal sealed record LimitedPod(PodIdentity Pod, PodFacts? Facts, IReadOnlySet<string> Emulated, string CgroupParent);

/// <summary>
/// Raises the limits of pods' cgroups to what their containers have together: the kubelet counts an emulated sidecar as an init container,
/// which has ended when the main ones start.
/// </summary>
/// <remarks>
/// Nothing is remembered: what is wanted comes from the spec, what is there from the cgroup. So it does not matter who wrote there last (the
/// kubelet does after a resize), and what is larger than wanted stays. The cgroup goes with its pod, and the limits with it. Requests (CPU
/// shares) and the sandbox's place on the node are the scheduler's, and stay as they are.
/// </remarks>
internal sealed class PodLimits(
    Func<IReadOnlyList<LimitedPod>> pods, ILogger logger, TimeProvider time, string cgroupRoot = "/sys/fs/cgroup", string systemctl = "systemctl")
{
    private const int LooksAfterSystemd = 6;

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(100);

    private readonly ToldFailures _told = new();

    /// <summary>One look at each of them.</summary>
    public async Task RaiseAllAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<LimitedPod> all = pods();
        _told.Keep(all.Select(pod => pod.Pod.SandboxId));

        foreach (LimitedPod pod in all)
        {
            string? failure;
            try
            {
                failure = await RaiseAsync(pod, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failure = e.Message;
            }

            if (_told.IsNews(pod.Pod.SandboxId, failure))
            {
                logger.LimitsNotRaised(pod.Pod.Namespace, pod.Pod.Name, failure!);
            }
        }
    }

    /// <summary>What the pod's containers have together.</summary>
    internal static ResourceAmounts Wanted(PodFacts facts, IReadOnlySet<string> emulated) => PodResources.AsRun(
        [
            .. facts.Containers.Select(c => new CountedContainer(
                c.Role, c.Role == ContainerRole.Init && emulated.Contains(c.Name) ? SidecarKind.Emulated : SidecarKind.None, c.Requests, c.Limits)),
        ],
        facts.Overhead).Limits;

    /// <returns>What went wrong; null when nothing did.</returns>
    private async Task<string?> RaiseAsync(LimitedPod pod, CancellationToken cancellationToken)
    {
        if (pod.Facts is not { } facts)
        {
            return "no pod spec source tells its containers' limits";
        }

        // Limits that the spec gives to the pod as a whole are its author's word on it.
        if (facts.HasPodResources)
        {
            return null;
        }

        if (PodCgroup.Find(pod.CgroupParent, pod.Pod.Uid, cgroupRoot) is not { } cgroup)
        {
            return "it has no cgroup of its own that is known";
        }

        CgroupLimits now = cgroup.Read();
        CgroupLimits raised = MissingFrom(now);
        if (raised == default)
        {
            return null;
        }

        if (cgroup.Unit is { } unit)
        {
            string? failure = await SystemdSlice.SetAsync(systemctl, SystemdSlice.Arguments(unit, raised, cgroup.IsUnified), cancellationToken)
                .ConfigureAwait(false);
            if (failure is not null)
            {
                return failure;
            }

            // systemd answers first and writes then; where it does not manage these controllers it never does.
            for (int looks = 1; MissingFrom(cgroup.Read()) != default; looks++)
            {
                if (looks == LooksAfterSystemd)
                {
                    return $"systemd took the limits of {unit}, and its cgroup does not have them";
                }

                await Task.Delay(BetweenLooks, time, cancellationToken).ConfigureAwait(false);
            }
        }
        else
        {
            cgroup.Write(raised);
        }

        logger.LimitsRaised(
            pod.Pod.Namespace, pod.Pod.Name, now.CpuMillis, raised.CpuMillis ?? now.CpuMillis, now.MemoryBytes, raised.MemoryBytes ?? now.MemoryBytes);
        return null;

        CgroupLimits MissingFrom(CgroupLimits limits) =>
            LimitRaise.Of(Wanted(facts, pod.Emulated), limits, cgroup.ReadAbove(), Environment.SystemPageSize);
    }
}

/// <summary>Log events of raised limits.</summary>
internal static partial class PodLimitsLog
{
    [LoggerMessage(375, LogLevel.Information,
        "Limits of pod {Namespace}/{Pod} are raised for its emulated sidecars: CPU {CpuBefore} to {Cpu} millis, memory {MemoryBefore} to {Memory} bytes")]
    public static partial void LimitsRaised(
        this ILogger log, string @namespace, string pod, long? cpuBefore, long? cpu, long? memoryBefore, long? memory);

    [LoggerMessage(376, LogLevel.Warning, "Limits of pod {Namespace}/{Pod} are not raised for its emulated sidecars: {Failure}")]
    public static partial void LimitsNotRaised(this ILogger log, string @namespace, string pod, string failure);
}
