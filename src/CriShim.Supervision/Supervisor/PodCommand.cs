using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <summary>
/// Something a supervisor wants done. Commands are carried out in the order given. <see cref="RecordFirst"/> must be written before the
/// command itself is carried out, and, of commands that come with an answer to a caller's call, before that call is forwarded (rule 13).
/// </summary>
public abstract record PodCommand
{
    /// <summary>What to write first; null when this command needs no record.</summary>
    public StateRecord? RecordFirst { get; init; }
}

/// <summary>Only writes <see cref="PodCommand.RecordFirst"/>.</summary>
public sealed record WriteRecord : PodCommand;

/// <summary>
/// Create the lineage's next attempt from its recorded CreateContainer, with the last resources merged in (rules 2 and 10). Answer with
/// <see cref="ReplacementCreated"/> or <see cref="ReplacementFailed"/>, always.
/// </summary>
/// <param name="Lineage">The container's name.</param>
/// <param name="Attempt">For <c>metadata.attempt</c>, the restartCount annotation and the log path alike.</param>
public sealed record CreateReplacement(string Lineage, int Attempt) : PodCommand;

/// <summary>Resources changed while the replacement was being created or started: update it (rule 10). Needs no answer.</summary>
public sealed record ApplyResources(string Lineage, string ContainerId) : PodCommand;

/// <summary>Start it. Answer with <see cref="ReplacementStarted"/> or <see cref="ReplacementFailed"/>, always.</summary>
public sealed record StartReplacement(string Lineage, int Attempt, string ContainerId) : PodCommand;

/// <summary>Remove an instance with its logs, symlink and termination-log file (rule 23); answer with <see cref="ContainerRemoved"/> or <see cref="RemovalFailed"/>.</summary>
public sealed record RemoveInstance(string Lineage, string ContainerId, RemovalReason Reason) : PodCommand;

/// <summary>Why an instance is removed.</summary>
public enum RemovalReason
{
    /// <summary>A newer dead instance is there: at most one is left (rule 12).</summary>
    OlderDeadInstance,

    /// <summary>A replacement that is not wanted any more.</summary>
    ReplacementNotWanted,

    /// <summary>A replacement that the backend would not start.</summary>
    ReplacementNotStarted,

    /// <summary>A caller removes the instance that it takes for completed, and this one stood behind it.</summary>
    CompletedRemoved,
}

/// <summary>
/// Probe the instance until it has started, or has ended, and tell <see cref="StartupProbePassed"/>. A later one of the same lineage takes
/// its place.
/// </summary>
/// <param name="Lineage">The container's name.</param>
/// <param name="ContainerId">The instance.</param>
/// <param name="Probe">As the annotation has it; null: that the backend says RUNNING is enough, as it is for a kubelet.</param>
public sealed record ProbeStartup(string Lineage, string ContainerId, AnnotationMap? Probe) : PodCommand
{
    /// <summary>After as many failures as the probe allows, tell <see cref="StartupProbeFailed"/>, and end.</summary>
    public bool MayFail { get; init; }
}

/// <summary>
/// An emulated sidecar has started, and is shown completed once that is recorded: answer with <see cref="CompletionRecorded"/>, always,
/// saying whether <see cref="PodCommand.RecordFirst"/> was written.
/// </summary>
public sealed record RecordCompletion(string Lineage) : PodCommand;

/// <summary>From here on this instance is shown as <see cref="ShownState.Masked"/>: tell those who follow events, for the backend does not.</summary>
public sealed record CompletionShown(string Lineage, string ContainerId) : PodCommand;

/// <summary>The starts of the pod's other containers wait no more for this sidecar.</summary>
public sealed record GateOpened(string Lineage, GateReason Reason) : PodCommand;

/// <summary>Why a gate was opened.</summary>
public enum GateReason
{
    /// <summary>The startup probe passed.</summary>
    Passed,

    /// <summary>It took longer than a caller's start may be held (rule 22).</summary>
    TookTooLong,

    /// <summary>The sidecar died too often, and is left to the kubelet.</summary>
    GivenUp,

    /// <summary>The pod ends.</summary>
    PodEnds,
}

/// <summary>
/// Run the instance's preStop hook, if it has one that can be run, for at most this long; answer with <see cref="PreStopEnded"/>, always.
/// </summary>
public sealed record RunPreStop(string Lineage, string ContainerId, TimeSpan Limit) : PodCommand;

/// <summary>
/// StopContainer with this time-out; zero kills. Not queued behind anything: a later one shortens an earlier one. Answer with
/// <see cref="StopAnswered"/>, always.
/// </summary>
public sealed record StopInstance(string Lineage, string ContainerId, TimeSpan Grace) : PodCommand
{
    /// <summary>Not for its turn to end: its startup probe has failed too often.</summary>
    public bool HasFailedToStart { get; init; }
}

/// <summary>Nothing runs in the sandbox any more: forward the StopPodSandbox of the caller that waits, or call it for the one that has gone.</summary>
public sealed record StopSandbox : PodCommand;

/// <summary>Ask <see cref="NodeRestartLimit"/>; <see cref="SlotGranted"/> when its turn has come.</summary>
public sealed record AskRestartSlot(string Lineage) : PodCommand;

/// <summary>The slot is not wanted any more.</summary>
public sealed record CancelRestartSlot(string Lineage) : PodCommand;

/// <summary>Get ContainerStatus, and tell <see cref="ContainerExited"/> (or <see cref="ContainerRemoved"/> when it is not found).</summary>
public sealed record InspectInstance(string Lineage, string ContainerId) : PodCommand;

/// <summary>List the sandbox's containers, and tell <see cref="SandboxRelisted"/>.</summary>
public sealed record RelistSandbox : PodCommand;

/// <summary>Tell <see cref="TimerDue"/> then. A pod has one timer: a later command moves it.</summary>
public sealed record ScheduleTimer(DateTimeOffset At) : PodCommand;

/// <summary>A death was decided, or a decision had its outcome: for logs, events and metrics.</summary>
public sealed record Explain(RestartDecision Decision) : PodCommand;

/// <summary>What callers are shown of a container has changed: events about it that were held back may go out (rule 1).</summary>
public sealed record ViewChanged(string ContainerId) : PodCommand;

/// <summary>The sandbox is gone: delete its records.</summary>
public sealed record ForgetRecords : PodCommand;
