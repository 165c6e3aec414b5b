using CriShim.Supervision.Resources;

namespace CriShim.Supervision.Pods;

/// <summary>What a container is to its pod, by the pod's spec.</summary>
public enum ContainerRole
{
    /// <summary>Runs to completion before the main containers.</summary>
    Init,

    /// <summary>An init container with <c>restartPolicy: Always</c>.</summary>
    RestartableInit,

    /// <summary>One of <c>spec.containers</c>.</summary>
    Plain,

    /// <summary>Added to a running pod; never waited for.</summary>
    Ephemeral,
}

/// <summary>The pod's <c>spec.restartPolicy</c>.</summary>
public enum PodRestartPolicy
{
    /// <summary>The API's default.</summary>
    Always,

    /// <summary>Restarted unless the exit code is 0.</summary>
    OnFailure,

    /// <summary>Never restarted.</summary>
    Never,
}

/// <summary>One container of a pod's spec.</summary>
/// <param name="Name">Unique in the pod.</param>
/// <param name="Role">What it is to the pod.</param>
/// <param name="HasPostStart">A postStart hook, which only the kubelet can run.</param>
/// <param name="HasRestartRules">Container restart rules or an own restart policy (other than a sidecar's Always), which only the kubelet applies.</param>
/// <param name="Requests">Its resource requests.</param>
/// <param name="Limits">Its resource limits.</param>
public sealed record ContainerFacts(
    string Name,
    ContainerRole Role,
    bool HasPostStart = false,
    bool HasRestartRules = false,
    ResourceAmounts Requests = default,
    ResourceAmounts Limits = default);

/// <summary>What a spec source knows of a pod. All of it is optional knowledge: nothing waits for it.</summary>
public sealed record PodFacts
{
    /// <summary>The UID that CRI shows: for static pods the one the kubelet made from the manifest (its config hash).</summary>
    public required string Uid { get; init; }

    public required string Namespace { get; init; }

    public required string Name { get; init; }

    public PodRestartPolicy RestartPolicy { get; init; }

    /// <summary>Deletion was asked for (<c>metadata.deletionTimestamp</c>).</summary>
    public bool IsTerminating { get; init; }

    /// <summary><c>spec.terminationGracePeriodSeconds</c>, or the deletion's own where one was given.</summary>
    public TimeSpan? TerminationGracePeriod { get; init; }

    /// <summary>All containers, init containers first, in spec order.</summary>
    public required IReadOnlyList<ContainerFacts> Containers { get; init; }

    /// <summary><c>spec.overhead</c>: what its runtime class takes beside its containers.</summary>
    public ResourceAmounts Overhead { get; init; }

    /// <summary>The spec gives the pod requests or limits as a whole (<c>spec.resources</c>): its containers' do not add up to them.</summary>
    public bool HasPodResources { get; init; }

    /// <summary>The pod's annotations under <c>crishim.io/</c>; others are not kept.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = new Dictionary<string, string>();
}
