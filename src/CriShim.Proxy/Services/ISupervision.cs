using CriShim.Protocol.Runtime.V1;

namespace CriShim.Proxy.Services;

/// <summary>What to do with a caller's create.</summary>
/// <param name="AnswerWith">The id of a container that is there already: the answer, without forwarding. Null: forward.</param>
public readonly record struct CreateAnswer(string? AnswerWith);

/// <summary>
/// What the CRI service asks of supervision, and tells it. Every method belongs to one call, and may wait, but never longer than
/// the call's own deadline admits. An exception of any of them makes the call go through as it came.
/// </summary>
public interface ISupervision
{
    /// <summary>Some container is to be shown otherwise than the backend says. Read for every list, on the loop's thread.</summary>
    bool RewritesViews { get; }

    /// <summary>
    /// Some sidecar runs that would be restarted if it died, so that a list may tell of a death before anybody else does. Read for every
    /// list, on the loop's thread.
    /// </summary>
    bool WatchesEnds { get; }

    /// <summary>Some container id stands for another one. Read for every call on a container, on the loop's thread.</summary>
    bool MapsIds { get; }

    /// <summary>Some container has a preStop hook that callers run by ExecSync. Read for every ExecSync, on the loop's thread.</summary>
    bool WatchesHooks { get; }

    /// <summary>Waits, for a moment at most, until it is known what is to be shown.</summary>
    Task ReadyAsync(CancellationToken cancellationToken);

    /// <summary>The instance that calls on this id go to (itself, where nothing is known of it).</summary>
    string CurrentInstance(string containerId);

    /// <summary>A caller runs a pod sandbox.</summary>
    /// <exception cref="Grpc.Core.RpcException">The node is being drained: the caller gets this instead.</exception>
    void BeforeRunPodSandbox();

    /// <summary>RunPodSandbox succeeded.</summary>
    void OnPodSandboxRan(string sandboxId, PodSandboxConfig? config);

    /// <summary>A caller creates a container. When this returns, what must be recorded before the create is forwarded is recorded.</summary>
    Task<CreateAnswer> BeforeCreateAsync(CreateContainerRequest request, CancellationToken cancellationToken);

    /// <summary>The forwarded create succeeded.</summary>
    void OnCreated(CreateContainerRequest request, string containerId);

    /// <summary>The forwarded create failed, or its answer never came: then it may have been carried out all the same.</summary>
    void OnCreateFailed(CreateContainerRequest request, bool isOutcomeKnown);

    /// <summary>A caller starts a container.</summary>
    /// <param name="containerId">The container.</param>
    /// <param name="deadline">The call's deadline, in UTC.</param>
    /// <param name="cancellationToken">The caller is gone.</param>
    /// <returns>True: it runs already, the answer is OK without forwarding.</returns>
    Task<bool> BeforeStartAsync(string containerId, DateTime deadline, CancellationToken cancellationToken);

    /// <summary>The forwarded start succeeded.</summary>
    void OnStarted(string containerId);

    /// <summary>A caller stops a container. Where its turn in the pod's end has not come, this waits until it has ended.</summary>
    /// <param name="containerId">The container.</param>
    /// <param name="timeout">The call's time-out.</param>
    /// <param name="deadline">The call's deadline, in UTC.</param>
    /// <param name="cancellationToken">The caller is gone.</param>
    /// <returns>The instance that the stop is to go to.</returns>
    Task<string> BeforeStopAsync(string containerId, TimeSpan timeout, DateTime deadline, CancellationToken cancellationToken);

    /// <summary>The forwarded stop succeeded.</summary>
    void OnStopped(string containerId);

    /// <summary>A caller's ExecSync begins, or has ended.</summary>
    void OnExec(string containerId, IReadOnlyList<string> command, bool isRunning);

    /// <summary>A caller removes a container: nothing of ours may be under way for it, and one that ends in its turn is not killed.</summary>
    Task BeforeRemoveAsync(string containerId, DateTime deadline, CancellationToken cancellationToken);

    /// <summary>The forwarded removal succeeded.</summary>
    void OnRemoved(string containerId);

    /// <summary>A caller's new resources took effect on this instance.</summary>
    void OnResourcesUpdated(UpdateContainerResourcesRequest request);

    /// <summary>
    /// A caller stops, or removes, a sandbox: its containers are ended in order, and nothing is created in it once this has returned.
    /// </summary>
    /// <returns>Whether the pod is known: then <see cref="OnStopSandboxEnded"/> is to follow.</returns>
    Task<bool> BeforeStopSandboxAsync(string sandboxId, DateTime deadline, CancellationToken cancellationToken);

    /// <summary>The forwarded stop has ended.</summary>
    void OnStopSandboxEnded(string sandboxId, bool isStopped);

    /// <summary>The sandbox was removed.</summary>
    void OnPodSandboxRemoved(string sandboxId);

    /// <summary>What callers are shown of a container in place of what the backend says; null: that.</summary>
    /// <param name="containerId">The container.</param>
    /// <param name="sandboxId">Its sandbox, where the message tells it; else empty.</param>
    /// <param name="name">Its name: a list can show a replacement whose id nobody has told yet.</param>
    /// <param name="attempt">Its attempt.</param>
    ShownContainer? Show(string containerId, string sandboxId, string name, uint attempt);

    /// <summary>
    /// The same for a message of the backend that says a state, which may be older than what supervision knows, or newer: of a death
    /// that it has not heard of it hears by this.
    /// </summary>
    /// <param name="containerId">The container.</param>
    /// <param name="sandboxId">Its sandbox, where the message tells it; else empty.</param>
    /// <param name="name">Its name.</param>
    /// <param name="attempt">Its attempt.</param>
    /// <param name="said">The state that the message says.</param>
    ShownContainer? See(string containerId, string sandboxId, string name, uint attempt, ContainerState said);

    /// <summary>
    /// What callers are shown of a container, whose id this is, has changed: what was held back about it may go. Raised under locks, so
    /// handlers only take note of it.
    /// </summary>
    event Action<string>? ViewChanged;

    /// <summary>
    /// From here on a container is shown <see cref="ShownAs.Masked"/>, of which the backend will not send a STOPPED: this is it, with the
    /// statuses as the backend has them. Raised under locks.
    /// </summary>
    event Action<ContainerEventResponse>? EndMade;

    /// <summary>The sandbox of a container; null where it is not known.</summary>
    string? SandboxOf(string containerId);

    /// <summary>What there is to say about a container in its verbose status, as a JSON text; null: nothing.</summary>
    string? DescribeContainer(string containerId) => null;

    /// <summary>The same about a pod sandbox.</summary>
    string? DescribePod(string sandboxId) => null;

    /// <summary>The same about the runtime.</summary>
    string? DescribeNode() => null;
}

/// <summary>How a container is shown otherwise than the backend says.</summary>
/// <param name="As">What it is shown as.</param>
/// <param name="At">When it was started, or ended, where the backend's message can't tell.</param>
/// <param name="ExitCode">Of one that ended.</param>
/// <param name="Reason">Of one that ended.</param>
public readonly record struct ShownContainer(ShownAs As, DateTimeOffset? At = null, int ExitCode = 0, string Reason = "")
{
    /// <summary>As running.</summary>
    public static ShownContainer Running => new(ShownAs.Running);

    /// <summary>As completed.</summary>
    public static ShownContainer Completed => new(ShownAs.Completed);

    /// <summary>Not at all.</summary>
    public static ShownContainer Hidden => new(ShownAs.Hidden);

    /// <summary>Not at all, and it never will be: it stands behind one that is <see cref="ShownAs.Masked"/>.</summary>
    public static ShownContainer HiddenForGood => new(ShownAs.Hidden) { IsForGood = true };

    /// <summary>As completed, whatever the backend says.</summary>
    /// <param name="at">When.</param>
    /// <param name="attempt">The attempt that runs behind it, and whose log is its log.</param>
    public static ShownContainer Masked(DateTimeOffset at, int attempt) => new(ShownAs.Masked, at, 0, "Completed") { LogAttempt = attempt };

    /// <summary>The attempt that the log path is of, where that is not its own.</summary>
    public int? LogAttempt { get; init; }

    /// <summary>What is hidden is not going to be shown later.</summary>
    public bool IsForGood { get; init; }
}

/// <summary>What a container is shown as.</summary>
public enum ShownAs
{
    Running,
    Exited,

    /// <summary>As having ended with 0, reason Completed, when the backend says that it has ended; the message tells the true exit code.</summary>
    Completed,

    /// <summary>As having ended with 0, reason Completed, at a given time, whatever the backend says: it runs, or something in its place.</summary>
    Masked,

    /// <summary>When the backend says that it has ended, as having failed: never with 0.</summary>
    Failed,

    /// <summary>Not at all.</summary>
    Hidden,
}

/// <summary>No supervision: nothing is held, changed or hidden.</summary>
internal sealed class NoSupervision : ISupervision
{
    public bool RewritesViews => false;

    public bool WatchesEnds => false;

    public bool MapsIds => false;

    public bool WatchesHooks => false;

    public Task ReadyAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public string CurrentInstance(string containerId) => containerId;

    public void BeforeRunPodSandbox()
    {
    }

    public void OnPodSandboxRan(string sandboxId, PodSandboxConfig? config)
    {
    }

    public Task<CreateAnswer> BeforeCreateAsync(CreateContainerRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(default(CreateAnswer));

    public void OnCreated(CreateContainerRequest request, string containerId)
    {
    }

    public void OnCreateFailed(CreateContainerRequest request, bool isOutcomeKnown)
    {
    }

    public Task<bool> BeforeStartAsync(string containerId, DateTime deadline, CancellationToken cancellationToken) => Task.FromResult(false);

    public void OnStarted(string containerId)
    {
    }

    public Task<string> BeforeStopAsync(string containerId, TimeSpan timeout, DateTime deadline, CancellationToken cancellationToken) =>
        Task.FromResult(containerId);

    public void OnStopped(string containerId)
    {
    }

    public void OnExec(string containerId, IReadOnlyList<string> command, bool isRunning)
    {
    }

    public Task BeforeRemoveAsync(string containerId, DateTime deadline, CancellationToken cancellationToken) => Task.CompletedTask;

    public void OnRemoved(string containerId)
    {
    }

    public void OnResourcesUpdated(UpdateContainerResourcesRequest request)
    {
    }

    public Task<bool> BeforeStopSandboxAsync(string sandboxId, DateTime deadline, CancellationToken cancellationToken) =>
        Task.FromResult(false);

    public void OnStopSandboxEnded(string sandboxId, bool isStopped)
    {
    }

    public void OnPodSandboxRemoved(string sandboxId)
    {
    }

    public ShownContainer? Show(string containerId, string sandboxId, string name, uint attempt) => null;

    public ShownContainer? See(string containerId, string sandboxId, string name, uint attempt, ContainerState said) => null;

    public event Action<string>? ViewChanged
    {
        add { }
        remove { }
    }

    public event Action<ContainerEventResponse>? EndMade
    {
        add { }
        remove { }
    }

    public string? SandboxOf(string containerId) => null;
}
