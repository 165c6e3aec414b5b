namespace CriShim.Supervision.Supervisor;

/// <summary><c>--supervise</c>.</summary>
public enum SupervisionMode
{
    On,

    /// <summary>Decides and records, and does nothing.</summary>
    Observe,

    /// <summary>Decides nothing. What is under way ends as it began.</summary>
    Off,
}
