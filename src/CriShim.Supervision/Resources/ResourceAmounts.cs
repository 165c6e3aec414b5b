namespace CriShim.Supervision.Resources;

/// <summary>Requests or limits, of a container or of a pod. Null: none is given, which of a limit means that there is no bound.</summary>
/// <param name="CpuMillis">Thousandths of a CPU.</param>
/// <param name="MemoryBytes">Bytes.</param>
public readonly record struct ResourceAmounts(long? CpuMillis = null, long? MemoryBytes = null);

/// <summary>What a pod has as a whole.</summary>
/// <param name="Requests">Null where no container has one.</param>
/// <param name="Limits">Null where a container has none: then the pod has none.</param>
public readonly record struct PodAmounts(ResourceAmounts Requests, ResourceAmounts Limits);
