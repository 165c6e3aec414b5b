namespace CriShim.Configuration;

/// <summary>The values of serve's flags as typed; null where a flag is not given.</summary>
internal sealed record ServeFlags
{
    public const string ConfigName = "--config";
    public const string ListenName = "--listen";
    public const string ContainerdName = "--containerd";
    public const string AdminName = "--admin";
    public const string MetricsName = "--metrics";
    public const string LogFormatName = "--log-format";
    public const string LogLevelName = "--log-level";

    public const string SuperviseName = "--supervise";
    public const string StateDirectoryName = "--state-dir";
    public const string KubeconfigName = "--kubeconfig";
    public const string NodeNameName = "--node-name";
    public const string PodManifestsName = "--pod-manifests";

    public string? Config { get; init; }

    public string? Listen { get; init; }

    public string? Containerd { get; init; }

    public string? Admin { get; init; }

    public string? Metrics { get; init; }

    public string? LogFormat { get; init; }

    public string? LogLevel { get; init; }

    public string? Supervise { get; init; }

    public string? StateDirectory { get; init; }

    public string? Kubeconfig { get; init; }

    public string? NodeName { get; init; }

    public string? PodManifests { get; init; }
}
