using CriShim.Supervision.Restarts;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Supervisor;

/// <summary>What must survive a crash. Plain data for any serializer; each kind is written whole, one value replacing the one before.</summary>
public abstract record StateRecord
{
    public required string SandboxId { get; init; }
}

/// <summary>What is recorded of a sandbox.</summary>
public sealed record PodRecord : StateRecord
{
    /// <summary>When the pod was first known to end; null while it is not.</summary>
    public DateTimeOffset? TerminatingSince { get; init; }

    /// <summary>When its grace is used up.</summary>
    public DateTimeOffset? Deadline { get; init; }

    /// <summary>StopPodSandbox was, or was about to be, forwarded (rule 7).</summary>
    public bool IsSandboxStopping { get; init; }

    /// <summary>Names in the order of their first start in this sandbox.</summary>
    public IReadOnlyList<string> StartOrder { get; init; } = [];

    /// <summary>The grace period that its containers' annotations tell.</summary>
    public TimeSpan? AnnotatedGrace { get; init; }

    /// <summary>All main containers had completed for good: written before the first sidecar is stopped for it.</summary>
    public bool HaveMainsCompleted { get; init; }

    /// <summary>Stops that were asked for and are not over: written before any of them is forwarded or sent.</summary>
    public IReadOnlyList<StopRecord> Stops { get; init; } = [];

    /// <summary>The sandbox is being ended.</summary>
    public SandboxEndRecord? End { get; init; }
}

/// <summary>What the shim, or a caller it was asked by, was about to do with a lineage.</summary>
public enum LineageIntent
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>Restart it when <see cref="LineageRecord.Due"/> has come.</summary>
    Waiting,

    /// <summary>Create attempt <see cref="LineageRecord.IntendedAttempt"/>: written before CreateContainer.</summary>
    Planned,

    /// <summary>Start <see cref="LineageRecord.IntendedId"/>: written before StartContainer.</summary>
    Created,

    /// <summary>A caller's create, of <see cref="LineageRecord.IntendedAttempt"/>, is forwarded in place of ours: written before it is.</summary>
    CallerCreating,
}

/// <summary>One instance, as recorded.</summary>
public sealed record InstanceRecord
{
    public required string Id { get; init; }

    public int Attempt { get; init; }

    /// <summary>Created by the shim.</summary>
    public bool IsOurs { get; init; }

    public DateTimeOffset CreatedAt { get; init; }

    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>A replacement that has not been shown yet.</summary>
    public bool IsHidden { get; init; }

    /// <summary>Known to be dead, and decided about.</summary>
    public bool IsDecided { get; init; }

    /// <summary>An adopted sidecar's instance that ended after the mains had completed: shown as completed from here on.</summary>
    public bool HasServed { get; init; }

    /// <summary>When callers are told that it completed, though it, or what came after it, runs (an emulated sidecar); written before they are.</summary>
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>An emulated sidecar's instance that ended before it had started.</summary>
    public bool HasFailedToStart { get; init; }

    /// <summary>Its exit code, where one is known; kept for what is shown of it.</summary>
    public int? ExitCode { get; init; }

    /// <summary>Removed; its id still stands for the lineage (rule 4).</summary>
    public bool IsRemoved { get; init; }
}

/// <summary>What is recorded of a lineage.</summary>
public sealed record LineageRecord : StateRecord
{
    public required string Name { get; init; }

    public LineageIntent Intent { get; init; }

    public int? IntendedAttempt { get; init; }

    public string? IntendedId { get; init; }

    /// <summary>A create whose outcome nobody waits for any more: what it makes, now or later, is hidden, and removed when it is seen.</summary>
    public int? AbandonedAttempt { get; init; }

    public DateTimeOffset? Due { get; init; }

    /// <summary>Why a dead lineage is left alone.</summary>
    public StandDownReason? RestReason { get; init; }

    /// <summary>Rule 5.</summary>
    public bool IsStoppedByCaller { get; init; }

    /// <summary>A caller's create is under way, whatever the lineage's own state.</summary>
    public bool IsCallerCreating { get; init; }

    public string? CurrentId { get; init; }

    /// <summary>The instance that callers are told has completed; all later ones are hidden behind it. Null: none.</summary>
    public string? CompletedId { get; init; }

    /// <summary>The highest attempt that ever ran or was a caller's.</summary>
    public int HighestAttempt { get; init; } = -1;

    /// <summary>Other containers' starts wait for this sidecar no more, for the rest of the sandbox's life.</summary>
    public bool IsGateOpen { get; init; }

    /// <summary>Deaths in a row without a time of health between.</summary>
    public int Streak { get; init; }

    /// <summary>Failed tries in a row to create or start the replacement.</summary>
    public int FailedTries { get; init; }

    /// <summary>Oldest first, removed ones included as far as they are kept.</summary>
    public IReadOnlyList<InstanceRecord> Instances { get; init; } = [];

    /// <summary>The death tally.</summary>
    public IReadOnlyList<RestartDecision> Deaths { get; init; } = [];

    public long TotalDeaths { get; init; }
}
