using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Supervisor;

/// <summary>A pod as people are told of it.</summary>
public sealed record PodView
{
    /// <summary>The pod's spec; null while no source tells it.</summary>
    public PodFacts? Facts { get; init; }

    public required SidecarAnnotation Annotation { get; init; }

    /// <summary>What is wrong with it, in itself and, once the spec is known, beside that.</summary>
    public required IReadOnlyList<SettingError> AnnotationErrors { get; init; }

    /// <summary>Null while nothing tells it.</summary>
    public PodRestartPolicy? RestartPolicy { get; init; }

    public bool IsSandboxReady { get; init; }

    /// <summary>StopPodSandbox was, or is about to be, forwarded.</summary>
    public bool IsSandboxStopping { get; init; }

    /// <summary>The sandbox is being ended as a whole, or was.</summary>
    public bool IsEnding { get; init; }

    public bool HaveMainsCompleted { get; init; }

    public DateTimeOffset? TerminatingSince { get; init; }

    /// <summary>The pod is deleted, or its sandbox ends, or is being stopped.</summary>
    public bool IsLeaving => TerminatingSince is not null || IsEnding || IsSandboxStopping;

    /// <summary>When its grace is used up; null while it does not end.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>Names of the containers that run.</summary>
    public required IReadOnlyList<string> Running { get; init; }

    /// <summary>Names in the order of their first start.</summary>
    public required IReadOnlyList<string> StartOrder { get; init; }

    public required IReadOnlyList<ContainerView> Containers { get; init; }
}

/// <summary>One of its containers.</summary>
/// <param name="Lineage">Where it stands.</param>
/// <param name="Instances">Its attempts, as far as they are known.</param>
/// <param name="Stop">How far its stop is; null where none was asked for.</param>
/// <param name="IsGating">Starts of other containers wait for its startup probe.</param>
public sealed record ContainerView(LineageView Lineage, IReadOnlyList<InstanceView> Instances, StopStage? Stop, bool IsGating);

/// <summary>One attempt.</summary>
public sealed record InstanceView
{
    public required string Id { get; init; }

    public required int Attempt { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>Created by the shim.</summary>
    public bool IsOurs { get; init; }

    /// <summary>Callers have not been shown it.</summary>
    public bool IsHidden { get; init; }

    public bool IsDead { get; init; }

    public bool IsRemoved { get; init; }

    /// <summary>Callers are shown that it completed.</summary>
    public bool IsShownCompleted { get; init; }

    /// <summary>Its true end; null while it runs, or where nobody told.</summary>
    public ContainerExit? Exit { get; init; }
}
