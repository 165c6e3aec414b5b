using CriShim.Supervision.Pods;

namespace CriShim.Discovery;

/// <summary>Where one source puts what it sees. Called by that source alone, one call at a time; nothing here blocks.</summary>
public interface IPodFactsSink
{
    /// <summary>A pod is new or has changed.</summary>
    public void Upsert(SeenPod pod);

    /// <summary>A pod is gone.</summary>
    public void Remove(PodFacts pod);

    /// <summary>These are all pods there are: others are gone.</summary>
    public void ReplaceAll(IReadOnlyCollection<SeenPod> pods);

    /// <summary>Whether what the sink holds is current.</summary>
    /// <param name="state">The state from now on.</param>
    /// <param name="reason">One line for operators when degraded; never with credentials or parts of specs.</param>
    public void Report(PodSpecSourceState state, string reason = "");
}

/// <param name="Facts">What is known of the pod.</param>
/// <param name="IsFinished">
/// Its phase is Succeeded or Failed. Such pods stay in the API until somebody deletes them; they are the first to go when space is short.
/// </param>
public readonly record struct SeenPod(PodFacts Facts, bool IsFinished = false);

/// <summary>How far a source can be relied on.</summary>
public enum PodSpecSourceState
{
    /// <summary>Has read nothing yet.</summary>
    Starting,

    /// <summary>What it has told is current.</summary>
    Synced,

    /// <summary>What it has told may be out of date, for the reason given.</summary>
    Degraded,
}

/// <summary>A source as operators see it.</summary>
/// <param name="Name">The source's name.</param>
/// <param name="State">How far it can be relied on.</param>
/// <param name="Reason">Why it is degraded; otherwise empty.</param>
/// <param name="Since">When it came into that state (a change of the reason does not count).</param>
/// <param name="Pods">How many pods it knows.</param>
/// <param name="Refused">How many times a pod was left out because the source already knew as many as allowed.</param>
public sealed record PodSpecSourceStatus(
    string Name, PodSpecSourceState State, string Reason, DateTimeOffset Since, int Pods, long Refused)
{
    /// <summary>When it last said that what it has told is current; null: never.</summary>
    public DateTimeOffset? LastSuccessAt { get; init; }

    /// <summary>How often it became degraded, or went on being so for another reason.</summary>
    public long Failures { get; init; }
}
