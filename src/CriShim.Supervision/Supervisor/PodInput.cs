using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <summary>Something that a pod's supervisor is told. What it is asked (create, start, stop, remove) are methods that answer.</summary>
public abstract record PodInput;

/// <summary>A spec source told the pod's spec, or changed it. Null: it is not known any more, which changes nothing under way.</summary>
public sealed record FactsChanged(PodFacts? Facts) : PodInput;

/// <summary>The pod's annotations as the sandbox's config, and later the spec sources, tell them.</summary>
public sealed record AnnotationChanged(SidecarAnnotation Annotation) : PodInput;

/// <summary><c>--supervise</c> changed. What is under way ends as it began.</summary>
public sealed record ModeChanged(SupervisionMode Mode) : PodInput;

/// <summary>A caller's CreateContainer succeeded.</summary>
public sealed record ContainerCreated(string Id, string Name, int Attempt, DateTimeOffset CreatedAt) : PodInput;

/// <summary>The pod's grace period, as an annotation of one of its containers tells it.</summary>
public sealed record GraceTold(TimeSpan Grace) : PodInput;

/// <summary>A caller's CreateContainer, forwarded after <see cref="PodSupervisor.ArbitrateCreate"/>, failed.</summary>
public sealed record CallerCreateFailed(string Name) : PodInput;

/// <summary>A caller's StartContainer succeeded.</summary>
public sealed record ContainerStarted(string Id, DateTimeOffset StartedAt) : PodInput;

/// <summary>An instance ended, as the task exit event or ContainerStatus tells. Telling it twice changes nothing.</summary>
public sealed record ContainerExited(string Id, ContainerExit Exit) : PodInput
{
    /// <summary>ContainerStatus says so: then lists do, too, which can be behind the exit event.</summary>
    public bool IsListed { get; init; }
}

/// <summary>A list that is about to be answered says EXITED of an instance whose exit event has not come yet.</summary>
public sealed record ContainerSeenExited(string Id) : PodInput;

/// <summary>RemoveContainer succeeded, a caller's or ours.</summary>
public sealed record ContainerRemoved(string Id) : PodInput;

/// <summary>A <see cref="RemoveInstance"/> failed, and nobody else is removing it.</summary>
public sealed record RemovalFailed(string Id) : PodInput;

/// <summary>UpdateContainerResources succeeded for an instance, and its content is recorded for later replacements (rule 10).</summary>
public sealed record ResourcesUpdated(string Id) : PodInput;

/// <summary>
/// The pod ends: deletion was seen, or the kubelet stops several of its containers. Comes once or more; the first sets the deadline.
/// </summary>
/// <param name="Grace">The whole grace period from now on; null where nothing tells it.</param>
public sealed record PodTerminating(TimeSpan? Grace) : PodInput;

/// <summary>The node is drained: end the pod, and stop its sandbox, within the pod's own grace and this. Comes once or more.</summary>
public sealed record EndPod(TimeSpan Grace) : PodInput;

/// <summary>A caller's ExecSync of a container's preStop hook began or ended.</summary>
public sealed record CallerHook(string Id, bool IsRunning) : PodInput;

/// <summary>An instance's startup probe passed.</summary>
public sealed record StartupProbePassed(string Id) : PodInput;

/// <summary>An instance's startup probe failed more often than it may.</summary>
public sealed record StartupProbeFailed(string Id) : PodInput;

/// <summary>The outcome of a <see cref="RecordCompletion"/>.</summary>
public sealed record CompletionRecorded(string Lineage, bool IsWritten) : PodInput;

/// <summary>A <see cref="RunPreStop"/> is over, however it ended.</summary>
public sealed record PreStopEnded(string Id) : PodInput;

/// <summary>
/// A <see cref="StopInstance"/>, or a caller's StopContainer, was answered. The backend says OK when the container has ended, whether
/// its exit was told or not.
/// </summary>
public sealed record StopAnswered(string Id, bool IsDone) : PodInput;

/// <summary>StopPodSandbox succeeded, a caller's or ours.</summary>
public sealed record SandboxStopped : PodInput;

/// <summary>RemovePodSandbox succeeded, or the backend does not know the sandbox any more.</summary>
public sealed record SandboxGone : PodInput;

/// <summary>A list of the sandbox's containers: catches what no event told.</summary>
public sealed record SandboxRelisted(SandboxSnapshot Snapshot) : PodInput;

/// <summary>A <see cref="CreateReplacement"/> gave a container.</summary>
public sealed record ReplacementCreated(string Lineage, int Attempt, string Id, DateTimeOffset CreatedAt) : PodInput;

/// <summary>A <see cref="StartReplacement"/> succeeded.</summary>
public sealed record ReplacementStarted(string Id, DateTimeOffset StartedAt) : PodInput;

/// <summary>A <see cref="CreateReplacement"/> or <see cref="StartReplacement"/> failed.</summary>
public sealed record ReplacementFailed(string Lineage, int Attempt, ReplacementFailure Failure) : PodInput;

/// <summary>The node limit gave a slot that <see cref="AskRestartSlot"/> asked for.</summary>
public sealed record SlotGranted(string Lineage) : PodInput;

/// <summary>The time of the last <see cref="ScheduleTimer"/> has come. Early or repeated ones do no harm.</summary>
public sealed record TimerDue : PodInput;

/// <summary>Why a replacement was not created or started.</summary>
public enum ReplacementFailure
{
    /// <summary>
    /// The backend holds the name for another container of this attempt: the kubelet got there first, or an earlier try of ours was
    /// carried out after all (section 2).
    /// </summary>
    NameReserved,

    /// <summary>No answer (backend away, deadline): it may have been carried out.</summary>
    OutcomeUnknown,

    /// <summary>An earlier start of it, whose answer nobody heard, is still under way in the backend.</summary>
    StillStarting,

    /// <summary>The sandbox is not ready.</summary>
    SandboxNotReady,

    /// <summary>Any other refusal: nothing was created, or what was created will not start. Also when the intent could not be recorded.</summary>
    Refused,
}
