using System.Collections.Immutable;

namespace CriShim.Supervision.Sidecars;

/// <summary>What an annotation may say of a container's kind where no spec source is configured.</summary>
public enum AnnotatedKind
{
    /// <summary><c>native</c>: a restartable init container, which the caller itself treats as one.</summary>
    Native,

    /// <summary><c>init</c>: a plain init container.</summary>
    Init,

    /// <summary><c>plain</c>: one of the pod's containers.</summary>
    Plain,
}

/// <summary>Delays that a pod asks for; the operator's bounds decide (see <c>RestartBackoff.Notes</c>).</summary>
/// <param name="InitialDelay">Before the second restart.</param>
/// <param name="MaxDelay">The longest delay.</param>
/// <param name="ResetAfter">The time of health after which a death counts as the first.</param>
public sealed record RestartRequest(TimeSpan? InitialDelay = null, TimeSpan? MaxDelay = null, TimeSpan? ResetAfter = null);

/// <summary>One sidecar of <c>crishim.io/sidecars</c>.</summary>
public sealed record SidecarRequest
{
    public required string Name { get; init; }

    /// <summary>Null: the annotation does not say.</summary>
    public AnnotatedKind? Kind { get; init; }

    public RestartRequest? Restart { get; init; }

    /// <summary>Time kept for it at the end of the pod's grace.</summary>
    public TimeSpan TeardownReserve { get; init; }

    /// <summary>Which exit codes count as success when the shim stopped it because the mains had completed; empty: any.</summary>
    public ImmutableArray<int> SuccessExitCodes { get; init; } = [];

    /// <summary>The probe as the pod spec writes it; only its outline was checked. Null when none was given, or it was refused.</summary>
    public AnnotationMap? StartupProbe { get; init; }
}
