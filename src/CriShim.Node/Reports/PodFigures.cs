using CriShim.Protocol.Admin.V1;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Node.Reports;

/// <summary>What containers and pods ask for, and may use, as far as CRI tells.</summary>
internal static class PodFigures
{
    /// <summary>The cgroup's least, which the kubelet gives a container that requests nothing.</summary>
    private const long LeastShares = 2;

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

    /// <summary>
    /// A pod's, by KEP-753: the most that is needed at one time, where sidecars among the init containers stay beside all that comes
    /// after them.
    /// </summary>
    /// <param name="containers">In spec order, init containers first.</param>
    public static Resources Sum(IEnumerable<(PodPart Part, Resources Figures)> containers)
    {
        (PodPart Part, Resources Figures)[] all = [.. containers];
        var sum = new Resources();
        if (Sum(all, static figures => figures.HasCpuRequest ? figures.CpuRequest : null) is { } request)
        {
            sum.CpuRequest = request;
        }

        if (Sum(all, static figures => figures.HasCpuLimit ? figures.CpuLimit : null) is { } limit)
        {
            sum.CpuLimit = limit;
        }

        if (Sum(all, static figures => figures.HasMemoryLimit ? figures.MemoryLimit : null) is { } memory)
        {
            sum.MemoryLimit = (long)memory;
        }

        return sum;
    }

    /// <summary>Null as soon as one container has none: then the pod has none, or it is not known.</summary>
    private static double? Sum((PodPart Part, Resources Figures)[] containers, Func<Resources, double?> field)
    {
        double sidecars = 0;
        double most = 0;
        double mains = 0;
        foreach ((PodPart part, Resources figures) in containers)
        {
            if (field(figures) is not { } value)
            {
                return null;
            }

            switch (part)
            {
                case PodPart.Sidecar:
                    sidecars += value;
                    most = Math.Max(most, sidecars);
                    break;
                case PodPart.Init:
                    most = Math.Max(most, sidecars + value);
                    break;
                default:
                    mains += value;
                    break;
            }
        }

        return containers.Length == 0 ? null : Math.Round(Math.Max(most, sidecars + mains), 6);
    }
}

/// <summary>What a container counts as in its pod's figures.</summary>
internal enum PodPart
{
    /// <summary>Runs to completion before what comes after it.</summary>
    Init,

    /// <summary>An init container that stays.</summary>
    Sidecar,

    /// <summary>Runs beside the other mains; adopted sidecars do, too.</summary>
    Main,
}
