using CriShim.Supervision.Pods;

namespace CriShim.Discovery;

/// <summary>Whether two reads of a pod tell the same; a record's own equality compares lists and dictionaries by reference.</summary>
internal static class PodFactsComparison
{
    public static bool AreSame(PodFacts a, PodFacts b) =>
        a.Uid == b.Uid
        && a.Namespace == b.Namespace
        && a.Name == b.Name
        && a.RestartPolicy == b.RestartPolicy
        && a.IsTerminating == b.IsTerminating
        && a.TerminationGracePeriod == b.TerminationGracePeriod
        && a.Overhead == b.Overhead
        && a.HasPodResources == b.HasPodResources
        && a.Containers.SequenceEqual(b.Containers)
        && a.Annotations.Count == b.Annotations.Count
        && a.Annotations.All(p => b.Annotations.TryGetValue(p.Key, out string? value) && value == p.Value);
}
