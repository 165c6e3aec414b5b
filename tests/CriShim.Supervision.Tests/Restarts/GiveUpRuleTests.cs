using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Tests.Restarts;

public sealed class GiveUpRuleTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly GiveUpOptions Three = new() { Deaths = 3, Within = TimeSpan.FromMinutes(10) };

    [Theory]
    [InlineData(10, true)]
    [InlineData(11, false)]
    public void Applies_ToDeathsOfTheTimeAlone(int minutesAgo, bool applies) => Assert.Equal(
        applies, GiveUpRule.Applies(Three, Tally(Death(minutesAgo), Death(1)), DeathCause.ErrorExit, Now));

    [Theory]
    [InlineData(StandDownReason.StoppedByCaller, false)]
    [InlineData(StandDownReason.Superseded, false)]
    [InlineData(StandDownReason.NoGraceLeft, true)]
    public void Applies_ToWhatWasStoppedOnPurpose_CountsNoFailure(StandDownReason reason, bool applies) => Assert.Equal(
        applies,
        GiveUpRule.Applies(
            Three, Tally(Death(2) with { Kind = DecisionKind.StandDown, Reason = reason }, Death(1)), DeathCause.ErrorExit, Now));

    private static DeathTally Tally(params RestartDecision[] deaths) => new(deaths, deaths.Length);

    private static RestartDecision Death(int minutesAgo) => new()
    {
        Lineage = "proxy", ContainerId = "c", Attempt = 0, At = Now.AddMinutes(-minutesAgo), Cause = DeathCause.ErrorExit, Kind = DecisionKind.Restart,
    };
}
