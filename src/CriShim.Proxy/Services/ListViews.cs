using CriShim.Protocol.Runtime.V1;
using Google.Protobuf.Collections;

namespace CriShim.Proxy.Services;

/// <summary>What a caller sees of one list of containers, in one message or in many, and then the caller's own filter by state.</summary>
/// <remarks>
/// A replacement may be shown while the list is gone through. The list then stays with what it has said of that container name: it
/// shows neither two that run, nor none.
/// </remarks>
/// <param name="filter">The caller's; null: all states.</param>
/// <param name="supervision">Says what is shown.</param>
internal sealed class ListViews(ContainerState? filter, ISupervision supervision)
{
    private Dictionary<(string SandboxId, string Name), (ShownAs As, uint Attempt)>? _said;

    public ListContainersResponse Apply(ListContainersResponse response) =>
        RewrittenItems.With(response, static list => list.Containers, Shown(response.Containers));

    public StreamContainersResponse Apply(StreamContainersResponse response) =>
        RewrittenItems.With(response, static list => list.Containers, Shown(response.Containers));

    /// <summary>Null where all of it is shown as it is.</summary>
    private List<Container>? Shown(RepeatedField<Container> containers)
    {
        List<Container>? rewritten = null;
        for (int i = 0; i < containers.Count; i++)
        {
            Container container = containers[i];
            ShownAs? shown = ShownAsOf(container);
            ContainerState state = shown switch
            {
                ShownAs.Running => ContainerState.ContainerRunning,
                ShownAs.Exited or ShownAs.Masked => ContainerState.ContainerExited,
                _ => container.State,
            };
            bool keep = shown != ShownAs.Hidden && (filter is null || filter == state);
            if (keep && state == container.State)
            {
                rewritten?.Add(container);
                continue;
            }

            rewritten ??= [.. containers.Take(i)];
            if (keep)
            {
                Container copy = container.Clone();
                copy.State = state;
                rewritten.Add(copy);
            }
        }

        return rewritten;
    }

    private ShownAs? ShownAsOf(Container container)
    {
        (string name, uint attempt) = (container.Metadata?.Name ?? "", container.Metadata?.Attempt ?? 0);
        ShownContainer? seen = supervision.See(container.Id, container.PodSandboxId, name, attempt, container.State);
        ShownAs? shown = seen?.As;
        if (shown is ShownAs.Masked || seen is { IsForGood: true })
        {
            // Whatever becomes of what is behind.
            return shown;
        }

        if (_said is not null && _said.TryGetValue((container.PodSandboxId, name), out (ShownAs As, uint Attempt) said))
        {
            return said.As switch
            {
                ShownAs.Running when attempt > said.Attempt => ShownAs.Hidden,
                ShownAs.Hidden when attempt + 1 == said.Attempt && supervision.CurrentInstance(container.Id) != container.Id => ShownAs.Running,
                _ => shown,
            };
        }

        if (shown is ShownAs.Hidden || (shown is ShownAs.Running && container.State == ContainerState.ContainerExited))
        {
            _said ??= [];
            _said[(container.PodSandboxId, name)] = (shown.Value, attempt);
        }

        return shown;
    }
}
