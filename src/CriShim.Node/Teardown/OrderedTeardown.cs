using CriShim.Node.Draining;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Teardown;

/// <summary>What a drain asks of the pods' supervisors.</summary>
/// <param name="listAsync">Lists the backend now; all pods there are, or null where it can't be listed.</param>
/// <param name="find">One of them.</param>
internal sealed class OrderedTeardown(Func<Task<IEnumerable<SupervisedPod>?>> listAsync, Func<string, SupervisedPod?> find) : IPodTeardown
{
    public async Task<IReadOnlyList<PodToEnd>?> ListReadyPodsAsync(CancellationToken cancellationToken) =>
        await listAsync().WaitAsync(cancellationToken).ConfigureAwait(false) is { } all
            ? [.. all.Where(pod => pod.IsReady).Select(pod => new PodToEnd(pod.Identity.SandboxId, pod.Identity.Namespace, pod.Identity.Name))]
            : null;

    public void BeginEnd(string sandboxId, TimeSpan grace) => find(sandboxId)?.Tell(new EndPod(grace));

    public PodEndState? StateOf(string sandboxId)
    {
        if (find(sandboxId) is not { } pod)
        {
            return null;
        }

        if (!pod.IsReady)
        {
            return new PodEndState(PodEndPhase.Done, [], "ended");
        }

        IReadOnlyList<string> running = pod.Running;
        return new PodEndState(PodEndPhase.Ending, running, running.Count > 0 ? "containers" : "sandbox");
    }
}
