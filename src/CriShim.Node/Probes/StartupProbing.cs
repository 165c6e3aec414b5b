using System.Net;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Probes;

/// <summary>Probes an instance until it has started, or, where that matters, has failed to.</summary>
internal sealed class StartupProbing(NodeSupervision node, RuntimeAdapter backend, Prober prober)
{
    /// <summary>Between two looks at whether it runs: the backend is asked only while it does not say so.</summary>
    private static readonly TimeSpan LookAgainAfter = TimeSpan.FromMilliseconds(250);

    public async Task RunAsync(SupervisedPod pod, ProbeStartup command)
    {
        if (command.Probe is null)
        {
            await AwaitRunningAsync(pod, command).ConfigureAwait(false);
            return;
        }

        if (StartupProbe.Read(command.Probe, out string fault) is not { } probe)
        {
            node.Journal.ProbeNotRun(pod.Identity.InJournal, command.Lineage, command.ContainerId, fault);
            await AwaitRunningAsync(pod, command).ConfigureAwait(false);
            return;
        }

        IPAddress? address = null;
        if (probe.Action is not ExecAction)
        {
            CallResult<PodSandboxStatusResponse> sandbox =
                await backend.PodSandboxStatusAsync(pod.Identity.SandboxId, verbose: false, node.Stopping).ConfigureAwait(false);
            if (sandbox.Value?.Status is { } status && !IPAddress.TryParse(status.Network?.Ip, out address))
            {
                // On the host's network nothing tells the pod's ports from the node's.
                node.Journal.ProbeNotRun(pod.Identity.InJournal, command.Lineage, command.ContainerId, "the pod has no address of its own");
                await AwaitRunningAsync(pod, command).ConfigureAwait(false);
                return;
            }
        }

        await Task.Delay(probe.InitialDelay, node.Time, node.Stopping).ConfigureAwait(false);
        int failures = 0;
        while (pod.IsProbeWanted(command.Lineage, command.ContainerId))
        {
            bool hasStarted;
            await pod.ProbePlaces.WaitAsync(node.Stopping).ConfigureAwait(false);
            try
            {
                hasStarted = await prober.AskAsync(probe, command.ContainerId, address, node.Stopping).ConfigureAwait(false);
            }
            finally
            {
                _ = pod.ProbePlaces.Release();
            }

            if (hasStarted)
            {
                pod.Tell(new StartupProbePassed(command.ContainerId));
                return;
            }

            failures++;
            if (failures >= probe.FailureThreshold && command.MayFail && pod.IsProbeWanted(command.Lineage, command.ContainerId))
            {
                node.Journal.StartupFailed(pod.Identity.InJournal, command.Lineage, command.ContainerId, failures);
                pod.Tell(new StartupProbeFailed(command.ContainerId));
                return;
            }

            await Task.Delay(probe.Period, node.Time, node.Stopping).ConfigureAwait(false);
        }
    }

    /// <summary>A kubelet takes what runs, and has no probe, for started. Where others only wait for it, that it was started is enough.</summary>
    private async Task AwaitRunningAsync(SupervisedPod pod, ProbeStartup command)
    {
        while (pod.IsProbeWanted(command.Lineage, command.ContainerId))
        {
            ContainerState state = ContainerState.ContainerRunning;
            if (command.MayFail)
            {
                CallResult<ContainerStatusResponse> result =
                    await backend.ContainerStatusAsync(command.ContainerId, verbose: false, node.Stopping).ConfigureAwait(false);
                state = result.Value?.Status?.State ?? ContainerState.ContainerUnknown;
            }

            if (state == ContainerState.ContainerRunning)
            {
                pod.Tell(new StartupProbePassed(command.ContainerId));
                return;
            }

            if (state == ContainerState.ContainerExited)
            {
                // Its end is told by those who look for ends.
                return;
            }

            await Task.Delay(LookAgainAfter, node.Time, node.Stopping).ConfigureAwait(false);
        }
    }
}
