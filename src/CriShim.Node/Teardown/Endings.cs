using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Teardown;

/// <summary>Carries out what ends a pod: hooks, stops, and the sandbox's own stop.</summary>
/// <remarks>
/// None of it is queued: a shorter stop goes beside a longer one (rule 20). All of it is cut off when crishim stops, for the backend
/// does not kill for a call that was cut off; the next crishim sends the same with what is left of the time (rule 13).
/// </remarks>
internal sealed class Endings(NodeSupervision node, RuntimeAdapter backend)
{
    public async Task RunHookAsync(SupervisedPod pod, RunPreStop command)
    {
        if (node.HookOf(command.ContainerId) is { } hook)
        {
            long began = node.Time.GetTimestamp();
            node.Journal.HookBegan(pod.Identity.InJournal, command.Lineage, command.ContainerId);
            if (!hook.IsCommand)
            {
                await Task.Delay(hook.Sleep < command.Limit ? hook.Sleep : command.Limit, node.Time, node.Stopping).ConfigureAwait(false);
            }
            else
            {
                CallResult<ExecSyncResponse> result =
                    await backend.ExecSyncAsync(command.ContainerId, hook.Command, command.Limit, node.Stopping).ConfigureAwait(false);
                if (result.Value is not { ExitCode: 0 })
                {
                    // As for the kubelet: a hook that fails ends the container no less.
                    node.Journal.HookFailed(
                        pod.Identity.InJournal, command.Lineage, command.ContainerId, result.Value?.ExitCode, result.Failure);
                }
            }

            node.Journal.HookEnded(pod.Identity.InJournal, command.Lineage, command.ContainerId, node.Time.GetElapsedTime(began));
        }

        pod.Tell(new PreStopEnded(command.ContainerId));
    }

    public async Task StopAsync(SupervisedPod pod, StopInstance command)
    {
        node.Journal.StopSent(pod.Identity.InJournal, command);
        CallResult<StopContainerResponse> result =
            await backend.StopContainerAsync(command.ContainerId, command.Grace, node.Stopping).ConfigureAwait(false);
        if (result.Failure is { Kind: FailureKind.NotFound })
        {
            pod.Tell(new ContainerRemoved(command.ContainerId));
        }
        else if (result.Failure is { } failure)
        {
            node.Journal.StopFailed(pod.Identity.InJournal, command.Lineage, command.ContainerId, failure);
        }

        pod.Tell(new StopAnswered(command.ContainerId, result.IsOk));
    }

    public async Task StopSandboxAsync(SupervisedPod pod)
    {
        CallResult<StopPodSandboxResponse> result = await backend.StopPodSandboxAsync(pod.Identity.SandboxId, node.Stopping).ConfigureAwait(false);
        if (result.IsOk || result.Failure!.Kind == FailureKind.NotFound)
        {
            node.Journal.SandboxStopped(pod.Identity.InJournal);
            pod.Tell(new SandboxStopped());
        }
        else
        {
            // The next list that says ready has it tried again.
            node.Journal.SandboxStopFailed(pod.Identity.InJournal, result.Failure);
        }
    }
}
