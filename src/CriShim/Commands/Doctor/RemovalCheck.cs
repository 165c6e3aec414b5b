namespace CriShim.Commands.Doctor;

/// <summary>Whether the node would go on working without crishim.</summary>
internal sealed class RemovalCheck : ICheck
{
    public const string Name = "removal";

    public string Area => Name;

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        bool isFree = true;
        string[] pointing = [.. KubeletCheck.PointingAtCrishim(diagnosis)];
        if (pointing.Length > 0)
        {
            isFree = false;
            diagnosis.Blame(
                Area, $"the kubelet is pointed at crishim, without which the node would go NotReady: {string.Join(", ", pointing)}",
                $"set it back to unix://{diagnosis.Configuration.Containerd.SocketPath}: {KubeletCheck.Way}");
        }

        KeptPod[] kept = [.. KeptPod.ReadAll(diagnosis.At(diagnosis.Configuration.Supervision.StateDirectory))
            .Where(pod => diagnosis.Pods?.ContainsKey(pod.SandboxId) != false)];
        KeptPod[] masked = [.. kept.Where(pod => pod.Masked.Count > 0)];
        if (masked.Length > 0)
        {
            isFree = false;
            diagnosis.Blame(
                Area, "the kubelet was told that sidecars of these pods have completed, which only crishim keeps up: "
                + string.Join(", ", masked.Select(pod => LeftoverCheck.Name(pod, diagnosis))),
                "wait until these pods end, or delete them; crishim serve --supervise off (supervision.mode) makes no more of them");
        }

        KeptPod[] ending = [.. kept.Where(pod => pod.IsEnding)];
        if (ending.Length > 0)
        {
            isFree = false;
            diagnosis.Blame(
                Area, $"pods are being ended in order: {string.Join(", ", ending.Select(pod => LeftoverCheck.Name(pod, diagnosis)))}",
                "wait until they have ended");
        }

        if (isFree)
        {
            diagnosis.Good(Area, "nothing on this node needs crishim");
        }

        return Task.CompletedTask;
    }
}
