namespace CriShim.Node;

/// <summary>A container that runs though callers are told that it has completed.</summary>
/// <param name="Pod">Its pod.</param>
/// <param name="Name">Its name.</param>
/// <param name="InstanceId">The instance that runs.</param>
/// <param name="ShownId">The id that callers know it by.</param>
internal sealed record MaskedContainer(PodIdentity Pod, string Name, string InstanceId, string ShownId);
