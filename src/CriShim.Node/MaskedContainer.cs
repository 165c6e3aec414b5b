namespace CriShim.Node;

/// <summary>A container that runs, and is shown as completed: an emulated sidecar after its start.</summary>
/// <param name="Pod">Its pod.</param>
/// <param name="Name">Its name in the pod.</param>
/// <param name="InstanceId">The instance that runs.</param>
/// <param name="ShownId">The one that callers are shown.</param>
internal sealed record MaskedContainer(PodIdentity Pod, string Name, string InstanceId, string ShownId);
