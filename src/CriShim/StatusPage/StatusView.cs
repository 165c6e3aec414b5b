using CriShim.Discovery;
using CriShim.Http;
using CriShim.Node;
using CriShim.Node.Journal;

namespace CriShim.StatusPage;

/// <summary>All that the status page shows, as of one moment.</summary>
internal sealed record StatusView
{
    public required DateTimeOffset Now { get; init; }

    public required string Version { get; init; }

    /// <summary>On, observe or off.</summary>
    public required string Mode { get; init; }

    public required IReadOnlyList<HealthCheck> Checks { get; init; }

    public required IReadOnlyList<PodSpecSourceStatus> Sources { get; init; }

    /// <summary>By namespace and name, each with what is kept of it, oldest first.</summary>
    public required IReadOnlyList<(PodOverview Pod, IReadOnlyList<Happening> Happenings)> Pods { get; init; }
}
