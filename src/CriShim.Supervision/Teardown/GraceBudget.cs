namespace CriShim.Supervision.Teardown;

/// <summary>
/// The time that a pod's end may take: computed once, and every wait spends from it. Times are absolute, so that a crash costs none.
/// </summary>
/// <remarks>
/// <code>
///   BeganAt                                    MainsUntil              Deadline   Deadline + Floor
///      ├──────────── mains, together ───────────────┼── last sidecar … first ──┼─────────┤
///                                                   └── what sidecars reserved ─┘ only for sidecars that would get nothing else
/// </code>
/// </remarks>
/// <param name="BeganAt">When the pod's end began.</param>
/// <param name="Deadline">When its grace is used up.</param>
/// <param name="Floor">What a sidecar gets at least: never more than the whole grace.</param>
public readonly record struct GraceBudget(DateTimeOffset BeganAt, DateTimeOffset Deadline, TimeSpan Floor)
{
    /// <summary>The part of a reserve that is kept: all of them together are at most half the grace, and shortened alike beyond that.</summary>
    /// <param name="reserve">One sidecar's.</param>
    /// <param name="allReserves">Those of all of the pod's sidecars.</param>
    public TimeSpan Kept(TimeSpan reserve, TimeSpan allReserves)
    {
        TimeSpan half = (Deadline - BeganAt) / 2;
        return allReserves <= half || allReserves == TimeSpan.Zero ? reserve : half < TimeSpan.Zero ? TimeSpan.Zero : half * (reserve / allReserves);
    }

    /// <summary>When mains are killed: the grace without what sidecars reserved.</summary>
    public DateTimeOffset MainsUntil(TimeSpan keptReserves) => Deadline - keptReserves;

    /// <summary>A sidecar's turn has come.</summary>
    /// <param name="now">The time.</param>
    /// <param name="kept">Its own reserve, as kept.</param>
    /// <param name="keptAfter">The reserves of those that end after it.</param>
    /// <returns>
    /// When it is killed, and whether it has what it needs; if not, the grace is used up, and the sidecars that are left end together, as
    /// the kubelet's do (section 5): no order is worth the next one's time.
    /// </returns>
    public (DateTimeOffset Until, bool IsEnough) Turn(DateTimeOffset now, TimeSpan kept, TimeSpan keptAfter)
    {
        TimeSpan available = Deadline - keptAfter - now;
        TimeSpan needed = kept > TimeSpan.Zero ? kept : Floor;

        // A main that was killed at its limit is told dead a little later: that is not want of time.
        return (available < needed ? now + needed : Deadline - keptAfter, available >= needed / 2);
    }
}
