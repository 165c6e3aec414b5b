using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Teardown;

/// <summary>Callers that stop containers one by one, or all at once as kubelets up to 1.28 do.</summary>
public sealed class StopContainerOrderTests
{
    [Fact]
    public void AllStopped_AsByOldKubelets_SidecarsWaitForMainsAndEndInReverse()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Held, scene.Stop("first", 30));
        Assert.Equal(Verdict.Forward, scene.Stop("job", 30));
        Assert.Equal(Verdict.Held, scene.Stop("second", 30));
        Assert.Equal(Verdict.Forward, scene.Stop("web", 30));
        scene.After(5);
        Assert.Empty(scene.Wanted());
        scene.Ends("web");
        Assert.Empty(scene.Wanted());
        scene.Ends("job");
        Assert.Equal(["5 stop second 25"], scene.Wanted());
        Assert.Equal(Verdict.Held, scene.Stop("second", 30));
        scene.After(1);
        scene.Ends("second");
        Assert.Equal(["6 stop first 24"], scene.Wanted());
        Assert.Equal(Verdict.Forward, scene.Stop("second", 30));
        scene.Ends("first");
        Assert.Equal(Verdict.Forward, scene.Stop("first", 30));
        Assert.Empty(scene.Wanted());
    }

    [Fact]
    public void SidecarStopped_Alone_IsHeldForAMomentOnly()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Held, scene.Stop("first", 30));
        scene.After(0.299);
        Assert.Empty(scene.Wanted());
        scene.After(1);
        Assert.Equal(["0.3 stop first 29.7"], scene.Wanted());
    }

    [Fact]
    public void SidecarStopped_AloneOnceNothingElseRuns_IsNotHeld()
    {
        var scene = new TeardownScene();
        scene.Ends("web", "job");
        Assert.Equal(Verdict.Forward, scene.Stop("second", 30));
    }

    [Fact]
    public void SidecarStopped_WhileOneOfTwoMainsIsStopped_IsNotHeldForLong()
    {
        var scene = new TeardownScene();
        _ = scene.Stop("web", 30);
        Assert.Equal(Verdict.Held, scene.Stop("second", 30));
        scene.After(1);
        Assert.Equal(["0.3 stop second 29.7"], scene.Wanted());
    }

    [Fact]
    public void SidecarStopped_WhileMainsRunTheirHooks_Waits()
    {
        var scene = new TeardownScene();
        scene.Tell(new CallerHook("web", true));
        scene.Tell(new CallerHook("job", true));
        Assert.Equal(Verdict.Held, scene.Stop("second", 30));
        scene.After(10);
        scene.Tell(new CallerHook("web", false));
        scene.Tell(new CallerHook("job", false));
        Assert.Equal(Verdict.Forward, scene.Stop("web", 20));
        Assert.Equal(Verdict.Forward, scene.Stop("job", 20));
        scene.After(5);
        Assert.Empty(scene.Wanted());
        scene.Ends("web", "job");
        Assert.Equal(["15 stop second 15"], scene.Wanted());
    }

    [Fact]
    public void SidecarStopped_InADeletedPod_WaitsForMainsThatNobodyStopsUntilItsTimeIsUp()
    {
        var scene = new TeardownScene();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        _ = scene.Stop("second", 30);
        scene.After(30.9);
        Assert.Empty(scene.Wanted());
        scene.After(0.2);
        Assert.Equal(["31 stop second 2"], scene.Wanted());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(1)]
    [InlineData(0)]
    public void SidecarStopped_WithASmallTimeout_IsNotHeld(int timeout)
    {
        var scene = new TeardownScene();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        Assert.Equal(Verdict.Forward, scene.Stop("first", timeout));
    }

    [Fact]
    public void HeldStop_ShortenedByALaterOne_IsNotHeldAnyMore()
    {
        var scene = new TeardownScene();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        Assert.Equal(Verdict.Held, scene.Stop("first", 30));
        scene.After(3);
        Assert.Equal(Verdict.Forward, scene.Stop("first", 1));
    }

    [Fact]
    public void StopUnderWay_ShortenedByALaterOne_IsKilledThen()
    {
        var scene = new TeardownScene();
        foreach (string name in (string[])["first", "second", "web", "job"])
        {
            _ = scene.Stop(name, 30);
        }

        scene.Ends("web", "job");
        Assert.Equal(["0 stop second 30"], scene.Wanted());
        scene.After(3);
        _ = scene.Stop("second", 1);
        scene.After(5);
        Assert.Equal(["4 kill second"], scene.Wanted());
    }

    [Fact]
    public void MainStopped_WhoseCallerVanishes_IsKilledWhenItsTimeIsUp()
    {
        var scene = new TeardownScene();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(10)));
        Assert.Equal(Verdict.Forward, scene.Stop("web", 10));
        scene.After(20);
        Assert.Equal(["11 kill web"], scene.Wanted());
    }

    [Fact]
    public void MainStopped_AloneInALivingPod_IsItsCallersAffair()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Forward, scene.Stop("web", 10));
        scene.After(60);
        Assert.Empty(scene.Wanted());
    }

    [Fact]
    public void HeldSidecar_DiesBeforeItsTurn_IsRestarted()
    {
        var scene = new TeardownScene();
        foreach (string name in (string[])["first", "second", "web", "job"])
        {
            _ = scene.Stop(name, 30);
        }

        scene.After(2);
        scene.Ends("second");
        Assert.Equal(["2 restart second"], scene.Wanted());
        scene.Tell(new SlotGranted("second"));
        scene.Tell(new ReplacementCreated("second", 1, "second-1", scene.Now));
        scene.Ends("web", "job");
        Assert.Empty(scene.Wanted());
        scene.Tell(new ReplacementStarted("second-1", scene.Now));
        Assert.Equal(["2 stop second 28"], scene.Wanted());
        scene.Tell(new ContainerExited("second-1", new ContainerExit(0, false, scene.Now)));
        Assert.Equal(["2 stop first 28"], scene.Wanted());
    }

    /// <summary>A kubelet that is started anew knows nothing of the stop that it asked for: what it starts, it wants to run.</summary>
    [Fact]
    public void HeldStop_OfOneThatItsCallerStartsAgainAndIsGivenOurReplacement_IsOver()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Held, scene.Stop("first", 30));
        scene.Exits("first");
        scene.Tell(new SlotGranted("first"));
        scene.Tell(new ReplacementCreated("first", 1, "first-1", scene.Now));
        scene.Tell(new ReplacementStarted("first-1", scene.Now));
        Assert.Equal((Verdict.Answer, Verdict.Answer), (scene.Create("first"), scene.Start("first-1")));
        _ = scene.Wanted();
        scene.After(1);
        Assert.Empty(scene.Wanted());
    }

    [Fact]
    public void Reserve_OfASlowMain_IsKeptForTheSidecar()
    {
        var scene = new TeardownScene(sidecars: "[{name: first, teardownReserve: 5s}]");
        foreach (string name in (string[])["first", "second", "web", "job"])
        {
            _ = scene.Stop(name, 30);
        }

        scene.After(25.01);
        Assert.Equal(["25 kill web", "25 kill job"], scene.Wanted());
        scene.Ends("web", "job");

        // What is left is the reserve: the other sidecar gets its floor beside it.
        Assert.Equal(["25.01 stop second 2", "25.01 stop first 5"], scene.Wanted());
    }

    [Fact]
    public void Stopped_InObserveMode_IsNeverHeld()
    {
        var scene = new TeardownScene();
        scene.Tell(new ModeChanged(SupervisionMode.Observe));
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        Assert.Equal(Verdict.Forward, scene.Stop("first", 30));
        Assert.Equal(Verdict.Forward, scene.StopSandbox());
    }

    [Fact]
    public void HeldStop_AfterACrash_GoesOnWithoutItsCaller()
    {
        var scene = new TeardownScene();
        foreach (string name in (string[])["first", "second", "web", "job"])
        {
            _ = scene.Stop(name, 30);
        }

        scene.Crash();
        Assert.Equal(["1 stop web 29", "1 stop job 29"], scene.Wanted());
        scene.Ends("web", "job");
        Assert.Equal(["1 stop second 29"], scene.Wanted());
        scene.Crash(28);
        Assert.Equal(["29 stop second 1"], scene.Wanted());
        scene.After(1);
        Assert.Equal(["30 kill second"], scene.Wanted());
        scene.Ends("second");
        Assert.Equal(["30 stop first 2"], scene.Wanted());
    }
}
