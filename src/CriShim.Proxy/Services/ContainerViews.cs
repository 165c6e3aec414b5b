using CriShim.Protocol.Runtime.V1;

namespace CriShim.Proxy.Services;

/// <summary>
/// Rewrites what callers see of containers, the same in lists, statuses and streams (rule 1). Whatever needs no rewriting is
/// returned as the same object, so that its bytes go on as they came.
/// </summary>
internal static class ContainerViews
{
    /// <summary>A list, and then the caller's own filter by state.</summary>
    public static ListContainersResponse Apply(ListContainersResponse response, ContainerState? filter, ISupervision supervision)
    {
        ListContainersResponse? rewritten = null;
        for (int i = 0; i < response.Containers.Count; i++)
        {
            Container container = response.Containers[i];
            ShownContainer? shown = supervision.RewritesViews ? Show(container, supervision) : null;
            ContainerState state = shown == ShownContainer.Running ? ContainerState.ContainerRunning : container.State;
            bool keep = shown != ShownContainer.Hidden && (filter is null || filter == state);
            if (rewritten is null)
            {
                if (keep && state == container.State)
                {
                    continue;
                }

                rewritten = response.Clone();
                rewritten.Containers.Clear();
                rewritten.Containers.AddRange(response.Containers.Take(i));
            }

            if (keep)
            {
                Container copy = state == container.State ? container : container.Clone();
                copy.State = state;
                rewritten.Containers.Add(copy);
            }
        }

        return rewritten ?? response;
    }

    /// <summary>One status; null where the container is hidden.</summary>
    public static ContainerStatusResponse? Apply(ContainerStatusResponse response, ISupervision supervision)
    {
        if (response.Status is null)
        {
            return response;
        }

        ContainerStatus? status = Apply(response.Status, supervision);
        if (status is null || ReferenceEquals(status, response.Status))
        {
            return status is null ? null : response;
        }

        ContainerStatusResponse rewritten = response.Clone();
        rewritten.Status = status;
        return rewritten;
    }

    /// <summary>A sandbox's status, with the statuses of its containers where the backend adds them.</summary>
    public static PodSandboxStatusResponse Apply(PodSandboxStatusResponse response, ISupervision supervision)
    {
        PodSandboxStatusResponse? rewritten = null;
        for (int i = 0; i < response.ContainersStatuses.Count; i++)
        {
            ContainerStatus status = response.ContainersStatuses[i];
            ContainerStatus? shown = Apply(status, supervision);
            if (rewritten is null)
            {
                if (ReferenceEquals(shown, status))
                {
                    continue;
                }

                rewritten = response.Clone();
                rewritten.ContainersStatuses.Clear();
                rewritten.ContainersStatuses.AddRange(response.ContainersStatuses.Take(i));
            }

            if (shown is not null)
            {
                rewritten.ContainersStatuses.Add(shown);
            }
        }

        return rewritten ?? response;
    }

    private static ShownContainer? Show(Container container, ISupervision supervision) =>
        supervision.Show(container.Id, container.PodSandboxId, container.Metadata?.Name ?? "", container.Metadata?.Attempt ?? 0);

    private static ContainerStatus? Apply(ContainerStatus status, ISupervision supervision)
    {
        switch (supervision.RewritesViews
            ? supervision.Show(status.Id, "", status.Metadata?.Name ?? "", status.Metadata?.Attempt ?? 0)
            : null)
        {
            case null:
                return status;
            case ShownContainer.Hidden:
                return null;
            default:
                // As containerd reports one that runs: no end, no exit code, no reason.
                ContainerStatus running = status.Clone();
                running.State = ContainerState.ContainerRunning;
                running.FinishedAt = 0;
                running.ExitCode = 0;
                running.Reason = "";
                running.Message = "";
                return running;
        }
    }
}
