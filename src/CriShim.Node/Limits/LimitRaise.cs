using CriShim.Linux.Cgroups;
using CriShim.Supervision.Resources;

namespace CriShim.Node.Limits;

/// <summary>Which limits of a pod's cgroup are to be written.</summary>
internal static class LimitRaise
{
    /// <summary>Null where a limit stays as it is: there is none, it is large enough, or what the cgroup is in allows no more.</summary>
    /// <param name="wanted">Of the pod, as its containers run.</param>
    /// <param name="now">Of its cgroup.</param>
    /// <param name="above">Of the cgroups that it is in.</param>
    /// <param name="pageSize">The kernel cuts memory limits to whole pages.</param>
    public static CgroupLimits Of(ResourceAmounts wanted, CgroupLimits now, CgroupLimits above, int pageSize) => new(
        Raised(wanted.CpuMillis, now.CpuMillis, above.CpuMillis),
        Raised(wanted.MemoryBytes / pageSize * pageSize, now.MemoryBytes, above.MemoryBytes));

    private static long? Raised(long? wanted, long? now, long? above)
    {
        long? target = wanted > above ? above : wanted;
        // A comparison with what is not there is false: no limit stays no limit.
        return target > now ? target : null;
    }
}
