namespace CriShim.Node;

/// <content>What people are told.</content>
public sealed partial class NodeSupervision
{
    /// <summary>All pods that are known.</summary>
    internal IEnumerable<SupervisedPod> All => _pods.Values;

    /// <inheritdoc/>
    public string? DescribeContainer(string containerId) =>
        _containers.TryGetValue(containerId, out TrackedContainer? container) ? Reports.DescribeContainer(container.Pod, container.Name) : null;

    /// <inheritdoc/>
    public string? DescribePod(string sandboxId) => _pods.TryGetValue(sandboxId, out SupervisedPod? pod) ? Reports.DescribePod(pod) : null;

    /// <inheritdoc/>
    public string? DescribeNode() => Reports.DescribeNode();

    /// <summary>The pod spec source that knows a pod; null: none does.</summary>
    internal string? SpecSourceOf(PodIdentity pod) => _facts?.Find(pod.Uid, pod.Namespace, pod.Name, pod.ConfigSource)?.Source;
}
