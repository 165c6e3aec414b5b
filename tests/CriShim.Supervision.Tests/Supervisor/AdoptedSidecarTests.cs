using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Supervisor;

/// <summary>A plain container "proxy" that the annotation names, beside the main container "main".</summary>
public sealed class AdoptedSidecarTests
{
    private const string Probed = """[{"name":"proxy","startupProbe":{"tcpSocket":{"port":80}}}]""";

    [Theory]
    [InlineData(PodRestartPolicy.Always)]
    [InlineData(PodRestartPolicy.OnFailure)]
    [InlineData(PodRestartPolicy.Never)]
    public void Exited_WhileMainsRun_IsReplacedBehindTheOldInstance(PodRestartPolicy policy)
    {
        PodScene scene = Scene(policy);
        scene.Dies("p0", 0);
        Assert.Equal(ShownState.Running, scene.Shown(0));
        scene.Replace(1);
        Assert.Equal(ShownState.AsBackend, scene.Shown(1));
    }

    [Fact]
    public void Exited_WhereTheEndIsFinal_WaitsForItsBackOffShownRunning()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Dies("p0");
        scene.Replace(1);
        scene.Dies("p1");
        scene.None<AskRestartSlot>();
        Assert.Equal(ShownState.Running, scene.Shown(1));
        scene.After(0.25);
        scene.Tell(new TimerDue());
        scene.Replace(2);
    }

    [Theory]
    [InlineData(PodRestartPolicy.Always)]
    [InlineData(PodRestartPolicy.OnFailure)]
    [InlineData(PodRestartPolicy.Never)]
    public void Running_IsWatchedSoThatNoListTellsOfItsEndFirst(PodRestartPolicy policy) => Assert.True(Scene(policy).Supervisor.WatchesEnds);

    [Fact]
    public void SeenExited_WhereTheEndIsFinal_IsShownRunningUntilItIsKnownHow()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Dies("p0");
        scene.Replace(1);
        scene.Tell(new ContainerSeenExited("p1"));
        Assert.Equal(ShownState.Running, scene.Shown(1));
        scene.Dies("p1");
        Assert.Equal(ShownState.Running, scene.Shown(1));
        scene.After(0.25);
        scene.Tell(new TimerDue());
        scene.Replace(2);
    }

    [Fact]
    public void Exited_WhereTheEndIsFinal_IsNotReplacedAfterItWasShown()
    {
        PodScene scene = Scene(PodRestartPolicy.Never, new RestartOptions { Jitter = 0, ErrorExit = new BackoffSteps { FirstDelay = TimeSpan.FromSeconds(1.6) } });
        scene.Dies("p0");
        scene.None<AskRestartSlot>();
        Assert.Equal((StandDownReason.EndIsFinal, ShownState.AsBackend), (scene.View.RestReason, scene.Shown(0)));
        scene.After(10);
        scene.Tell(new TimerDue());
        scene.None<AskRestartSlot>();
    }

    [Fact]
    public void ReplacementTakesTooLong_WhereTheEndIsFinal_IsGivenUp()
    {
        PodScene scene = Scene(PodRestartPolicy.OnFailure);
        scene.Dies("p0", 0);
        scene.Tell(new SlotGranted("proxy"));
        scene.After(2);
        scene.Tell(new TimerDue());
        Assert.Equal((StandDownReason.EndIsFinal, ShownState.AsBackend), (scene.View.RestReason, scene.Shown(0)));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        Assert.Equal("p1", scene.Command<RemoveInstance>().ContainerId);
        scene.None<StartReplacement>();
    }

    [Fact]
    public void Exited_WithAFailureUnderOnFailure_MayBeShownWhileItWaits()
    {
        PodScene scene = Scene(PodRestartPolicy.OnFailure);
        scene.Dies("p0");
        scene.Replace(1);
        scene.Dies("p1");
        Assert.Equal(ShownState.AsBackend, scene.Shown(1));
    }

    [Theory]
    [InlineData(PodRestartPolicy.Never, 3)]
    [InlineData(PodRestartPolicy.OnFailure, 0)]
    public void MainsCompleted_ForGood_EndsTheSidecarAndShowsItCompleted(PodRestartPolicy policy, int mainExit)
    {
        PodScene scene = Scene(policy);
        scene.Tell(new ContainerExited("main", new ContainerExit(mainExit, false, scene.Now)));
        Assert.True(scene.PodRecord!.HaveMainsCompleted);
        scene.Tell(new PreStopEnded("p0"));
        Assert.Equal(("p0", TimeSpan.FromSeconds(30)), (scene.Command<StopInstance>().ContainerId, scene.Command<StopInstance>().Grace));
        Assert.True(scene.Supervisor.ChangesViews);
        scene.Dies("p0", 143);
        scene.None<AskRestartSlot>();
        Assert.Equal(ShownState.Completed, scene.Shown(0));
    }

    [Theory]
    [InlineData(PodRestartPolicy.Always, 0)]
    [InlineData(PodRestartPolicy.OnFailure, 1)]
    public void MainsEnded_NotForGood_LeavesTheSidecarRunning(PodRestartPolicy policy, int mainExit)
    {
        PodScene scene = Scene(policy);
        scene.Tell(new ContainerExited("main", new ContainerExit(mainExit, false, scene.Now)));
        scene.None<RunPreStop>();
        scene.None<StopInstance>();
    }

    [Fact]
    public void MainsCompleted_OneOfTwo_LeavesTheSidecarRunning()
    {
        PodScene scene = Scene(PodRestartPolicy.Never, second: true);
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        scene.None<RunPreStop>();
        scene.Starts("second");
        scene.Tell(new ContainerExited("second", new ContainerExit(0, false, scene.Now)));
        _ = scene.Command<RunPreStop>();
    }

    [Fact]
    public void Death_BeforeTheMainsCompleted_IsNeverRewritten()
    {
        PodScene scene = Scene(PodRestartPolicy.Never, new RestartOptions { Jitter = 0, ErrorExit = new BackoffSteps { FirstDelay = TimeSpan.FromSeconds(5) } });
        scene.Dies("p0", 1);
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
    }

    [Fact]
    public void SuccessExitCodes_ThatDoNotHaveTheOne_ShowItAsItEnded()
    {
        PodScene scene = Scene(PodRestartPolicy.Never, sidecars: """[{"name":"proxy","successExitCodes":[0]}]""");
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        scene.Dies("p0", 143);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
    }

    [Fact]
    public void Restart_UnderWayWhenTheMainsComplete_IsEndedOnceItRuns()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        Assert.Equal(ShownState.Running, scene.Shown(0));
        scene.Tell(new ReplacementStarted("p1", scene.Now));
        Assert.Equal("p1", scene.Command<RunPreStop>().ContainerId);
        scene.Dies("p1", 137);
        Assert.Equal(ShownState.Completed, scene.Shown(1));
    }

    [Fact]
    public void Completed_AfterACrash_IsShownSo()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        scene.Dies("p0", 143);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited));
        Assert.Equal(ShownState.Completed, scene.Shown(0));
    }

    [Fact]
    public void Ended_WhileTheShimWasDown_IsShownCompletedToo()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited));
        Assert.Equal(ShownState.Completed, scene.Shown(0));
    }

    [Fact]
    public void WithoutASpecSource_MainsAreNotKnownAndTheSidecarRunsOn()
    {
        var annotation = SidecarAnnotation.Parse(new Dictionary<string, string>
        {
            [SidecarAnnotation.SidecarsKey] = """[{"name":"proxy","kind":"plain"}]""", [SidecarAnnotation.RestartPolicyKey] = "Never",
        });
        var scene = new PodScene(annotation: annotation, specSource: false, tellFacts: false);
        scene.Starts("main");
        scene.Tell(new ContainerExited("main", new ContainerExit(0, false, scene.Now)));
        scene.None<RunPreStop>();
        scene.Dies("p0");
        scene.Replace(1);
    }

    [Fact]
    public void StartOfAMain_UntilTheStartupProbePasses_IsHeld()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, sidecars: Probed, start: false);
        Assert.Equal("p0", scene.Started.OfType<ProbeStartup>().Single().ContainerId);
        scene.Creates("main");
        Assert.Equal(Verdict.Held, scene.Start("main"));
        scene.After(20);
        scene.Tell(new StartupProbePassed("p0"));
        Assert.Equal(GateReason.Passed, scene.Command<GateOpened>().Reason);
        Assert.Equal(Verdict.Forward, scene.Start("main"));
    }

    [Theory]
    [InlineData(null, 60)]
    [InlineData(120.0, 60)]
    [InlineData(30.0, 20)]
    public void StartOfAMain_IsHeldNoLongerThanItsCallerAllows(double? patience, int held)
    {
        PodScene scene = Scene(PodRestartPolicy.Always, sidecars: Probed, start: false);
        scene.Creates("main");
        Assert.Equal(Verdict.Held, scene.Start("main", patience));
        scene.After(held - 0.001);
        scene.Tell(new TimerDue());
        scene.None<GateOpened>();
        scene.After(0.001);
        scene.Tell(new TimerDue());
        Assert.Equal(GateReason.TookTooLong, scene.Command<GateOpened>().Reason);
        Assert.Equal(Verdict.Forward, scene.Start("main", patience));
    }

    [Fact]
    public void StartOfAMain_OnceTheGateIsOpen_IsNeverHeldAgain()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, sidecars: Probed, start: false);
        scene.Tell(new StartupProbePassed("p0"));
        scene.Dies("p0");
        scene.Replace(1);
        scene.Creates("main");
        Assert.Equal(Verdict.Forward, scene.Start("main"));
    }

    [Fact]
    public void StartOfAMain_OnceTheSidecarIsGivenUp_IsNeverHeldAgain()
    {
        var options = new RestartOptions { Jitter = 0, GiveUp = new GiveUpOptions { Deaths = 1, Within = TimeSpan.FromMinutes(1) } };
        PodScene scene = Scene(PodRestartPolicy.Always, options, Probed, start: false);
        scene.Creates("main");
        Assert.Equal(Verdict.Held, scene.Start("main"));
        scene.Dies("p0");
        Assert.Equal(DecisionKind.GiveUp, scene.LastDeath.Kind);
        Assert.Equal(("proxy", GateReason.GivenUp), (scene.Command<GateOpened>().Lineage, scene.Command<GateOpened>().Reason));
        Assert.Equal(Verdict.Forward, scene.Start("main"));

        scene.Tell(new ContainerCreated("p1", "proxy", 1, scene.Now));
        scene.Tell(new ContainerStarted("p1", scene.Now));
        scene.None<GateOpened>();
        Assert.Equal(Verdict.Forward, scene.Start("main"));
    }

    [Fact]
    public void StartOfAMain_InAPodThatEnds_IsNotHeld()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, sidecars: Probed, start: false);
        scene.Creates("main");
        Assert.Equal(Verdict.Held, scene.Start("main"));
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        Assert.Equal(GateReason.PodEnds, scene.Command<GateOpened>().Reason);
    }

    [Fact]
    public void StartOfAMain_BeforeTheSidecarWasStarted_IsNotHeld()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, sidecars: """[{"name":"late","startupProbe":{"tcpSocket":{"port":80}}}]""", start: false);
        scene.Creates("late");
        scene.Creates("main");
        Assert.Equal(Verdict.Forward, scene.Start("main"));
    }

    private static PodScene Scene(
        PodRestartPolicy policy, RestartOptions? options = null, string sidecars = "proxy", bool second = false, bool start = true)
    {
        var names = new List<string> { "proxy" };
        names.AddRange(second ? ["second"] : []);
        names.AddRange(sidecars.Contains("late", StringComparison.Ordinal) ? ["late"] : []);
        PodFacts facts = PodScene.FactsOf([.. names.Select(name => new ContainerFacts(name, ContainerRole.Plain))]) with { RestartPolicy = policy };
        var annotation = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = sidecars });
        Assert.Empty(annotation.Errors);
        var scene = new PodScene(options, facts, annotation);
        if (start)
        {
            scene.Starts("main");
        }

        return scene;
    }
}
