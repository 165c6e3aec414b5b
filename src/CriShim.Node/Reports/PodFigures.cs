using CriShim.Protocol.Admin.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Resources;

namespace CriShim.Node.Reports;

/// <summary>What containers and pods ask for, and may use, as far as CRI tells.</summary>
internal static class PodFigures
{
    /// <summary>The cgroup's least, which the kubelet gives a container that requests nothing.</summary>
    private const long LeastShares = 2;

    /// <summary>A quota of a period is no finer than this.</summary>
    private const double PerUnit = 1e6;

    /// <summary>Figures of one container.</summary>
    /// <param name="created">As its create said.</param>
    /// <param name="updated">The last update, merged; null without one.</param>
    public static Resources Of(LinuxContainerResources? created, LinuxContainerResources? updated)
    {
        long Pick(Func<LinuxContainerResources, long> field) =>
            updated is not null && field(updated) != 0 ? field(updated) : created is null ? 0 : field(created);

        var figures = new Resources();
        if (created is null && updated is null)
        {
            return figures;
        }

        long shares = Pick(static resources => resources.CpuShares);
        figures.CpuRequest = shares <= LeastShares ? 0 : Math.Ceiling(shares * 1000 / 1024.0) / 1000;
        long quota = Pick(static resources => resources.CpuQuota);
        long period = Pick(static resources => resources.CpuPeriod);
        if (quota > 0 && period > 0)
        {
            figures.CpuLimit = (double)quota / period;
        }

        long memory = Pick(static resources => resources.MemoryLimitInBytes);
        if (memory > 0)
        {
            figures.MemoryLimit = memory;
        }

        return figures;
    }

    /// <summary>A pod's, by KEP-753's formula, see <see cref="PodResources"/>.</summary>
    /// <param name="containers">In spec order, init containers first.</param>
    public static Resources Sum(IEnumerable<(PodPart Part, Resources Figures)> containers)
    {
        (PodPart Part, Resources Figures)[] all = [.. containers];
        var sum = new Resources();
        if (Sum(all, static figures => figures.HasCpuRequest ? Micro(figures.CpuRequest) : null) is { } request)
        {
            sum.CpuRequest = request / PerUnit;
        }

        if (Sum(all, static figures => figures.HasCpuLimit ? Micro(figures.CpuLimit) : null) is { } limit)
        {
            sum.CpuLimit = limit / PerUnit;
        }

        if (Sum(all, static figures => figures.HasMemoryLimit ? figures.MemoryLimit : null) is { } memory)
        {
            sum.MemoryLimit = memory;
        }

        return sum;
    }

    private static long Micro(double cpus) => (long)Math.Round(cpus * PerUnit);

    /// <summary>Null as soon as one container has none: then the pod has none, or it is not known.</summary>
    private static long? Sum((PodPart Part, Resources Figures)[] containers, Func<Resources, long?> field) =>
        containers.Length == 0 || containers.Any(container => field(container.Figures) is null)
            ? null
            : PodResources.MostAtOneTime(containers.Select(container => (container.Part, field(container.Figures)!.Value)));
}
