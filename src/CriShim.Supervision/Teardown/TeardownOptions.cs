namespace CriShim.Supervision.Teardown;

/// <summary>How pods are ended on this node. Immutable, and valid by whoever makes them.</summary>
public sealed record TeardownOptions
{
    /// <summary>The longest grace for a pod whose sandbox is stopped with containers running, whatever its spec says.</summary>
    public TimeSpan MaxGrace { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>What a sidecar gets at least, once the mains have used up the grace: the kubelet's own floor (section 5).</summary>
    public TimeSpan SidecarFloor { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How long the stop of a sidecar is held while nothing proves that the pod ends: the kubelet's stops of its siblings come within
    /// milliseconds of each other.
    /// </summary>
    public TimeSpan UnprovenHold { get; init; } = TimeSpan.FromMilliseconds(300);

    /// <summary>A StopContainer with a time-out up to this is never held: eviction and forced deletion (rule 20).</summary>
    public TimeSpan NotHeldUpTo { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>A caller of StopPodSandbox with less time than this is impatient: kubeadm goes on after five tries of 2 s (section 8).</summary>
    public TimeSpan ImpatientBelow { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>For an impatient caller the whole teardown takes at most this, from its first call on, the sandbox's own stop included.</summary>
    public TimeSpan ImpatientTotal { get; init; } = TimeSpan.FromSeconds(8);

    /// <summary>How long the start of a main may wait for an adopted sidecar's startup probe.</summary>
    public TimeSpan GateLimit { get; init; } = TimeSpan.FromSeconds(60);
}
