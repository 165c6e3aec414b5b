namespace CriShim.Supervision.Supervisor;

/// <summary>What to do with a caller's call.</summary>
public enum Verdict
{
    /// <summary>Forward it.</summary>
    Forward,

    /// <summary>A call of ours to the backend is under way: wait for its outcome, tell it, and ask again. Bounded by the one who waits.</summary>
    Wait,

    /// <summary>Answer it without forwarding.</summary>
    Answer,

    /// <summary>Its turn in the pod's end has not come: wait as long as the caller does, and ask again whenever something has changed.</summary>
    Held,

    /// <summary>Refuse it: the sandbox is being ended, and nothing is created or started in it.</summary>
    Refuse,

    /// <summary>Its turn will not come soon, for the pod does not end: let the caller try again (UNAVAILABLE).</summary>
    TryAgain,
}

/// <summary>The answer to a caller's call.</summary>
/// <param name="Verdict">What to do; which of them a call can get says its method.</param>
/// <param name="Commands">To be carried out before anything else.</param>
public record CallVerdict(Verdict Verdict, IReadOnlyList<PodCommand> Commands);

/// <param name="Verdict">What to do.</param>
/// <param name="ContainerId">With <see cref="Verdict.Answer"/>: our instance, the answer.</param>
/// <param name="RemoveFirst">With <see cref="Verdict.Forward"/>: instances of ours, to be removed before the call is forwarded, or the name stays taken (rule 6).</param>
/// <param name="Commands">To be carried out before anything else.</param>
public sealed record CreateVerdict(Verdict Verdict, string? ContainerId, IReadOnlyList<string> RemoveFirst, IReadOnlyList<PodCommand> Commands)
    : CallVerdict(Verdict, Commands);

/// <param name="Verdict"><see cref="Verdict.Forward"/>, <see cref="Verdict.Wait"/> or <see cref="Verdict.Held"/>.</param>
/// <param name="ContainerId">Which instance the forwarded call goes to (rule 4).</param>
/// <param name="Commands">To be carried out before anything else.</param>
public sealed record StopVerdict(Verdict Verdict, string ContainerId, IReadOnlyList<PodCommand> Commands) : CallVerdict(Verdict, Commands);

/// <summary>What callers are shown of a container, in List, Stream, Status and events alike (rule 1).</summary>
public enum ShownState
{
    /// <summary>What the backend says.</summary>
    AsBackend,

    /// <summary>RUNNING, with the fields of a running container: it is dead, and its replacement is on the way (rule 3).</summary>
    Running,

    /// <summary>EXITED with 0, reason Completed: an adopted sidecar that was ended because the pod's mains had completed.</summary>
    Completed,

    /// <summary>
    /// EXITED with 0, reason Completed and a time that was chosen once, whatever the backend says: an emulated sidecar that has started.
    /// </summary>
    Masked,

    /// <summary>EXITED, and not with 0: an emulated sidecar that ended before it had started.</summary>
    Failed,

    /// <summary>Not at all: a replacement that does not run yet. Shown as CREATED, kubelet 1.36 would create another attempt (section 2). Or one behind <see cref="Masked"/>.</summary>
    Hidden,
}
