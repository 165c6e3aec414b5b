namespace CriShim.Node.Draining;

/// <summary>What of a drain survives crishim: written before the first pod is touched.</summary>
/// <param name="BeganAt">When it began.</param>
/// <param name="Deadline">When the last pod's grace is over.</param>
public sealed record DrainRecord(DateTimeOffset BeganAt, DateTimeOffset Deadline);

/// <summary>A drain as it is shown.</summary>
/// <param name="BeganAt">When it began.</param>
/// <param name="Deadline">When the last pod's grace is over.</param>
/// <param name="IsNodeKnown">False: which pods there are is not known yet, for the backend has not answered since crishim started.</param>
/// <param name="Pods">The pods, in the order in which they were found.</param>
public sealed record DrainState(DateTimeOffset BeganAt, DateTimeOffset Deadline, bool IsNodeKnown, IReadOnlyList<DrainedPod> Pods)
{
    /// <summary>Every pod of the node has ended.</summary>
    public bool IsComplete => IsNodeKnown && Pods.All(pod => pod.State.Phase == PodEndPhase.Done);

    /// <summary>At this time nothing goes on any more: every pod has ended, or its end has failed with the grace over.</summary>
    public bool IsSettled(DateTimeOffset now) =>
        IsComplete || (now >= Deadline && IsNodeKnown && Pods.All(pod => pod.State.Phase != PodEndPhase.Ending));
}

/// <summary>One pod of a drain.</summary>
/// <param name="Pod">The pod.</param>
/// <param name="State">How far it is.</param>
/// <param name="EndedAt">When it was first seen to have ended.</param>
public sealed record DrainedPod(PodToEnd Pod, PodEndState State, DateTimeOffset? EndedAt);
