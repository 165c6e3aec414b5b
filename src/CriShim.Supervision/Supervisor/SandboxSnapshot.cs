using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Supervisor;

/// <summary>A container's state as the backend tells it.</summary>
public enum BackendState
{
    Created,
    Running,
    Exited,

    /// <summary>The backend cannot tell: it may run. It is left alone.</summary>
    Unknown,
}

/// <summary>One container of a snapshot.</summary>
/// <param name="Id">The container id.</param>
/// <param name="Name"><c>metadata.name</c>.</param>
/// <param name="Attempt"><c>metadata.attempt</c>.</param>
/// <param name="State">The backend's own word, before anything is rewritten for callers.</param>
/// <param name="CreatedAt">By the backend's clock.</param>
/// <param name="StartedAt">Null where a list does not tell it.</param>
/// <param name="Exit">Null where a list does not tell it: the supervisor then asks with <see cref="InspectInstance"/>.</param>
public sealed record SeenContainer(
    string Id,
    string Name,
    int Attempt,
    BackendState State,
    DateTimeOffset CreatedAt,
    DateTimeOffset? StartedAt = null,
    ContainerExit? Exit = null);

/// <summary>All containers of one sandbox, as the backend lists them.</summary>
/// <param name="IsReady">The sandbox's own state; false also when the backend does not know it any more.</param>
/// <param name="AskedAt">
/// When the list was asked for, by the supervisor's clock. A list may be older than an event that was handled while it was under way:
/// what changed since is not taken from it.
/// </param>
/// <param name="Containers">Those of the sandbox only, in any order.</param>
/// <param name="Grace">The pod's grace period, as an annotation of one of them tells it.</param>
public sealed record SandboxSnapshot(bool IsReady, DateTimeOffset AskedAt, IReadOnlyList<SeenContainer> Containers, TimeSpan? Grace = null);
