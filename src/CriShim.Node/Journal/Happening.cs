using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Journal;

/// <summary>Which pod something happened to.</summary>
/// <param name="Namespace">The pod's namespace.</param>
/// <param name="Name">The pod's name.</param>
/// <param name="Uid">The pod's UID, as the sandbox tells it.</param>
/// <param name="SandboxId">Its pod sandbox: a pod can get a second one.</param>
public sealed record PodName(string Namespace, string Name, string Uid, string SandboxId)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Namespace}/{Name}";
}

/// <summary>
/// Something that supervision did, decided or saw, for people: names, ids, codes, reasons; never environment, arguments, commands or
/// annotation bodies.
/// </summary>
public abstract record Happening
{
    /// <summary>When.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>To which pod.</summary>
    public required PodName Pod { get; init; }

    /// <summary>To which of its containers, by name; null: to the pod as a whole.</summary>
    public string? Container { get; init; }

    /// <summary>The instance, where there was one.</summary>
    public string? ContainerId { get; init; }

    /// <summary>What kind of thing happened, in one word.</summary>
    public abstract string Kind { get; }

    /// <summary>What happened, without when and to whom: the rest of a sentence that begins with the container, or the pod.</summary>
    public abstract string Words { get; }

    /// <summary>Somebody should look at it.</summary>
    public virtual bool IsWarning => false;

    /// <inheritdoc/>
    public sealed override string ToString() => Container is null ? $"{Pod}: {Words}" : $"{Pod}/{Container}: {Words}";
}

// ---- Lives -----------------------------------------------------------------------------------------------------------

/// <summary>It was there when this crishim started.</summary>
public sealed record ContainerFound(int Attempt, DateTimeOffset CreatedAt, bool IsRunning) : Happening
{
    public override string Kind => nameof(ContainerFound);

    public override string Words => $"attempt {Attempt} was there when crishim started, {(IsRunning ? "running" : "not running")}";
}

/// <summary>An instance was started, by a caller or as a replacement.</summary>
public sealed record ContainerStarted(int Attempt, bool IsReplacement) : Happening
{
    public override string Kind => nameof(ContainerStarted);

    public override string Words => $"attempt {Attempt} was started{(IsReplacement ? " by crishim" : "")}";
}

/// <summary>An instance ended, with its true exit code. Once for each instance.</summary>
/// <param name="Attempt">Which attempt.</param>
/// <param name="ExitCode">The process's own, 128 + n for signal n, whatever callers are shown.</param>
/// <param name="OutOfMemory">It was killed for want of memory.</param>
/// <param name="FinishedAt">When it ended, by the backend's clock.</param>
public sealed record ContainerEnded(int Attempt, int ExitCode, bool OutOfMemory, DateTimeOffset FinishedAt) : Happening
{
    public override string Kind => nameof(ContainerEnded);

    public override string Words => $"attempt {Attempt} ended with exit code {ExitCode}{(OutOfMemory ? ", out of memory" : "")}";
}

// ---- Restarts --------------------------------------------------------------------------------------------------------

/// <summary>A sidecar died, and is to be restarted, at once or after its back-off.</summary>
public sealed record RestartDecided(RestartDecision Decision) : Happening
{
    public override string Kind => nameof(RestartDecided);

    public override string Words => HappeningText.Decision(Decision);
}

/// <summary>The restart waits; beside the <see cref="RestartDecided"/> that says so.</summary>
/// <param name="Attempt">The attempt that died.</param>
/// <param name="Delay">How long, from now.</param>
/// <param name="Deaths">How many deaths in a row.</param>
public sealed record SidecarBackOff(int Attempt, TimeSpan Delay, int Deaths) : Happening
{
    public override string Kind => nameof(SidecarBackOff);

    public override string Words => $"backs off: {Deaths} deaths in a row, the next start in {HappeningText.Time(Delay)}";

    public override bool IsWarning => true;
}

/// <summary>A container that supervision knows for a sidecar ended, and is left alone: <see cref="RestartDecision.Reason"/> says why.</summary>
public sealed record LeftAlone(RestartDecision Decision) : Happening
{
    public override string Kind => nameof(LeftAlone);

    public override string Words => HappeningText.Decision(Decision);

    /// <summary>Its pod fails with it.</summary>
    public override bool IsWarning => Decision.Reason == StandDownReason.StartupFailed;
}

/// <summary>It died too often, and is left to the kubelet until that starts it again.</summary>
public sealed record SidecarGivenUp(RestartDecision Decision) : Happening
{
    public override string Kind => nameof(SidecarGivenUp);

    public override string Words => HappeningText.Decision(Decision);

    public override bool IsWarning => true;
}

/// <summary>A restart that was decided is called off.</summary>
public sealed record RestartCancelled(RestartDecision Decision) : Happening
{
    public override string Kind => nameof(RestartCancelled);

    public override string Words => $"the restart after attempt {Decision.Attempt} is called off: {HappeningText.Why(Decision.OutcomeReason)}";
}

/// <summary>A replacement could not be created, started or updated.</summary>
/// <param name="Attempt">Its attempt; -1 where an update failed.</param>
/// <param name="Step">The method of the backend.</param>
/// <param name="Failure">Kind and code, without the backend's text.</param>
public sealed record ReplacementFailed(int Attempt, string Step, string Failure) : Happening
{
    public override string Kind => nameof(ReplacementFailed);

    public override string Words => $"{Step} of its replacement failed: {Failure}";

    public override bool IsWarning => true;
}

/// <summary>No request is known to make a replacement from: it is left to the kubelet.</summary>
public sealed record RequestUnknown : Happening
{
    public override string Kind => nameof(RequestUnknown);

    public override string Words => "no CreateContainer is known to make a replacement from; it is left to the kubelet";

    public override bool IsWarning => true;
}

/// <summary>The replacement runs.</summary>
/// <param name="Attempt">Its attempt.</param>
/// <param name="Elapsed">Since the end of the one before; null where nobody saw that.</param>
public sealed record SidecarRestored(int Attempt, TimeSpan? Elapsed) : Happening
{
    public override string Kind => nameof(SidecarRestored);

    public override string Words =>
        $"runs again as attempt {Attempt}{(Elapsed is { } elapsed ? $", {HappeningText.Time(elapsed)} after its end" : "")}";
}

/// <summary>An instance was removed by crishim.</summary>
public sealed record InstanceRemoved(RemovalReason Reason) : Happening
{
    public override string Kind => nameof(InstanceRemoved);

    public override string Words => "an instance was removed: " + Reason switch
    {
        RemovalReason.OlderDeadInstance => "a newer dead one is there",
        RemovalReason.ReplacementNotWanted => "the replacement was not wanted any more",
        RemovalReason.CompletedRemoved => "the kubelet, or another caller, removed what it takes for completed, and this stood behind it",
        _ => "the replacement would not start",
    };
}

// ---- Start gates -----------------------------------------------------------------------------------------------------

/// <summary>A caller's start waits for a sidecar's startup probe.</summary>
public sealed record StartHeld : Happening
{
    public override string Kind => nameof(StartHeld);

    public override string Words => "its start waits for a sidecar's startup probe";
}

/// <summary>The pod's other containers wait no more for this sidecar.</summary>
public sealed record GateOpened(GateReason Reason) : Happening
{
    public override string Kind => nameof(GateOpened);

    public override string Words => "other containers wait for it no more: " + Reason switch
    {
        GateReason.Passed => "its startup probe passed",
        GateReason.TookTooLong => "its startup probe did not pass in the time that a start may be held",
        GateReason.GivenUp => "it died too often, and is given up",
        GateReason.PodEnds => "the pod ends",
        _ => Reason.ToString(),
    };

    public override bool IsWarning => Reason is GateReason.TookTooLong or GateReason.GivenUp;
}

/// <summary>A startup probe is not run, and counts as passed.</summary>
public sealed record ProbeNotRun(string Fault) : Happening
{
    public override string Kind => nameof(ProbeNotRun);

    public override string Words => $"its startup probe is not run, and counts as passed: {Fault}";

    public override bool IsWarning => true;
}

// ---- Emulated sidecars -----------------------------------------------------------------------------------------------

/// <summary>An emulated sidecar has started: callers are shown from here on that it completed, and it runs on. Once in its pod's life.</summary>
public sealed record CompletionShown : Happening
{
    public override string Kind => nameof(CompletionShown);

    public override string Words => "has started, and runs on; the kubelet and other callers are shown that it completed";
}

/// <summary>It has started, and is shown as it is, for no mask is shown that is not recorded; it is tried again. Once for each instance.</summary>
public sealed record CompletionNotRecorded : Happening
{
    public override string Kind => nameof(CompletionNotRecorded);

    public override string Words =>
        "has started, and can't be shown completed, for that can't be recorded: what comes after it waits, and it is tried again";

    public override bool IsWarning => true;
}

/// <summary>Its startup probe failed as often as it may: it is stopped, and its death then decided about like any other.</summary>
/// <param name="Failures">How often, in a row.</param>
public sealed record StartupFailed(int Failures) : Happening
{
    public override string Kind => nameof(StartupFailed);

    public override string Words => $"failed its startup probe {(Failures == 1 ? "once" : $"{Failures} times in a row")}, and is stopped";

    public override bool IsWarning => true;
}

/// <summary>A caller's removal of what it takes for completed waits for the turn of what runs.</summary>
public sealed record RemovalHeld : Happening
{
    public override string Kind => nameof(RemovalHeld);

    public override string Words => "its removal waits until it has ended in its turn";
}

/// <summary>The same, in a pod that goes on. Callers ask again and again: told once for each instance.</summary>
public sealed record RemovalRefused : Happening
{
    public override string Kind => nameof(RemovalRefused);

    public override string Words => "its removal is refused as long as its pod goes on, for it runs, though callers are shown that it completed";
}

// ---- Ends ------------------------------------------------------------------------------------------------------------

/// <summary>A caller's stop of a container waits for its turn.</summary>
public sealed record StopHeld : Happening
{
    public override string Kind => nameof(StopHeld);

    public override string Words => "its stop waits for its turn";
}

/// <summary>Its turn has come, and crishim stops it.</summary>
/// <param name="Grace">Time until SIGKILL.</param>
public sealed record StopSent(TimeSpan Grace) : Happening
{
    /// <summary>It is not its turn: its startup probe has failed, as <see cref="StartupFailed"/> tells.</summary>
    public bool HasFailedToStart { get; init; }

    public override string Kind => nameof(StopSent);

    public override string Words => Grace <= TimeSpan.Zero ? "it is killed: its time is used up"
        : $"{(HasFailedToStart ? "is stopped, for it has failed to start" : "its turn to end")}: it has {HappeningText.Time(Grace)}";
}

/// <summary>The backend did not stop it; it is tried again.</summary>
public sealed record StopFailed(string Failure) : Happening
{
    public override string Kind => nameof(StopFailed);

    public override string Words => $"its stop failed, and is tried again: {Failure}";

    public override bool IsWarning => true;
}

/// <summary>Its preStop hook is run by crishim.</summary>
public sealed record HookBegan : Happening
{
    public override string Kind => nameof(HookBegan);

    public override string Words => "its preStop hook begins";
}

/// <summary>The hook is over, however it ended.</summary>
public sealed record HookEnded(TimeSpan Elapsed) : Happening
{
    public override string Kind => nameof(HookEnded);

    public override string Words => $"its preStop hook is over after {HappeningText.Time(Elapsed)}";
}

/// <summary>The hook failed, which ends the container no less.</summary>
/// <param name="ExitCode">Of its command; null where it did not come to that.</param>
/// <param name="Failure">Kind and code of the call's failure.</param>
public sealed record HookFailed(int? ExitCode, string? Failure) : Happening
{
    public override string Kind => nameof(HookFailed);

    public override string Words => "its preStop hook failed: " + (ExitCode is { } code ? $"exit code {code}" : Failure);

    public override bool IsWarning => true;
}

/// <summary>All main containers have completed for good: adopted sidecars are ended, in order.</summary>
public sealed record MainsCompleted : Happening
{
    public override string Kind => nameof(MainsCompleted);

    public override string Words => "all main containers have completed: its sidecars are ended";
}

/// <summary>The pod's end began: it is deleted, or its sandbox is being stopped, or the node drained.</summary>
/// <param name="Grace">What it may take.</param>
/// <param name="IsSandboxEnd">Its sandbox is ended as a whole, so crishim stops every container; else the kubelet stops them.</param>
public sealed record TeardownBegan(TimeSpan? Grace, bool IsSandboxEnd) : Happening
{
    public override string Kind => nameof(TeardownBegan);

    public override string Words => (IsSandboxEnd ? "its sandbox is being ended" : "it ends")
        + (Grace is { } grace ? $", within {HappeningText.Time(grace)}" : "");
}

/// <summary>The pod has ended, and its sandbox is stopped, or gone.</summary>
/// <param name="Duration">Since <see cref="TeardownBegan"/>.</param>
/// <param name="Overrun">How long after its grace the last container ended; zero: in time.</param>
public sealed record TeardownEnded(TimeSpan Duration, TimeSpan Overrun) : Happening
{
    public override string Kind => nameof(TeardownEnded);

    public override string Words => $"has ended after {HappeningText.Time(Duration)}"
        + (Overrun > TimeSpan.Zero ? $", {HappeningText.Time(Overrun)} after its grace" : "");

    public override bool IsWarning => Overrun > TimeSpan.Zero;
}

/// <summary>A caller's StopPodSandbox waits until the containers have ended in order.</summary>
public sealed record SandboxStopHeld : Happening
{
    public override string Kind => nameof(SandboxStopHeld);

    public override string Words => "the stop of its sandbox waits until its containers have ended in order";
}

/// <summary>crishim stopped the sandbox, for a caller that did not wait.</summary>
public sealed record SandboxStopped : Happening
{
    public override string Kind => nameof(SandboxStopped);

    public override string Words => "its sandbox is stopped, whose caller did not wait";
}

/// <summary>crishim could not stop the sandbox; it is tried again.</summary>
public sealed record SandboxStopFailed(string Failure) : Happening
{
    public override string Kind => nameof(SandboxStopFailed);

    public override string Words => $"its sandbox, whose caller did not wait, could not be stopped, and is tried again: {Failure}";

    public override bool IsWarning => true;
}

// ---- Annotations -----------------------------------------------------------------------------------------------------

/// <summary>An annotation of the pod can't be used, or a part of it.</summary>
/// <param name="Faults">
/// Each with its place, such as <c>crishim.io/sidecars[2].kind</c>, and what is allowed; on one line of bounded length, without terminal
/// escapes. The value itself is the pod author's, and is not repeated.
/// </param>
public sealed record AnnotationWrong(string Faults) : Happening
{
    public override string Kind => nameof(AnnotationWrong);

    public override string Words => $"annotation {Faults}";

    public override bool IsWarning => true;
}
