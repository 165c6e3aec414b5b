using CriShim.Node.Journal;

namespace CriShim.Node;

/// <summary>Which pod a sandbox belongs to, as CRI tells it.</summary>
/// <param name="SandboxId">The pod sandbox's id.</param>
/// <param name="Uid">The pod's UID; for a static pod its config hash.</param>
/// <param name="Namespace">The pod's namespace.</param>
/// <param name="Name">The pod's name.</param>
/// <param name="ConfigSource">The sandbox's annotation <c>kubernetes.io/config.source</c>: file, http, api, or null.</param>
internal sealed record PodIdentity(string SandboxId, string Uid, string Namespace, string Name, string? ConfigSource)
{
    /// <summary>As the journal names it.</summary>
    public PodName InJournal { get; } = new(Namespace, Name, Uid, SandboxId);
}
