using System.Text;

namespace CriShim.Proxy.Forwarding;

/// <summary>What a request says about the object it is for, by the place of its id in the message.</summary>
internal enum SubjectField
{
    /// <summary>Nothing that could be told.</summary>
    None,

    /// <summary>Field 1 is a container id.</summary>
    ContainerId,

    /// <summary>Field 1 is a pod sandbox id.</summary>
    PodSandboxId,

    /// <summary>Field 1 is the pod sandbox's config, whose field 1 is its metadata.</summary>
    PodSandboxConfig,
}

/// <summary>Calls by which a kubelet is known.</summary>
internal enum KubeletHabit
{
    /// <summary>Anybody makes this call.</summary>
    None,

    /// <summary>The runtime's Status: every kubelet asks for it every five seconds, on one connection.</summary>
    AsksForStatus,

    /// <summary>It brings pods or containers up.</summary>
    RunsPods,
}

/// <summary>One path that callers ask for, and what becomes of it.</summary>
internal sealed class CriMethod
{
    public CriMethod(string path, bool isForwarded)
    {
        Path = path;
        PathBytes = Encoding.ASCII.GetBytes(path);
        IsForwarded = isForwarded;
    }

    /// <summary>The path, such as <c>/runtime.v1.RuntimeService/Version</c>.</summary>
    public string Path { get; }

    public byte[] PathBytes { get; }

    /// <summary>It belongs to a package that goes to the backend; other services are not reachable.</summary>
    public bool IsForwarded { get; }

    /// <summary>A stream that only ends when its caller or its backend does: it must not hold up a stop.</summary>
    public bool IsEndless { get; init; }

    /// <summary>
    /// A method that this build does not know and that answers with a stream, by its name: it may list what is to be shown otherwise.
    /// </summary>
    public bool IsUnknownStream { get; init; }

    /// <summary>It answers with a stream, as far as this build knows.</summary>
    public bool IsStream { get; init; }

    /// <summary>How metrics name it; methods that this build does not know share one name.</summary>
    public KeyValuePair<string, object?> Label { get; init; } = new("method", "other");

    public SubjectField Subject { get; init; }

    public KubeletHabit Habit { get; init; }

    /// <summary>It may change something, by its name: what is no question.</summary>
    public bool IsChange { get; init; }

    /// <summary>The service's typed handler for this method, if it has one.</summary>
    public Services.TypedMethod? Typed { get; set; }

    public CriMethod? NextInBucket { get; set; }
}
