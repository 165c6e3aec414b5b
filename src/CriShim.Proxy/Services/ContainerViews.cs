using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf.Collections;

namespace CriShim.Proxy.Services;

/// <summary>
/// Rewrites what callers see of containers in statuses and events, as <see cref="ListViews"/> does in lists (rule 1). Whatever needs no
/// rewriting is returned as the same object, so that its bytes go on as they came.
/// </summary>
/// <remarks>
/// Supervision is asked about messages that are here already, also where nothing is to be rewritten by now: a message can be older than
/// the step by which a replacement was shown.
/// </remarks>
internal static class ContainerViews
{
    /// <summary>One status; null where the container is hidden.</summary>
    public static ContainerStatusResponse? Apply(ContainerStatusResponse response, ISupervision supervision)
    {
        if (response.Status is null)
        {
            return response;
        }

        ContainerStatus? status = Apply(response.Status, "", supervision);
        if (status is null || ReferenceEquals(status, response.Status))
        {
            return status is null ? null : response;
        }

        ContainerStatusResponse rewritten = response.Clone();
        rewritten.Status = status;
        return rewritten;
    }

    /// <summary>A sandbox's status, with the statuses of its containers where the backend adds them.</summary>
    public static PodSandboxStatusResponse Apply(PodSandboxStatusResponse response, ISupervision supervision) => RewrittenItems.With(
        response, static sandbox => sandbox.ContainersStatuses, Apply(response.ContainersStatuses, response.Status?.Id ?? "", supervision));

    /// <summary>An event, with the statuses of all containers of its sandbox.</summary>
    public static ContainerEventResponse Apply(ContainerEventResponse response, string sandboxId, ISupervision supervision) => RewrittenItems.With(
        response, static change => change.ContainersStatuses, Apply(response.ContainersStatuses, sandboxId, supervision));

    /// <summary>Null where all of it is shown as it is.</summary>
    private static List<ContainerStatus>? Apply(RepeatedField<ContainerStatus> statuses, string sandboxId, ISupervision supervision)
    {
        List<ContainerStatus>? rewritten = null;
        for (int i = 0; i < statuses.Count; i++)
        {
            ContainerStatus status = statuses[i];
            ContainerStatus? shown = Apply(status, sandboxId, supervision);
            if (ReferenceEquals(shown, status))
            {
                rewritten?.Add(status);
                continue;
            }

            rewritten ??= [.. statuses.Take(i)];
            if (shown is not null)
            {
                rewritten.Add(shown);
            }
        }

        return rewritten;
    }

    private static ContainerStatus? Apply(ContainerStatus status, string sandboxId, ISupervision supervision)
    {
        if (supervision.See(status.Id, sandboxId, status.Metadata?.Name ?? "", status.Metadata?.Attempt ?? 0, status.State) is not { } shown)
        {
            return status;
        }

        switch (shown.As)
        {
            case ShownAs.Hidden:
                return null;
            case ShownAs.Running when status.State == ContainerState.ContainerRunning:
                return status;
            case ShownAs.Running:
                // As containerd reports one that runs: no end, no exit code, no reason.
                ContainerStatus running = status.Clone();
                running.State = ContainerState.ContainerRunning;
                running.StartedAt = shown.At is { } startedAt ? Nanoseconds(startedAt) : status.StartedAt;
                running.FinishedAt = 0;
                running.ExitCode = 0;
                running.Reason = "";
                running.Message = "";
                return running;
            case ShownAs.Completed when status.State != ContainerState.ContainerExited || status is { ExitCode: 0, Reason: "Completed" }:
                return status;
            case ShownAs.Completed:
                ContainerStatus completed = status.Clone();
                completed.ExitCode = 0;
                completed.Reason = "Completed";
                completed.Message = $"ended with exit code {status.ExitCode} when it was stopped, because the pod's main containers had completed";
                return completed;
            case ShownAs.Failed when status is { State: ContainerState.ContainerExited, ExitCode: 0 }:
                ContainerStatus failed = status.Clone();
                failed.ExitCode = 1;
                failed.Reason = status.Reason is "Completed" or "" ? "Error" : status.Reason;
                failed.Message = "ended with exit code 0 before it had started";
                return failed;
            case ShownAs.Failed:
                return status;
            case ShownAs.Masked:
                ContainerStatus masked = status.Clone();
                masked.State = ContainerState.ContainerExited;
                masked.FinishedAt = shown.At is { } completedAt ? Nanoseconds(completedAt) : status.FinishedAt;
                masked.ExitCode = shown.ExitCode;
                masked.Reason = shown.Reason;
                masked.Message = "";
                masked.LogPath = LogPathOf(status, shown.LogAttempt);
                return masked;
            default:
                ContainerStatus exited = status.Clone();
                exited.State = ContainerState.ContainerExited;
                exited.FinishedAt = shown.At is { } finishedAt ? Nanoseconds(finishedAt) : status.FinishedAt;
                exited.ExitCode = shown.ExitCode;
                exited.Reason = shown.Reason;
                return exited;
        }
    }

    /// <summary>A kubelet names logs by their attempts, all in one folder.</summary>
    private static string LogPathOf(ContainerStatus status, int? attempt) =>
        attempt is { } number && status.LogPath.EndsWith(string.Create(CultureInfo.InvariantCulture, $"/{status.Metadata?.Attempt ?? 0}.log"), StringComparison.Ordinal)
            ? string.Create(CultureInfo.InvariantCulture, $"{status.LogPath[..(status.LogPath.LastIndexOf('/') + 1)]}{number}.log")
            : status.LogPath;

    private static long Nanoseconds(DateTimeOffset at) => (at - DateTimeOffset.UnixEpoch).Ticks * 100;
}
