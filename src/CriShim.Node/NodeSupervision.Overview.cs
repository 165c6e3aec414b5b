namespace CriShim.Node;

/// <content>What operators are shown.</content>
public sealed partial class NodeSupervision
{
    private long _listedAtTicks;

    /// <summary>How supervision stands with the node now.</summary>
    public NodeHealth Health => new()
    {
        IsKnown = _known.Task.IsCompleted,
        ListedAt = Interlocked.Read(ref _listedAtTicks) is var ticks and > 0 ? new DateTimeOffset(ticks, TimeSpan.Zero) : null,
        HasEvents = _events.IsConnected,
        RewrittenPods = Volatile.Read(ref _podsWithViews),
        StateBytes = Store.RequestBytes,
        StateFailures = Store.Failures,
    };

    /// <summary>All pod sandboxes. Takes each pod's lock for a moment.</summary>
    public IReadOnlyList<PodOverview> Overview() => [.. _pods.Values.Select(pod => pod.Overview())];
}
