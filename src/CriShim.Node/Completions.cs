using System.Collections.Concurrent;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node;

/// <summary>Has emulated sidecars shown completed, and tells those who follow events, for the backend knows of no end.</summary>
/// <remarks>
/// What is told is made ready before the step that shows it: whatever the backend tells of what callers do then comes later, and is newer.
/// </remarks>
internal sealed class Completions(NodeSupervision node, RuntimeAdapter backend)
{
    private readonly ConcurrentDictionary<string, ContainerEventResponse> _ready = new(StringComparer.Ordinal);

    public async Task ShowAsync(SupervisedPod pod, RecordCompletion command, bool isRecorded)
    {
        string? id = pod.CurrentOf(command.Lineage);
        if (!isRecorded)
        {
            node.Journal.CompletionNotRecorded(pod.Identity.InJournal, command.Lineage, id ?? "");
        }
        else if (id is not null && node.AreEventsFollowed && await MakeEndAsync(pod, id).ConfigureAwait(false) is { } end)
        {
            _ready[id] = end;
        }

        pod.Tell(new CompletionRecorded(command.Lineage, isRecorded));
        if (id is not null)
        {
            _ = _ready.TryRemove(id, out _);
        }
    }

    /// <summary>Under the pod's lock.</summary>
    public void OnShown(SupervisedPod pod, CompletionShown command)
    {
        node.Journal.CompletionShown(pod.Identity.InJournal, command.Lineage, command.ContainerId);
        node.OnMaskBegan();
        if (_ready.TryRemove(command.ContainerId, out ContainerEventResponse? end))
        {
            node.OnEndMade(end);
        }
    }

    /// <summary>As the backend makes its events: with all statuses of the sandbox.</summary>
    private async Task<ContainerEventResponse?> MakeEndAsync(SupervisedPod pod, string containerId)
    {
        string sandboxId = pod.Identity.SandboxId;
        CallResult<PodSandboxStatusResponse> sandbox = await backend.PodSandboxStatusAsync(sandboxId, verbose: false, node.Stopping).ConfigureAwait(false);
        CallResult<ListContainersResponse> containers =
            await backend.ListContainersAsync(new ContainerFilter { PodSandboxId = sandboxId }, node.Stopping).ConfigureAwait(false);
        if (sandbox.Value is null || containers.Value is null)
        {
            node.Log.EndNotMade(containerId, sandboxId, sandbox.Failure ?? containers.Failure!);
            return null;
        }

        var end = new ContainerEventResponse
        {
            ContainerId = containerId,
            ContainerEventType = ContainerEventType.ContainerStoppedEvent,
            CreatedAt = (node.Now - DateTimeOffset.UnixEpoch).Ticks * TimeSpan.NanosecondsPerTick,
            PodSandboxStatus = sandbox.Value.Status,
        };
        foreach (Container container in containers.Value.Containers)
        {
            CallResult<ContainerStatusResponse> status = await backend.ContainerStatusAsync(container.Id, verbose: false, node.Stopping).ConfigureAwait(false);
            if (status.Value?.Status is { } one)
            {
                end.ContainersStatuses.Add(one);
            }
            else if (status.Failure is { Kind: not FailureKind.NotFound } failure)
            {
                node.Log.EndNotMade(containerId, sandboxId, failure);
                return null;
            }
        }

        return end;
    }
}
