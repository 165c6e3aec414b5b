using CriShim.Supervision.Pods;

namespace CriShim.Supervision.Sidecars;

/// <summary>What a container is to supervision.</summary>
public enum SidecarKind
{
    /// <summary>No sidecar: never touched.</summary>
    None,

    /// <summary>Only put in order: annotated, but nothing tells whether it is an init or a plain container.</summary>
    OrderedOnly,

    /// <summary>Nothing has told the pod's spec yet, but a source may: it may turn out to be anything.</summary>
    Unknown,

    /// <summary>An init container with <c>restartPolicy: Always</c>, which the kubelet knows for a sidecar.</summary>
    Native,

    /// <summary>An annotated plain init container.</summary>
    Emulated,

    /// <summary>An annotated plain container.</summary>
    Adopted,
}

/// <summary>Tells the kind from what the pod's spec and its annotation say. The spec, where it is known, goes before the annotation.</summary>
public static class SidecarKinds
{
    /// <summary>It is known for a sidecar, and looked after as one.</summary>
    public static bool IsSidecar(this SidecarKind kind) => kind is SidecarKind.Native or SidecarKind.Emulated or SidecarKind.Adopted;

    /// <param name="name">The container's name.</param>
    /// <param name="facts">What a spec source knows of the pod; null while nothing does.</param>
    /// <param name="request">What the annotation says of the container; null when it does not name it.</param>
    /// <param name="specSourceConfigured">Whether a spec source may still tell; without one the annotation's own word on the kind has to do.</param>
    public static SidecarKind Tell(string name, PodFacts? facts, SidecarRequest? request, bool specSourceConfigured)
    {
        if (facts is not null)
        {
            return (Find(name, facts)?.Role, request) switch
            {
                (ContainerRole.RestartableInit, _) => SidecarKind.Native,
                (ContainerRole.Init, not null) => SidecarKind.Emulated,
                (ContainerRole.Plain, not null) => SidecarKind.Adopted,
                (null, not null) => SidecarKind.OrderedOnly,
                _ => SidecarKind.None,
            };
        }

        if (specSourceConfigured)
        {
            // Even "kind: native" tells of no postStart hook and no restart rules (rule 11); the source soon will.
            return SidecarKind.Unknown;
        }

        return request switch
        {
            null => SidecarKind.None,
            { Kind: AnnotatedKind.Native } => SidecarKind.Native,
            { Kind: AnnotatedKind.Init } => SidecarKind.Emulated,
            { Kind: AnnotatedKind.Plain } => SidecarKind.Adopted,
            _ => SidecarKind.OrderedOnly,
        };
    }

    internal static ContainerFacts? Find(string name, PodFacts facts) =>
        facts.Containers.FirstOrDefault(c => string.Equals(c.Name, name, StringComparison.Ordinal));
}
