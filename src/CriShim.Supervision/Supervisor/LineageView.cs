using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <summary>A lineage as <c>crishim explain</c> shows it.</summary>
public sealed record LineageView
{
    public required string Name { get; init; }

    public required SidecarKind Kind { get; init; }

    public required LineageState State { get; init; }

    /// <summary>The current instance; null before the first.</summary>
    public string? CurrentId { get; init; }

    public int? Attempt { get; init; }

    /// <summary>The instance that callers are told has completed, while the current one runs behind it; null: none.</summary>
    public string? CompletedId { get; init; }

    /// <summary>When it completed, by what callers are told.</summary>
    public DateTimeOffset? CompletedAt { get; init; }

    /// <summary>The kubelet stopped it, and has not started it since (rule 5).</summary>
    public bool IsStoppedByCaller { get; init; }

    /// <summary>Why it is left alone while it is dead.</summary>
    public StandDownReason? RestReason { get; init; }

    /// <summary>Why it would be left alone if it died now; null when it would be restarted.</summary>
    public StandDownReason? WouldStandDown { get; init; }

    /// <summary>When the back-off is over.</summary>
    public DateTimeOffset? Due { get; init; }

    /// <summary>Deaths in a row without a time of health between.</summary>
    public int Streak { get; init; }

    /// <summary>Tries in a row to create or start the replacement that failed.</summary>
    public int FailedTries { get; init; }

    public required DeathTally Tally { get; init; }

    /// <summary>What the annotation asked for beyond the operator's bounds.</summary>
    public required IReadOnlyList<SettingError> Notes { get; init; }
}
