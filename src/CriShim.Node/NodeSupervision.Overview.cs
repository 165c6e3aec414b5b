namespace CriShim.Node;

/// <content>What operators are shown.</content>
public sealed partial class NodeSupervision
{
    private long _listedAt;

    /// <summary>How supervision stands with the node now.</summary>
    public NodeHealth Health => new()
    {
        IsKnown = _known.Task.IsCompleted,
        // By the wall's clock of now, whatever it was then: it is compared with that.
        ListedAt = Volatile.Read(ref _listedAt) is var at and > 0 ? Time.GetUtcNow() - Time.GetElapsedTime(at) : null,
        HasEvents = _events.IsConnected,
        IsDraining = Drain.IsDraining,
        RewrittenPods = Volatile.Read(ref _podsWithViews),
        StateBytes = Store.RequestBytes,
        StateFailures = Store.Failures,
    };

    /// <summary>All pod sandboxes. Takes each pod's lock for a moment.</summary>
    public IReadOnlyList<PodOverview> Overview() => [.. _pods.Values.Select(pod => pod.Overview())];
}
