using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Tests.Restarts;

public sealed class RestartOptionsValidatorTests
{
    [Fact]
    public void Validate_Defaults_FindsNothing() => Assert.Empty(RestartOptionsValidator.Validate(new RestartOptions(), "restart"));

    [Fact]
    public void Validate_ManyFaults_FindsAllWithPlaceValueAndWhatIsAllowed()
    {
        var options = new RestartOptions
        {
            ErrorExit = new BackoffSteps { InitialDelay = TimeSpan.Zero },
            OutOfMemory = new BackoffSteps { FirstDelay = TimeSpan.FromMinutes(1) },
            Jitter = double.NaN,
            ResetAfter = TimeSpan.FromSeconds(-1),
            NodeLimit = new NodeLimitOptions { PerSecond = 0, Burst = 0 },
            GiveUp = new GiveUpOptions { Deaths = 33, Causes = [DeathCause.StartFailed] },
            Bounds = new AnnotationBounds { MaxDelay = new DurationBounds(TimeSpan.FromSeconds(9), TimeSpan.FromSeconds(3)) },
        };

        Assert.Equal(
            [
                "restart.errorExit.initialDelay: \"0s\": must be a duration from 1ms to 30s",
                "restart.outOfMemory.firstDelay: \"1m0s\": must be a duration from 0s to 30s",
                "restart.resetAfter: \"-1s\": must be a duration from 1s to 1h0m0s",
                "restart.jitter: \"NaN\": must be a number from 0 to 1",
                "restart.nodeLimit.perSecond: \"0\": must be a number from 0.1 to 1000",
                "restart.nodeLimit.burst: \"0\": must be a whole number from 1 to 10000",
                "restart.giveUp.deaths: \"33\": must be a whole number from 1 to 32",
                "restart.giveUp.causes: \"StartFailed\": must list only cleanExit, errorExit, outOfMemory",
                "restart.annotationBounds.maxDelay.most: \"3s\": must be a duration from 9s to 1h0m0s",
            ],
            RestartOptionsValidator.Validate(options, "restart").Select(e => e.ToString()));
    }
}
