namespace CriShim.Node.Draining;

/// <summary>What a drain asks of the ordered teardown of pods. Safe from any thread.</summary>
public interface IPodTeardown
{
    /// <summary>
    /// Lists the backend now, and gives the pods whose sandboxes are ready (one whose teardown runs is still). Never what an earlier list
    /// said: a pod that was missed would be killed without its grace. Null where the backend can't be listed, which is something else than
    /// a node without pods.
    /// </summary>
    Task<IReadOnlyList<PodToEnd>?> ListReadyPodsAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Records the intent and begins to end a pod: main containers, sidecars in reverse start order, then StopPodSandbox. Again for the
    /// same pod: it joins the teardown that runs, and a shorter grace shortens it; after a failure it tries again. Does not wait for the
    /// backend.
    /// </summary>
    /// <param name="sandboxId">Of one of <see cref="ListReadyPodsAsync"/>; where it is gone meanwhile, nothing happens.</param>
    /// <param name="grace">The most that it may take from now on. The pod's own grace period holds where it is shorter.</param>
    void BeginEnd(string sandboxId, TimeSpan grace);

    /// <summary>How far a pod is; null where nothing is known of the sandbox (any more): it is gone, and so are its containers.</summary>
    PodEndState? StateOf(string sandboxId);
}

/// <summary>A pod that is to be ended.</summary>
/// <param name="SandboxId">Its pod sandbox.</param>
/// <param name="Namespace">The pod's namespace.</param>
/// <param name="Name">The pod's name.</param>
public sealed record PodToEnd(string SandboxId, string Namespace, string Name);

/// <summary>How far a pod's end is.</summary>
public enum PodEndPhase
{
    /// <summary>It is under way, or about to be.</summary>
    Ending,

    /// <summary>Nothing of the pod runs, and StopPodSandbox has succeeded.</summary>
    Done,

    /// <summary>It has been given up for now: <see cref="PodEndState.Stage"/> says why.</summary>
    Failed,
}

/// <summary>How far a pod's end is, and what it waits for.</summary>
/// <param name="Phase">Whether it still goes on.</param>
/// <param name="Running">Names of the containers that are still alive.</param>
/// <param name="Stage">What happens now, in few words, such as <c>main containers</c>; why, where it has failed.</param>
public sealed record PodEndState(PodEndPhase Phase, IReadOnlyList<string> Running, string Stage);
