using CriShim.Supervision.Supervisor;

namespace CriShim.Node;

/// <summary>How supervision stands with the node, for probes and metrics.</summary>
public sealed record NodeHealth
{
    /// <summary>The backend was listed once, and the records were compared with it.</summary>
    public required bool IsKnown { get; init; }

    /// <summary>When all containers were last listed; null before the first time.</summary>
    public required DateTimeOffset? ListedAt { get; init; }

    /// <summary>The subscription to the backend's events stands.</summary>
    public required bool HasEvents { get; init; }

    /// <summary>Pod sandboxes of which something is shown otherwise than the backend says.</summary>
    public required int RewrittenPods { get; init; }

    /// <summary>Bytes of requests kept for replacements.</summary>
    public required long StateBytes { get; init; }

    /// <summary>Records that could not be written, or read, since the start.</summary>
    public required long StateFailures { get; init; }
}

/// <summary>A pod sandbox as it is counted.</summary>
public sealed record PodOverview
{
    /// <summary>By the last list, or by its stop.</summary>
    public required bool IsReady { get; init; }

    /// <summary>The pod is deleted, or its sandbox is being stopped.</summary>
    public required bool IsTerminating { get; init; }

    public required IReadOnlyList<LineageView> Lineages { get; init; }
}
