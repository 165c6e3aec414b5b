using CriShim.Linux.Files;
using CriShim.Node.Journal;
using CriShim.Node.Logs;
using CriShim.Node.Limits;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;

namespace CriShim.Node;

/// <summary>How a node's sidecars are supervised; validated by whoever builds it.</summary>
public sealed record SupervisionOptions
{
    /// <summary>Path of containerd's Unix socket.</summary>
    public required string BackendSocketPath { get; init; }

    /// <summary>A folder on a tmpfs, see <see cref="State.StateStore"/>.</summary>
    public required string StateDirectory { get; init; }

    /// <summary>Of this program, for people.</summary>
    public string Version { get; init; } = "";

    /// <summary>Whether to restart, only to decide, or neither.</summary>
    public SupervisionMode Mode { get; init; } = SupervisionMode.On;

    /// <summary>Back-off, limits and bounds.</summary>
    public RestartOptions Restart { get; init; } = new();

    /// <summary>How pods are ended.</summary>
    public TeardownOptions Teardown { get; init; } = new();

    /// <summary>How logs of masked containers are rotated.</summary>
    public LogRotationOptions LogRotation { get; init; } = new();

    /// <summary>What is done with the limits of pods with masked containers.</summary>
    public PodResourcesMode PodResources { get; init; } = PodResourcesMode.Leave;

    /// <summary>Some source may tell pod specs; without one, only annotations tell sidecars.</summary>
    public bool IsSpecSourceConfigured { get; init; }

    /// <summary>How often containers are listed, beside the events, to catch what they missed.</summary>
    public TimeSpan RelistInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a caller's call may wait for one of ours that is under way (rule 22); callers give theirs two minutes.</summary>
    public TimeSpan CallerPatience { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long a caller's call may wait for crishim to know the node, after a start.</summary>
    public TimeSpan StartPatience { get; init; } = TimeSpan.FromMilliseconds(800);

    /// <summary>Where logs, their links and termination logs are.</summary>
    public ContainerFileRoots Files { get; init; } = new();

    /// <summary>Who wants to know what supervision does, as it happens.</summary>
    public IReadOnlyList<IHappeningListener> Listeners { get; init; } = [];
}
