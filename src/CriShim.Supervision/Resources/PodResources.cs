using CriShim.Supervision.Pods;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Resources;

/// <summary>A container as far as it counts for its pod's resources.</summary>
/// <param name="Role">What the pod's spec says it is.</param>
/// <param name="Kind">What supervision takes it for: an emulated sidecar is a plain init container to the kubelet, and runs on.</param>
/// <param name="Requests">Its requests.</param>
/// <param name="Limits">Its limits.</param>
public readonly record struct CountedContainer(ContainerRole Role, SidecarKind Kind, ResourceAmounts Requests, ResourceAmounts Limits);

/// <summary>
/// The resources of a pod by KEP-753's formula: the larger of what runs together once the pod is initialised (plain containers and
/// sidecars) and of the most that runs together before (an init container, and the sidecars that the spec has before it).
/// </summary>
public static class PodResources
{
    /// <summary>As the kubelet and the scheduler count: they take emulated sidecars for init containers that have ended.</summary>
    /// <param name="containers">Init containers in spec order, then the plain ones; ephemeral ones have no resources and do not count.</param>
    /// <param name="overhead">The runtime class's <c>overhead.podFixed</c>; it is added to what the containers have.</param>
    public static PodAmounts AsKubelet(IReadOnlyCollection<CountedContainer> containers, ResourceAmounts overhead = default) =>
        Total(containers, overhead, container => container.Role == ContainerRole.RestartableInit);

    /// <summary>As the containers truly run: emulated sidecars beside the plain containers, like native ones.</summary>
    /// <inheritdoc cref="AsKubelet" path="/param"/>
    public static PodAmounts AsRun(IReadOnlyCollection<CountedContainer> containers, ResourceAmounts overhead = default) =>
        Total(containers, overhead, container => container.Role == ContainerRole.RestartableInit || container.Kind == SidecarKind.Emulated);

    private static PodAmounts Total(
        IReadOnlyCollection<CountedContainer> containers, ResourceAmounts overhead, Func<CountedContainer, bool> isSidecar)
    {
        long? Count(Func<CountedContainer, long?> amount, bool isLimit, long? extra) =>
            TotalOf([.. containers.Where(c => c.Role != ContainerRole.Ephemeral).Select(c => (c.Role, isSidecar(c), amount(c)))], isLimit, extra);

        return new PodAmounts(
            new ResourceAmounts(
                Count(c => c.Requests.CpuMillis, false, overhead.CpuMillis), Count(c => c.Requests.MemoryBytes, false, overhead.MemoryBytes)),
            new ResourceAmounts(
                Count(c => c.Limits.CpuMillis, true, overhead.CpuMillis), Count(c => c.Limits.MemoryBytes, true, overhead.MemoryBytes)));
    }

    /// <summary>One resource. The kubelet takes a limit of 0 for none, as the API does.</summary>
    private static long? TotalOf((ContainerRole Role, bool IsSidecar, long? Amount)[] containers, bool isLimit, long? overhead)
    {
        if (isLimit ? containers.Any(c => c.Amount is not > 0) || containers.Length == 0 : containers.All(c => c.Amount is null) && overhead is null)
        {
            return null;
        }

        long most = MostAtOneTime(containers.Select(c => (PartOf(c.Role, c.IsSidecar), Math.Max(0, c.Amount ?? 0))));
        return Sum(most, Math.Max(0, overhead ?? 0));
    }

    private static PodPart PartOf(ContainerRole role, bool isSidecar) =>
        role == ContainerRole.Plain ? PodPart.Main : isSidecar ? PodPart.Sidecar : PodPart.Init;

    /// <summary>The formula itself, of one resource in any unit.</summary>
    /// <param name="containers">Init containers in spec order, then the plain ones; no amount is negative.</param>
    public static long MostAtOneTime(IEnumerable<(PodPart Part, long Amount)> containers)
    {
        long together = 0;
        long sidecars = 0;
        long initial = 0;
        foreach ((PodPart part, long amount) in containers)
        {
            switch (part)
            {
                case PodPart.Main:
                    together = Sum(together, amount);
                    break;
                case PodPart.Sidecar:
                    together = Sum(together, amount);
                    sidecars = Sum(sidecars, amount);
                    initial = Math.Max(initial, sidecars);
                    break;
                default:
                    initial = Math.Max(initial, Sum(sidecars, amount));
                    break;
            }
        }

        return Math.Max(together, initial);
    }

    // Numbers are a pod author's: what is too large stays too large.
    private static long Sum(long a, long b) => a > long.MaxValue - b ? long.MaxValue : a + b;
}
