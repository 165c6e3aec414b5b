namespace CriShim.Discovery;

/// <summary>Where pod specs are read from. A source that is null is switched off.</summary>
public sealed record DiscoveryOptions
{
    /// <summary>The node's name in the cluster; null: from the kubeconfig's certificate, else the host's name in lower case.</summary>
    public string? NodeName { get; init; }

    /// <summary>The kubeconfig to take the node's name from, whether or not a source uses it.</summary>
    public string? NodeKubeconfigPath { get; init; }

    public StaticManifestOptions? StaticManifests { get; init; }

    public ApiServerOptions? ApiServer { get; init; }

    public KubeletPodsOptions? KubeletPods { get; init; }

    /// <summary>How many pods each source may know; finished ones go first.</summary>
    public int MaxPodsPerSource { get; init; } = 2000;
}

/// <summary>The kubelet's static pods.</summary>
public sealed record StaticManifestOptions
{
    /// <summary>The kubelet's <c>staticPodPath</c>: a directory, or one file.</summary>
    public required string Path { get; init; }

    /// <summary>How often to look without being told of a change; the kubelet's <c>fileCheckFrequency</c> is 20 s.</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromSeconds(20);
}

/// <summary>The pods that the API server has for this node.</summary>
public sealed record ApiServerOptions
{
    /// <summary>The kubelet's own kubeconfig will do: a node may list and watch its pods.</summary>
    public required string KubeconfigPath { get; init; }

    /// <summary>How long a list may take in all, and how long a watch may take to begin.</summary>
    public TimeSpan CallTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a watch lasts before the next one, give or take a quarter. Credentials are read anew each time.</summary>
    public TimeSpan WatchDuration { get; init; } = TimeSpan.FromMinutes(8);

    /// <summary>The longest wait between two tries while the API server is away.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>The pods that the kubelet itself tells of.</summary>
public sealed record KubeletPodsOptions
{
    /// <summary>https://127.0.0.1:10250, or http://127.0.0.1:10255 where the read-only port is on. Loopback only.</summary>
    public required Uri Address { get; init; }

    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long one read may take in all.</summary>
    public TimeSpan CallTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A kubeconfig whose user's certificate or token is used.</summary>
    public string? KubeconfigPath { get; init; }

    /// <summary>A file with a bearer token, instead of a kubeconfig.</summary>
    public string? TokenFile { get; init; }

    /// <summary>PEM that the kubelet's serving certificate must come from; null: it is not verified.</summary>
    public string? ServingAuthorityFile { get; init; }
}
