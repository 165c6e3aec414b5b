namespace CriShim.Containerd.Requests;

/// <summary>Annotations that the kubelet puts on the containers and sandboxes it creates.</summary>
internal static class KubeletAnnotations
{
    public const string RestartCount = "io.kubernetes.container.restartCount";
    public const string TerminationMessagePath = "io.kubernetes.container.terminationMessagePath";

    /// <summary>On the sandbox: when this run of the kubelet first saw the pod.</summary>
    public const string ConfigSeen = "kubernetes.io/config.seen";
}
