namespace CriShim.Node.Limits;

/// <summary>What is done with the cgroup of a pod whose emulated sidecars the kubelet did not count.</summary>
public enum PodResourcesMode
{
    /// <summary>Nothing.</summary>
    Leave,

    /// <summary>Its limits are raised to what KEP-753's formula gives.</summary>
    Raise,
}
