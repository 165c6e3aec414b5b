using CriShim.Containerd.Runtime;
using CriShim.Linux.Files;
using CriShim.Protocol.Runtime.V1;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Logs;

/// <summary>Rotates the logs of containers that run and are shown as completed: the kubelet rotates those of running ones only.</summary>
/// <remarks>
/// Its steps are the kubelet's, and each leaves something that the next round goes on with: an unfinished compression is removed, a log
/// that was renamed and not opened anew is opened then, and no line is lost, for the backend writes on into the renamed file until then.
/// </remarks>
internal sealed class LogRotation(
    LogRotationOptions options, Func<IReadOnlyList<MaskedContainer>> masked, RuntimeAdapter backend, ContainerFiles files, ILogger logger, TimeProvider time)
{
    private readonly ToldFailures _told = new();

    /// <summary>Until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(options.Interval, time);
        while (await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false))
        {
            await RotateAllAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>One round.</summary>
    public async Task RotateAllAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<MaskedContainer> containers = masked();
        _told.Keep(containers.Select(container => container.InstanceId));
        foreach (MaskedContainer container in containers)
        {
            string? failure;
            try
            {
                failure = await RotateAsync(container, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failure = e.GetType().Name;
            }

            if (_told.IsNews(container.InstanceId, failure))
            {
                logger.LogNotRotated(container.Name, container.Pod.SandboxId, failure!);
            }
        }
    }

    /// <returns>What went wrong; null when nothing did.</returns>
    private async Task<string?> RotateAsync(MaskedContainer container, CancellationToken cancellationToken)
    {
        CallResult<ContainerStatusResponse> asked =
            await backend.ContainerStatusAsync(container.InstanceId, verbose: false, cancellationToken).ConfigureAwait(false);
        // The backend's own word on the path and the state: an instance that has ended meanwhile has nothing to open anew.
        if (asked.Value?.Status is not { State: ContainerState.ContainerRunning, LogPath: { Length: > 0 } path })
        {
            return null;
        }

        FileResult opened = files.OpenLog(path, out ContainerLog? log);
        if (log is null)
        {
            return opened.ToString();
        }

        using (log)
        {
            LogRotationPlan plan = LogRotationPlan.Of(log.Name, log.Files(), options, time.GetLocalNow());
            string? failure = null;
            foreach (FileResult done in plan.Remove.Select(log.Remove).Concat(plan.Compress.Select(log.Compress)))
            {
                failure ??= done.IsDone ? null : done.ToString();
            }

            if (!plan.IsReopened)
            {
                return failure;
            }

            // Also where the disk is too full to compress: what is deleted later is what helps then.
            if (plan.RotateTo is { } rotated && log.Rename(log.Name, rotated) is { Outcome: not FileOutcome.Done } renamed)
            {
                return renamed.ToString();
            }

            CallResult<ReopenContainerLogResponse> reopened =
                await backend.ReopenContainerLogAsync(container.InstanceId, cancellationToken).ConfigureAwait(false);
            if (reopened.Failure is { } refused)
            {
                // The backend goes on writing into the renamed file: it gets its name back, unless there is a new one after all.
                if (plan.RotateTo is { } given && !log.Files().Any(file => file.Name == log.Name))
                {
                    _ = log.Rename(given, log.Name);
                }

                return $"ReopenContainerLog: {refused}";
            }

            if (plan.RotateTo is { } name)
            {
                logger.LogRotated(container.Name, container.Pod.SandboxId, name);
            }

            return failure;
        }
    }
}

/// <summary>Log events of rotation.</summary>
internal static partial class LogRotationLog
{
    [LoggerMessage(371, LogLevel.Information, "Log of {Container} in sandbox {SandboxId} is rotated to {File}")]
    public static partial void LogRotated(this ILogger log, string container, string sandboxId, string file);

    [LoggerMessage(372, LogLevel.Warning, "Log of {Container} in sandbox {SandboxId} could not be rotated, and is tried again: {Failure}")]
    public static partial void LogNotRotated(this ILogger log, string container, string sandboxId, string failure);
}
