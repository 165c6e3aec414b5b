using System.Net;
using CriShim.Linux;
using CriShim.Linux.Files;
using CriShim.Node.Logs;
using CriShim.Node.Limits;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;
using Microsoft.Extensions.Logging;

namespace CriShim.Configuration;

/// <summary>What crishim was told by its file and flags: complete, valid, and unchanged for the life of the process.</summary>
internal sealed record CriShimConfiguration
{
    public const string DefaultFile = "/etc/crishim/config.yaml";

    public const string ApiVersion = "crishim.io/v1alpha1";

    public const string Kind = "CriShimConfiguration";

    public required ListenConfiguration Listen { get; init; }

    public required ContainerdConfiguration Containerd { get; init; }

    public required AdminConfiguration Admin { get; init; }

    public required LogConfiguration Log { get; init; }

    public required ShutdownConfiguration Shutdown { get; init; }

    public required SupervisionConfiguration Supervision { get; init; }

    public required DiscoveryConfiguration Discovery { get; init; }

    public required MetricsConfiguration Metrics { get; init; }

    public required EventsConfiguration Events { get; init; }

    public required TracingConfiguration Tracing { get; init; }

    /// <summary>Where this node's kubelet keeps the files of containers: not every distribution leaves its folders at their defaults.</summary>
    public required ContainerFileRoots ContainerFiles { get; init; }
}

/// <summary>Which sidecars are restarted, and how.</summary>
internal sealed record SupervisionConfiguration
{
    public required SupervisionMode Mode { get; init; }

    /// <summary>A folder on a tmpfs: it holds the secrets of pod specs.</summary>
    public required string StateDirectory { get; init; }

    /// <summary>Between lists of all containers, beside the events.</summary>
    public required TimeSpan RelistInterval { get; init; }

    public required RestartOptions Restart { get; init; }

    public required TeardownOptions Teardown { get; init; }

    /// <summary>Of emulated sidecars' logs, which no kubelet rotates.</summary>
    public required LogRotationOptions LogRotation { get; init; }

    /// <summary>Of pods with emulated sidecars, which no kubelet counts.</summary>
    public required PodResourcesMode PodResources { get; init; }
}

/// <summary>Where pod specs are read from; null is off.</summary>
internal sealed record DiscoveryConfiguration
{
    /// <summary>Null: from the kubeconfig, else the host's name.</summary>
    public required string? NodeName { get; init; }

    public required string? Kubeconfig { get; init; }

    public required string? PodManifests { get; init; }

    public required Uri? KubeletPods { get; init; }

    public bool HasSource => Kubeconfig is not null || PodManifests is not null || KubeletPods is not null;
}

/// <summary>The socket that callers connect to.</summary>
internal sealed record ListenConfiguration
{
    public required string SocketPath { get; init; }

    /// <summary>Permissions of the socket file. systemd's .socket unit has its own, which these do not change.</summary>
    public required UnixFileMode Mode { get; init; }

    public required SocketGroup Group { get; init; }
}

/// <param name="Name">As given: a name or a number.</param>
/// <param name="Id">The group's id.</param>
internal sealed record SocketGroup(string Name, uint Id);

/// <summary>The backend.</summary>
internal sealed record ContainerdConfiguration
{
    public required string SocketPath { get; init; }
}

/// <summary>The socket of crishim's own commands.</summary>
internal sealed record AdminConfiguration
{
    public const string DefaultAddress = "unix:///run/crishim/admin.sock";

    /// <summary>Null is off. Its mode is 0600 and its owner the user that crishim runs as, whatever is configured for callers.</summary>
    public required string? SocketPath { get; init; }
}

/// <summary>Where metrics, health and the status page are read.</summary>
internal sealed record MetricsConfiguration
{
    public const string DefaultAddress = "127.0.0.1:9653";

    /// <summary>Null is off.</summary>
    public required IPEndPoint? Address { get; init; }

    /// <summary>It may be another address than a loopback one.</summary>
    public required bool AllowsRemote { get; init; }
}

/// <summary>Who is told of what happens.</summary>
internal sealed record EventsConfiguration
{
    /// <summary>Events on pods, where discovery has a kubeconfig.</summary>
    public required bool WritesKubernetesEvents { get; init; }
}

/// <summary>Where trace spans go.</summary>
internal sealed record TracingConfiguration
{
    /// <summary>A collector that speaks OTLP over HTTP; null is off.</summary>
    public required Uri? Endpoint { get; init; }
}

internal sealed record LogConfiguration
{
    public required LogFormat Format { get; init; }

    public required LogLevel Level { get; init; }
}

internal enum LogFormat
{
    /// <summary>One line for people; with the journal's priority prefixes when written to the journal.</summary>
    Console,

    /// <summary>One JSON object a line.</summary>
    Json,
}

internal sealed record ShutdownConfiguration
{
    /// <summary>How long running calls may go on after SIGTERM.</summary>
    public required TimeSpan RunningCallsGrace { get; init; }
}
