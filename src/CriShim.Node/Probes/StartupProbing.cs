using System.Net;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Probes;

/// <summary>Probes an instance until it has started.</summary>
internal sealed class StartupProbing(NodeSupervision node, RuntimeAdapter backend, Prober prober)
{
    public async Task RunAsync(SupervisedPod pod, ProbeStartup command)
    {
        if (StartupProbe.Read(command.Probe, out string fault) is not { } probe)
        {
            node.Log.ProbeNotRun(command.Lineage, pod.Identity.SandboxId, fault);
            pod.Tell(new StartupProbePassed(command.ContainerId));
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
                node.Log.ProbeNotRun(command.Lineage, pod.Identity.SandboxId, "the pod has no address of its own");
                pod.Tell(new StartupProbePassed(command.ContainerId));
                return;
            }
        }

        await Task.Delay(probe.InitialDelay, node.Time, node.Stopping).ConfigureAwait(false);
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

            await Task.Delay(probe.Period, node.Time, node.Stopping).ConfigureAwait(false);
        }
    }
}
