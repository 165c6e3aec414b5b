using CriShim.Discovery;
using CriShim.Http;
using CriShim.Node.Reports;

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

    /// <summary>The pods, as <see cref="StatusPageHtml.MaxPods"/> and <see cref="StatusPageHtml.MaxEvents"/> bound them.</summary>
    public required NodePage Node { get; init; }
}
