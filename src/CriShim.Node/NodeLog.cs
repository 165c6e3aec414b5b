using CriShim.Containerd.Runtime;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using Microsoft.Extensions.Logging;

namespace CriShim.Node;

/// <summary>What supervision says: names, ids, exit codes, decisions and their reasons.</summary>
internal sealed partial class NodeLog(ILogger logger)
{
    [LoggerMessage(301, LogLevel.Information,
        "Sidecar {Container} of sandbox {SandboxId} died (container {ContainerId}, attempt {Attempt}, {Cause}, exit code {ExitCode}): restart, due in {DelayMs} ms")]
    public partial void RestartDecided(string container, string sandboxId, string containerId, int attempt, DeathCause cause, int? exitCode, long delayMs);

    [LoggerMessage(302, LogLevel.Information,
        "Container {Container} of sandbox {SandboxId} ended (container {ContainerId}, attempt {Attempt}, {Cause}, exit code {ExitCode}): {Decision}, {Reason}")]
    public partial void LeftAlone(
        string container, string sandboxId, string containerId, int attempt, DeathCause cause, int? exitCode, DecisionKind decision, StandDownReason? reason);

    [LoggerMessage(314, LogLevel.Information, "Restart of sidecar {Container} of sandbox {SandboxId} (after container {ContainerId}) is called off: {Reason}")]
    public partial void RestartCancelled(string container, string sandboxId, string containerId, StandDownReason? reason);

    [LoggerMessage(317, LogLevel.Error, "A listener failed at {Kind} of sandbox {SandboxId}; nothing depends on it")]
    public partial void ListenerFailed(Exception exception, string kind, string sandboxId);

    [LoggerMessage(303, LogLevel.Information,
        "Sidecar {Container} of sandbox {SandboxId} runs again: container {ContainerId}, attempt {Attempt}, {ElapsedMs} ms after its end")]
    public partial void Restored(string container, string sandboxId, string containerId, int attempt, long elapsedMs);

    [LoggerMessage(304, LogLevel.Warning, "Replacement of {Container} in sandbox {SandboxId}, attempt {Attempt}: {Step} failed: {Failure}")]
    public partial void ReplacementFailed(string container, string sandboxId, int attempt, string step, CallFailure failure);

    [LoggerMessage(305, LogLevel.Warning, "No request is known to make {Container} in sandbox {SandboxId} from; it is left to the kubelet")]
    public partial void RequestUnknown(string container, string sandboxId);

    [LoggerMessage(306, LogLevel.Warning, "{What} of {Container} in sandbox {SandboxId}: {Result}")]
    public partial void FileFailed(string what, string container, string sandboxId, string result);

    [LoggerMessage(307, LogLevel.Information, "Removed instance {ContainerId} of {Container} in sandbox {SandboxId}: {Reason}")]
    public partial void InstanceRemoved(string containerId, string container, string sandboxId, string reason);

    [LoggerMessage(308, LogLevel.Warning, "Instance {ContainerId} of {Container} in sandbox {SandboxId} could not be removed: {Failure}")]
    public partial void RemovalFailed(string containerId, string container, string sandboxId, CallFailure failure);

    [LoggerMessage(309, LogLevel.Warning, "The backend can't be listed: {Failure}")]
    public partial void ListFailed(CallFailure failure);

    [LoggerMessage(310, LogLevel.Information, "Supervision knows the node: pod sandboxes {Sandboxes}, containers {Containers}, records {Records}")]
    public partial void NodeKnown(int sandboxes, int containers, int records);

    [LoggerMessage(311, LogLevel.Error, "Supervision of sandbox {SandboxId} failed at {Step}; its calls go through")]
    public partial void StepFailed(Exception exception, string sandboxId, string step);

    [LoggerMessage(312, LogLevel.Warning, "Annotation of pod {Namespace}/{Pod}: {Error}")]
    public partial void AnnotationWrong(string @namespace, string pod, string error);

    [LoggerMessage(313, LogLevel.Information, "Events of the backend: {State}")]
    public partial void EventsState(string state);

    [LoggerMessage(321, LogLevel.Information, "preStop hook of {Container} in sandbox {SandboxId}: begins")]
    public partial void HookBegan(string container, string sandboxId);

    [LoggerMessage(322, LogLevel.Information, "preStop hook of {Container} in sandbox {SandboxId}: over after {ElapsedMs} ms")]
    public partial void HookEnded(string container, string sandboxId, long elapsedMs);

    [LoggerMessage(323, LogLevel.Warning, "preStop hook of {Container} in sandbox {SandboxId} failed: exit code {ExitCode}, {Failure}")]
    public partial void HookFailed(string container, string sandboxId, int? exitCode, CallFailure? failure);

    [LoggerMessage(324, LogLevel.Information, "Stop of {Container} in sandbox {SandboxId} (container {ContainerId}): {Why}, {Grace:0.###} s")]
    public partial void StopSent(string container, string sandboxId, string containerId, string why, double grace);

    [LoggerMessage(325, LogLevel.Warning, "Stop of {Container} in sandbox {SandboxId} (container {ContainerId}) failed, and is tried again: {Failure}")]
    public partial void StopFailed(string container, string sandboxId, string containerId, CallFailure failure);

    [LoggerMessage(326, LogLevel.Information, "Stop of {Container} in sandbox {SandboxId} (container {ContainerId}) waits for its turn")]
    public partial void StopHeld(string container, string sandboxId, string containerId);

    [LoggerMessage(327, LogLevel.Information, "Stop of sandbox {SandboxId} waits until its containers have ended in order")]
    public partial void SandboxStopHeld(string sandboxId);

    [LoggerMessage(328, LogLevel.Information, "Sandbox {SandboxId} is stopped, whose caller did not wait")]
    public partial void SandboxStopped(string sandboxId);

    [LoggerMessage(329, LogLevel.Warning, "Sandbox {SandboxId}, whose caller did not wait, could not be stopped, and is tried again: {Failure}")]
    public partial void SandboxStopFailed(string sandboxId, CallFailure failure);

    [LoggerMessage(351, LogLevel.Warning, "Startup probe of {Container} in sandbox {SandboxId} is not run, and counts as passed: {Fault}")]
    public partial void ProbeNotRun(string container, string sandboxId, string fault);

    [LoggerMessage(352, LogLevel.Information, "Other containers of sandbox {SandboxId} wait no more for sidecar {Container}: {Reason}")]
    public partial void GateOpened(string container, string sandboxId, GateReason reason);

    [LoggerMessage(361, LogLevel.Information, "Sidecar {Container} in sandbox {SandboxId} has started: container {ContainerId} is shown completed from here on, and runs")]
    public partial void CompletionShown(string container, string sandboxId, string containerId);

    [LoggerMessage(362, LogLevel.Warning, "Sidecar {Container} in sandbox {SandboxId} has started, and can't be shown completed, for that can't be recorded: tried again")]
    public partial void CompletionNotRecorded(string container, string sandboxId);

    [LoggerMessage(363, LogLevel.Warning, "Sidecar {Container} in sandbox {SandboxId} (container {ContainerId}) failed its startup probe {Failures} times, and is stopped")]
    public partial void StartupFailed(string container, string sandboxId, string containerId, int failures);

    [LoggerMessage(364, LogLevel.Information, "Removal of {Container} in sandbox {SandboxId} (container {ContainerId}) waits until it has ended in its turn")]
    public partial void RemovalHeld(string container, string sandboxId, string containerId);

    [LoggerMessage(366, LogLevel.Information, "Removal of {Container} in sandbox {SandboxId} (container {ContainerId}) is refused as long as its pod goes on: it runs, and is shown completed")]
    public partial void RemovalRefused(string container, string sandboxId, string containerId);

    [LoggerMessage(365, LogLevel.Warning, "Followers of events are not told that container {ContainerId} of sandbox {SandboxId} is shown completed: {Failure}")]
    public partial void EndNotMade(string containerId, string sandboxId, CallFailure failure);

    [LoggerMessage(353, LogLevel.Information, "Start of {Container} in sandbox {SandboxId} (container {ContainerId}) waits for a sidecar's startup probe")]
    public partial void StartHeld(string container, string sandboxId, string containerId);
}
