using CriShim.Node.Draining;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Teardown;

/// <summary>What a drain asks of the pods' supervisors.</summary>
/// <param name="pods">All there are; null while the backend was not listed yet.</param>
/// <param name="find">One of them.</param>
internal sealed class OrderedTeardown(Func<IEnumerable<SupervisedPod>?> pods, Func<string, SupervisedPod?> find) : IPodTeardown
{
    public IReadOnlyList<PodToEnd>? ReadyPods() => pods() is { } all
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
        return new PodEndState(PodEndPhase.Ending, running, running.Count > 0 ? string.Join(", ", running) : "sandbox");
    }
}
