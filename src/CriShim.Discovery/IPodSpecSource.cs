namespace CriShim.Discovery;

/// <summary>
/// A place that pod specs can be read from. It may be away for hours: it says so to its sink and goes on trying. Nobody waits for it;
/// whoever wants to know of a pod reads the <see cref="PodFactsIndex"/>.
/// </summary>
public interface IPodSpecSource
{
    /// <summary>For logs and operators: "static manifests", "API server", "kubelet /pods".</summary>
    public string Name { get; }

    /// <summary>How its pods are told apart.</summary>
    public PodIdentity Identity { get; }

    /// <summary>Fills the sink until cancelled. Throws nothing else than that cancellation, unless there is a bug.</summary>
    public Task RunAsync(IPodFactsSink sink, CancellationToken cancellationToken);
}

/// <summary>What a source's pods are known by.</summary>
public enum PodIdentity
{
    /// <summary>The UID that CRI shows.</summary>
    Uid,

    /// <summary>
    /// Namespace and name: a manifest does not hold the UID, which the kubelet makes by hashing the manifest as that kubelet's version
    /// decodes and defaults it.
    /// </summary>
    Name,
}
