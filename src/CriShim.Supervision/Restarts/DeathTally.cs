namespace CriShim.Supervision.Restarts;

/// <summary>
/// The last deaths of a lineage, each with what was decided about it, when and why. Bounded, after s6: what is kept forever of a
/// container that dies every second is a leak.
/// </summary>
public sealed class DeathTally
{
    /// <summary>How many deaths are kept.</summary>
    public const int Capacity = 32;

    private readonly List<RestartDecision> _deaths = [];

    public DeathTally()
    {
    }

    internal DeathTally(IEnumerable<RestartDecision> deaths, long total)
    {
        _deaths.AddRange(deaths.TakeLast(Capacity));
        Total = Math.Max(total, _deaths.Count);
    }

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<RestartDecision> Deaths => _deaths;

    /// <summary>All deaths ever decided for the lineage, those no longer kept included.</summary>
    public long Total { get; private set; }

    internal void Add(RestartDecision decision)
    {
        if (_deaths.Count == Capacity)
        {
            _deaths.RemoveAt(0);
        }

        _deaths.Add(decision);
        Total++;
    }

    /// <summary>Says what became of the last restart; the changed decision, or null when none was under way or nothing is new.</summary>
    internal RestartDecision? Conclude(RestartOutcome outcome, DateTimeOffset now, StandDownReason? reason = null)
    {
        if (_deaths.Count == 0 || _deaths[^1] is not { Kind: DecisionKind.Restart } last || !IsOpen(last))
        {
            return null;
        }

        if (last.Outcome == outcome && last.OutcomeReason == reason)
        {
            // Said before: a caller's create is told when it is let through, and again when it has made its container.
            return null;
        }

        return _deaths[^1] = last with { Outcome = outcome, OutcomeAt = now, OutcomeReason = reason };
    }

    // A caller's create that took a restart over may fail, and then the restart goes on.
    private static bool IsOpen(RestartDecision decision) =>
        decision is { Outcome: RestartOutcome.None } or { Outcome: RestartOutcome.Cancelled, OutcomeReason: StandDownReason.TakenOverByCaller };
}
