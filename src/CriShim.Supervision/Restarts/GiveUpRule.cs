namespace CriShim.Supervision.Restarts;

/// <summary>The permanent-failure rule, after s6: so many deaths of the listed causes within a time, and the sidecar is the kubelet's.</summary>
public static class GiveUpRule
{
    /// <summary>Whether this death is one too many.</summary>
    /// <param name="options">Null: never.</param>
    /// <param name="tally">The deaths before this one.</param>
    /// <param name="cause">Of this death; one that is not listed never gives up.</param>
    /// <param name="now">When this death is decided.</param>
    public static bool Applies(GiveUpOptions? options, DeathTally tally, DeathCause cause, DateTimeOffset now)
    {
        if (options is null || !options.Causes.Contains(cause))
        {
            return false;
        }

        DateTimeOffset from = now - options.Within;
        return 1 + tally.Deaths.Count(d => d.At >= from && options.Causes.Contains(d.Cause) && Counts(d)) >= options.Deaths;
    }

    // What somebody stopped or replaced on purpose is no failure.
    private static bool Counts(RestartDecision death) =>
        death.Kind != DecisionKind.StandDown || death.Reason is not (StandDownReason.StoppedByCaller or StandDownReason.TakenOverByCaller
            or StandDownReason.Superseded or StandDownReason.RemovedByOthers or StandDownReason.NoRecord);
}
