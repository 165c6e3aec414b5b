using System.Collections.Concurrent;
using CriShim.Containerd.Requests;
using CriShim.Containerd.Runtime;
using CriShim.Linux.Files;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node;

/// <summary>Carries a supervisor's commands out: calls to the backend, and the files that belong to an attempt.</summary>
/// <remarks>
/// A call that changes something is never given up once it is made, for containerd takes a cancelled StartContainer badly: 2.1 has
/// been seen to leave a created task behind that nothing in CRI can remove. Only questions end with this process.
/// </remarks>
internal sealed class Replacements(NodeSupervision node, RuntimeAdapter backend, ContainerFiles files)
{
    private readonly ConcurrentDictionary<string, Lazy<Task>> _removals = new(StringComparer.Ordinal);

    /// <summary>Rules 2 and 10: the recorded request with the next number, a fresh termination log, and the last resources.</summary>
    public async Task CreateAsync(SupervisedPod pod, CreateReplacement command)
    {
        string sandboxId = pod.Identity.SandboxId;
        CreateContainerRequest? recorded = await RecordedAsync(pod, command.Lineage).ConfigureAwait(false);
        if (recorded?.Config is null)
        {
            node.Journal.RequestUnknown(pod.Identity.InJournal, command.Lineage);
            pod.Tell(new ReplacementFailed(command.Lineage, command.Attempt, ReplacementFailure.Refused));
            return;
        }

        string? terminationLog = null;
        if (TerminationLogMount.HostPath(recorded.Config) is { } previous)
        {
            FileResult made = files.CreateTerminationLog(previous);
            terminationLog = made.Outcome == FileOutcome.Done ? made.Path : null;
            if (terminationLog is null)
            {
                node.Log.FileFailed("The termination log", command.Lineage, sandboxId, made.ToString());
            }
        }

        LinuxContainerResources? resources = node.Store.ReadResources(sandboxId, command.Lineage)?.Linux;
        CreateContainerRequest request = ReplacementRequest.Build(recorded, (uint)command.Attempt, resources, terminationLog);
        CallResult<CreateContainerResponse> result = await backend.CreateContainerAsync(request, CancellationToken.None).ConfigureAwait(false);
        if (result.Value is { } created)
        {
            node.Track(created.ContainerId, pod, command.Lineage, command.Attempt);
            pod.Tell(new ReplacementCreated(command.Lineage, command.Attempt, created.ContainerId, node.Now));
            return;
        }

        if (terminationLog is not null && result.Failure!.Kind is not (FailureKind.Unavailable or FailureKind.TimedOut))
        {
            _ = files.RemoveTerminationLog(terminationLog);
        }

        node.Journal.ReplacementFailed(pod.Identity.InJournal, command.Lineage, command.Attempt, "CreateContainer", result.Failure!);
        pod.Tell(new ReplacementFailed(command.Lineage, command.Attempt, MeaningOf(result.Failure!)));
    }

    public async Task StartAsync(SupervisedPod pod, StartReplacement command)
    {
        CallResult<StartContainerResponse> result = await backend.StartContainerAsync(command.ContainerId, CancellationToken.None).ConfigureAwait(false);
        if (result.Failure is { } failure)
        {
            node.Journal.ReplacementFailed(pod.Identity.InJournal, command.Lineage, command.Attempt, "StartContainer", failure);
            pod.Tell(new ReplacementFailed(command.Lineage, command.Attempt, MeaningOf(failure)));
            return;
        }

        DateTimeOffset startedAt = node.Now;
        node.Journal.Started(pod.Identity.InJournal, command.Lineage, command.ContainerId, command.Attempt, isReplacement: true);
        pod.Tell(new ReplacementStarted(command.ContainerId, startedAt));
        node.OnRestored(pod.Identity, command, startedAt);

        // The kubelet links only the logs of what it starts itself, and log collectors find logs by these links (section 2).
        CallResult<ContainerStatusResponse> status =
            await backend.ContainerStatusAsync(command.ContainerId, verbose: false, node.Stopping).ConfigureAwait(false);
        if (status.Value?.Status is { LogPath: { Length: > 0 } log })
        {
            FileResult linked = files.LinkLog(log, pod.Identity.Name, pod.Identity.Namespace, command.Lineage, command.ContainerId);
            if (!linked.IsDone && linked.Outcome != FileOutcome.OutsideRoot)
            {
                node.Log.FileFailed("The log's link", command.Lineage, pod.Identity.SandboxId, linked.ToString());
            }
        }
    }

    public async Task ApplyResourcesAsync(SupervisedPod pod, ApplyResources command)
    {
        if (node.Store.ReadResources(pod.Identity.SandboxId, command.Lineage) is { } update)
        {
            update.ContainerId = command.ContainerId;
            CallResult<UpdateContainerResourcesResponse> result =
                await backend.UpdateContainerResourcesAsync(update, CancellationToken.None).ConfigureAwait(false);
            if (result.Failure is { } failure)
            {
                node.Journal.ReplacementFailed(pod.Identity.InJournal, command.Lineage, -1, "UpdateContainerResources", failure);
            }
        }
    }

    /// <summary>Rule 23: with an attempt go its logs, their link, and its termination log.</summary>
    /// <remarks>
    /// Asked for twice (by a command, and by a caller's create that has to wait for it), it is done once: a second one that comes late
    /// would take the logs of the attempt that has the same number by then.
    /// </remarks>
    public async Task RemoveAsync(SupervisedPod pod, RemoveInstance command)
    {
        Lazy<Task> removal = _removals.GetOrAdd(command.ContainerId, _ => new Lazy<Task>(() => RemoveOnceAsync(pod, command)));
        try
        {
            await removal.Value.ConfigureAwait(false);
        }
        finally
        {
            _ = _removals.TryRemove(new KeyValuePair<string, Lazy<Task>>(command.ContainerId, removal));
        }
    }

    private async Task RemoveOnceAsync(SupervisedPod pod, RemoveInstance command)
    {
        CallResult<ContainerStatusResponse> status =
            await backend.ContainerStatusAsync(command.ContainerId, verbose: false, node.Stopping).ConfigureAwait(false);
        CallResult<RemoveContainerResponse> removed = await backend.RemoveContainerAsync(command.ContainerId, CancellationToken.None).ConfigureAwait(false);
        if (removed.Failure is { Kind: FailureKind.TaskLeftBehind })
        {
            // A crishim that was killed while it started this one: nothing in CRI removes it any more.
            _ = await backend.DiscardTaskAsync(command.ContainerId, CancellationToken.None).ConfigureAwait(false);
            removed = await backend.RemoveContainerAsync(command.ContainerId, CancellationToken.None).ConfigureAwait(false);
        }

        if (removed.Failure is { Kind: FailureKind.BeingRemoved or FailureKind.NotFound })
        {
            // A kubelet collects dead attempts, too, and its files go with them. Lists tell when it has.
            return;
        }

        if (removed.Failure is { } failure)
        {
            node.Log.RemovalFailed(command.ContainerId, command.Lineage, pod.Identity.SandboxId, failure);
            pod.Tell(new RemovalFailed(command.ContainerId));
            return;
        }

        node.Journal.InstanceRemoved(pod.Identity.InJournal, command.Lineage, command.ContainerId, command.Reason);
        pod.Tell(new ContainerRemoved(command.ContainerId));
        if (status.Value?.Status is { } last)
        {
            RemoveFiles(pod, command.Lineage, last);
        }
    }

    public async Task InspectAsync(SupervisedPod pod, InspectInstance command)
    {
        CallResult<ContainerStatusResponse> result =
            await backend.ContainerStatusAsync(command.ContainerId, verbose: false, node.Stopping).ConfigureAwait(false);
        if (result.Failure is { Kind: FailureKind.NotFound })
        {
            pod.Tell(new ContainerRemoved(command.ContainerId));
        }
        else if (result.Value?.Status is { State: ContainerState.ContainerExited } status)
        {
            node.NoteEnd(command.ContainerId, ExitOf(status));
            pod.Tell(new ContainerExited(command.ContainerId, ExitOf(status)) { IsListed = true });
        }
    }

    internal static ContainerExit ExitOf(ContainerStatus status) => new(
        status.ExitCode, status.Reason == "OOMKilled", DateTimeOffset.UnixEpoch.AddTicks(status.FinishedAt / 100));

    private static ReplacementFailure MeaningOf(CallFailure failure) => failure.Kind switch
    {
        FailureKind.NameReserved => ReplacementFailure.NameReserved,
        FailureKind.Unavailable or FailureKind.TimedOut => ReplacementFailure.OutcomeUnknown,
        FailureKind.SandboxNotReady => ReplacementFailure.SandboxNotReady,
        FailureKind.BeingStarted => ReplacementFailure.StillStarting,
        _ => ReplacementFailure.Refused,
    };

    /// <summary>The last CreateContainer of a caller; where none is kept, what the backend remembers of it.</summary>
    private async Task<CreateContainerRequest?> RecordedAsync(SupervisedPod pod, string lineage)
    {
        if (node.Store.ReadCreateRequest(pod.Identity.SandboxId, lineage) is { } recorded)
        {
            return recorded;
        }

        string? current = pod.Views().FirstOrDefault(view => view.Name == lineage)?.CurrentId;
        if (current is null)
        {
            return null;
        }

        CallResult<ContainerStatusResponse> container = await backend.ContainerStatusAsync(current, verbose: true, node.Stopping).ConfigureAwait(false);
        CallResult<PodSandboxStatusResponse> sandbox =
            await backend.PodSandboxStatusAsync(pod.Identity.SandboxId, verbose: true, node.Stopping).ConfigureAwait(false);
        return container.Value is null || sandbox.Value is null ? null : RecordedRequest.FromVerboseStatus(container.Value, sandbox.Value);
    }

    private void RemoveFiles(SupervisedPod pod, string lineage, ContainerStatus status)
    {
        Report("The logs", files.RemoveLogs(status.LogPath));
        Report("The log's link", files.RemoveLink(pod.Identity.Name, pod.Identity.Namespace, lineage, status.Id));
        if (status.Annotations.TryGetValue("io.kubernetes.container.terminationMessagePath", out string? inside)
            && status.Mounts.FirstOrDefault(mount => mount.ContainerPath == inside)?.HostPath is { Length: > 0 } path)
        {
            Report("The termination log", files.RemoveTerminationLog(path));
        }

        void Report(string what, FileResult result)
        {
            if (!result.IsDone && result.Outcome != FileOutcome.OutsideRoot)
            {
                node.Log.FileFailed(what, lineage, pod.Identity.SandboxId, result.ToString());
            }
        }
    }
}
