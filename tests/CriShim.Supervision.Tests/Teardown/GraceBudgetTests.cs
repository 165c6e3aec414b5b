using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Tests.Teardown;

public sealed class GraceBudgetTests
{
    private static readonly DateTimeOffset Began = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly GraceBudget Budget = new(Began, Began.AddSeconds(30), TimeSpan.FromSeconds(2));

    /// <summary>A main that was killed at its limit is told dead a little later: with half of what it needs, a sidecar still has its turn.</summary>
    [Theory]
    [InlineData(28, true)]
    [InlineData(29, true)]
    [InlineData(29.5, false)]
    [InlineData(31, false)]
    public void Turn_WithHalfOfWhatIsNeeded_IsEnough(double second, bool isEnough)
    {
        (DateTimeOffset until, bool enough) = Budget.Turn(Began.AddSeconds(second), TimeSpan.Zero, TimeSpan.Zero);

        Assert.Equal(isEnough, enough);
        Assert.Equal(Began.AddSeconds(Math.Max(30, second + 2)), until);
    }
}
