namespace CriShim.Linux.Cgroups;

/// <summary>What bounds a cgroup; null: nothing does.</summary>
/// <param name="CpuMillis">Thousandths of a CPU, by quota and period.</param>
/// <param name="MemoryBytes">Bytes.</param>
public readonly record struct CgroupLimits(long? CpuMillis, long? MemoryBytes);
