using System.Globalization;

namespace CriShim.Supervision.Restarts;

/// <summary>What was decided about a death.</summary>
public enum DecisionKind
{
    /// <summary>It is restarted, at once or after its back-off.</summary>
    Restart,

    /// <summary>It would be restarted, but supervision only observes.</summary>
    OnlyObserved,

    /// <summary>It is left to the kubelet for the reason given.</summary>
    StandDown,

    /// <summary>It died too often: it is left to the kubelet until the kubelet starts it again.</summary>
    GiveUp,
}

/// <summary>Why the shim leaves a container alone. The order is that in which reasons are looked for.</summary>
public enum StandDownReason
{
    /// <summary>The sandbox is gone.</summary>
    SandboxGone,

    /// <summary>StopPodSandbox was forwarded: nothing is created after (rule 7).</summary>
    SandboxStopping,

    /// <summary>The backend says that the sandbox is not ready, as after a reboot: no restart is invented.</summary>
    SandboxNotReady,

    /// <summary><c>--supervise off</c>.</summary>
    SuperviseModeOff,

    /// <summary><c>crishim.io/supervise: "off"</c>.</summary>
    SuperviseAnnotationOff,

    /// <summary>The kubelet stopped it: its own until its next StartContainer of that name (rule 5).</summary>
    StoppedByCaller,

    /// <summary>The kubelet created the next attempt itself (rule 6).</summary>
    TakenOverByCaller,

    /// <summary>A newer instance was there already when this one died.</summary>
    Superseded,

    /// <summary>It was seen dead for the first time, and nothing is known of how it was created or stopped.</summary>
    NoRecord,

    /// <summary>It was removed by somebody else; nobody knows whether it died.</summary>
    RemovedByOthers,

    /// <summary>Not a sidecar.</summary>
    NotASidecar,

    /// <summary>Its kind is not known yet, because no spec source has told the pod's spec.</summary>
    SpecUnknown,

    /// <summary>A kind that is only put in order.</summary>
    OnlyOrdered,

    /// <summary>A kind whose restart depends on the pod's restartPolicy, which nothing has told.</summary>
    RestartPolicyUnknown,

    /// <summary>Its postStart hook can only be run by the kubelet (rule 11).</summary>
    PostStartHook,

    /// <summary>Container restart rules, which only the kubelet applies (rule 11).</summary>
    RestartRules,

    /// <summary>All main containers have completed for good: an adopted or emulated sidecar has nothing left to do.</summary>
    MainsCompleted,

    /// <summary>An emulated sidecar ended before it had started, in a pod that restarts nothing: it is reported as failed.</summary>
    StartupFailed,

    /// <summary>
    /// The kubelet holds its end for final once it was shown, and the restart would have come later than its end can be kept from being
    /// shown (rule 3).
    /// </summary>
    EndIsFinal,

    /// <summary>The pod terminates, and all that ends before it has: it was about to be stopped.</summary>
    TurnToEnd,

    /// <summary>The pod terminates and its grace is used up, or would be before the restart.</summary>
    NoGraceLeft,

    /// <summary>Died too often, see <see cref="GiveUpRule"/>.</summary>
    GivenUp,

    /// <summary><c>--supervise observe</c>.</summary>
    SuperviseModeObserve,
}

/// <summary>What became of a decision to restart.</summary>
public enum RestartOutcome
{
    /// <summary>Still under way, or nothing was to be done.</summary>
    None,

    /// <summary>The replacement runs.</summary>
    Restored,

    /// <summary>Given up on the way for a stand-down reason.</summary>
    Cancelled,
}

/// <summary>One death and what was decided, once, about it.</summary>
public sealed record RestartDecision
{
    /// <summary>The container's name.</summary>
    public required string Lineage { get; init; }

    /// <summary>The instance that died.</summary>
    public required string ContainerId { get; init; }

    public required int Attempt { get; init; }

    /// <summary>When it was decided.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>When the instance ended, by the backend's clock; null when nobody saw it.</summary>
    public DateTimeOffset? FinishedAt { get; init; }

    public required DeathCause Cause { get; init; }

    /// <summary>Null when nobody saw it.</summary>
    public int? ExitCode { get; init; }

    public required DecisionKind Kind { get; init; }

    /// <summary>Why it is left alone; null for a restart.</summary>
    public StandDownReason? Reason { get; init; }

    /// <summary>When the restart is due; null when there is none.</summary>
    public DateTimeOffset? Due { get; init; }

    /// <summary>How many deaths went before without a time of health between.</summary>
    public int Streak { get; init; }

    /// <summary>The pod was terminating.</summary>
    public bool WhileTerminating { get; init; }

    public RestartOutcome Outcome { get; init; }

    /// <summary>When the outcome was known.</summary>
    public DateTimeOffset? OutcomeAt { get; init; }

    /// <summary>Why a restart was cancelled.</summary>
    public StandDownReason? OutcomeReason { get; init; }

    /// <summary>One line for logs and <c>crishim explain</c>.</summary>
    public override string ToString()
    {
        string death = ExitCode is { } code ? string.Create(CultureInfo.InvariantCulture, $"exit code {code}") : "exit code unknown";
        if (Cause == DeathCause.OutOfMemory)
        {
            death += ", out of memory";
        }

        string decided = Kind switch
        {
            DecisionKind.Restart when Due <= At => "restart at once",
            DecisionKind.Restart => $"restart in {GoDuration.Format(Due!.Value - At)} (death {Streak + 1} in a row)",
            DecisionKind.OnlyObserved => "would be restarted, but supervision only observes",
            DecisionKind.GiveUp => "given up: it died too often",
            _ => $"left alone: {Reason}",
        };
        string outcome = Outcome switch
        {
            RestartOutcome.Restored => $"; running again {GoDuration.Format(Between(FinishedAt ?? At, OutcomeAt!.Value))} after it ended",
            RestartOutcome.Cancelled => $"; cancelled: {OutcomeReason}",
            _ => "",
        };
        return string.Create(CultureInfo.InvariantCulture, $"{Lineage} attempt {Attempt}: {death}: {decided}{outcome}");
    }

    private static TimeSpan Between(DateTimeOffset from, DateTimeOffset to) => to > from ? to - from : TimeSpan.Zero;
}
