using CriShim.Supervision.Pods;

namespace CriShim.Discovery.Reading;

/// <summary>One pod as read.</summary>
internal sealed record PodDocument
{
    /// <summary>The UID that CRI shows; empty where the text has none, as in manifests.</summary>
    public required string Uid { get; init; }

    /// <summary><c>metadata.resourceVersion</c>; empty when it has none.</summary>
    public required string ResourceVersion { get; init; }

    public required PodFacts Facts { get; init; }

    /// <summary>Its phase is Succeeded or Failed.</summary>
    public required bool IsFinished { get; init; }

    /// <summary>Something that could not be kept, for operators; null when all could.</summary>
    public string? Loss { get; init; }
}
