using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.TestSupport.Proofs;
using CsCheck;

namespace CriShim.Supervision.Tests.Restarts;

public sealed class RestartBackoffTests
{
    private static readonly RestartOptions Options = new();

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 250)]
    [InlineData(2, 500)]
    [InlineData(7, 16_000)]
    [InlineData(8, 30_000)]
    [InlineData(1_000_000, 30_000)]
    public void FullDelay_OfErrorExits_StartsAtOnceAndDoublesToTheMost(int streak, int milliseconds) =>
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), new RestartBackoff(Options).FullDelay(DeathCause.ErrorExit, streak));

    [Fact]
    public void FullDelay_OfOutOfMemory_HasASlowerFirstStep()
    {
        var backoff = new RestartBackoff(Options);
        Assert.Equal(TimeSpan.FromSeconds(1), backoff.FullDelay(DeathCause.OutOfMemory, 0));
        Assert.Equal(TimeSpan.FromSeconds(2), backoff.FullDelay(DeathCause.OutOfMemory, 1));
        Assert.Equal(TimeSpan.FromSeconds(30), backoff.FullDelay(DeathCause.OutOfMemory, 9));
    }

    [Fact]
    public void FullDelay_FirstOneLongerThanTheOthers_IsTheLeastAndNeverBeyondTheMost()
    {
        var steps = new BackoffSteps { FirstDelay = TimeSpan.FromSeconds(5), InitialDelay = TimeSpan.FromSeconds(1), MaxDelay = TimeSpan.FromSeconds(4) };
        var backoff = new RestartBackoff(Options with { ErrorExit = steps with { MaxDelay = TimeSpan.FromSeconds(30) }, CleanExit = steps });

        Assert.Equal(TimeSpan.FromSeconds(5), backoff.FullDelay(DeathCause.ErrorExit, 1));
        Assert.Equal(TimeSpan.FromSeconds(8), backoff.FullDelay(DeathCause.ErrorExit, 4));
        Assert.Equal(TimeSpan.FromSeconds(4), backoff.FullDelay(DeathCause.CleanExit, 0));
    }

    [Fact]
    public void FullDelay_OfAFailedStart_IsTheNodesWhateverTheAnnotationAsksFor()
    {
        var backoff = new RestartBackoff(Options, new RestartRequest(TimeSpan.FromSeconds(9), null));

        Assert.Equal(Options.StartFailed.InitialDelay, backoff.FullDelay(DeathCause.StartFailed, 1));
        Assert.NotEqual(backoff.FullDelay(DeathCause.StartFailed, 1), backoff.FullDelay(DeathCause.ErrorExit, 1));
    }

    [Fact]
    public void Delay_ByChance_IsShortenedByTheJitter() =>
        Assert.Equal(TimeSpan.FromSeconds(27), new RestartBackoff(Options with { Jitter = 0.2 }).Delay(DeathCause.ErrorExit, 9, 0.5));

    [Fact]
    public void Delay_WhateverIsAskedForAndByChance_StaysInItsBounds()
    {
        Gen<TimeSpan?> durations = Gen.Int[0, 4_000_000].Select(ms => ms % 5 == 0 ? (TimeSpan?)null : TimeSpan.FromMilliseconds(ms));
        Gen.Select(Gen.Enum<DeathCause>(), Gen.Int[0, 100], Gen.Double[0, 1], durations, durations).CheckFixed(asked =>
        {
            (DeathCause cause, int streak, double chance, TimeSpan? initial, TimeSpan? most) = asked;
            var backoff = new RestartBackoff(Options, new RestartRequest(initial, most));
            TimeSpan full = backoff.FullDelay(cause, streak);
            TimeSpan delay = backoff.Delay(cause, streak, chance);
            Assert.True(delay <= full && delay >= full * (1 - Options.Jitter) - TimeSpan.FromTicks(1));
            Assert.True(full <= (most is { } wanted ? Options.Bounds.MaxDelay.Clamp(wanted) : Options.StepsOf(cause).MaxDelay));
            Assert.True(backoff.FullDelay(cause, streak + 1) >= full);
        });
    }

    [Fact]
    public void Constructor_WhatIsAskedBeyondTheBounds_IsClampedWithANote()
    {
        var backoff = new RestartBackoff(Options, new RestartRequest(TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(1), TimeSpan.FromSeconds(20)));
        Assert.Equal(TimeSpan.FromMilliseconds(100), backoff.FullDelay(DeathCause.ErrorExit, 1));
        Assert.Equal(TimeSpan.FromMinutes(5), backoff.FullDelay(DeathCause.ErrorExit, 50));
        Assert.Equal(TimeSpan.FromSeconds(20), backoff.ResetAfter);
        Assert.Equal(
            ["restart.initialDelay: \"1ms\": is 100ms: this node allows 100ms to 1m0s", "restart.maxDelay: \"1h0m0s\": is 5m0s: this node allows 1s to 5m0s"],
            backoff.Notes.Select(n => n.ToString()));
    }

    [Fact]
    public void FullDelay_OfOutOfMemory_IsNotHurriedByAnAnnotation() =>
        Assert.Equal(
            TimeSpan.FromSeconds(2),
            new RestartBackoff(Options, new RestartRequest(TimeSpan.FromMilliseconds(100))).FullDelay(DeathCause.OutOfMemory, 1));
}
