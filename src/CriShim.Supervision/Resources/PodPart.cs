namespace CriShim.Supervision.Resources;

/// <summary>What a container counts as in its pod's figures.</summary>
public enum PodPart
{
    /// <summary>Runs to completion before what comes after it.</summary>
    Init,

    /// <summary>An init container that stays.</summary>
    Sidecar,

    /// <summary>Runs beside the other mains; adopted sidecars do, too.</summary>
    Main,
}
