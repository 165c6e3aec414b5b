using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Supervisor;

public sealed class PodSupervisorTests
{
    [Fact]
    public void CallersCreate_ThatTakesARestartOver_IsToldOnce()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Take(scene.Supervisor.ArbitrateCreate("proxy", 1, equalsOurs: false, mayWait: true, scene.Now).Commands);
        Assert.Equal(StandDownReason.TakenOverByCaller, scene.Command<Explain>().Decision.OutcomeReason);

        scene.After(1);
        scene.Tell(new ContainerCreated("k1", "proxy", 1, scene.Now));

        scene.None<Explain>();
        Assert.Equal(scene.Now.AddSeconds(-1), scene.LastDeath.OutcomeAt);
    }

    [Fact]
    public void Exited_FirstDeath_IsReplacedAtOnceBehindTheOldInstance()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        Assert.Equal("proxy", scene.Command<AskRestartSlot>().Lineage);
        Assert.Equal(ShownState.Running, scene.Shown(0));

        scene.Tell(new SlotGranted("proxy"));
        var planned = Assert.IsType<LineageRecord>(scene.Command<CreateReplacement>().RecordFirst);
        Assert.Equal((LineageIntent.Planned, 1), (planned.Intent, planned.IntendedAttempt));
        Assert.Equal(ShownState.Hidden, scene.Shown(1));

        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        var created = Assert.IsType<LineageRecord>(scene.Command<StartReplacement>().RecordFirst);
        Assert.Equal((LineageIntent.Created, "p1"), (created.Intent, created.IntendedId));
        Assert.Equal((ShownState.Running, ShownState.Hidden), (scene.Shown(0), scene.Shown(1)));
        Assert.Equal("p0", scene.Supervisor.CurrentInstance("p0"));

        scene.Tell(new ReplacementStarted("p1", scene.Now));
        Assert.Equal((ShownState.AsBackend, ShownState.AsBackend), (scene.Shown(0), scene.Shown(1)));
        Assert.Equal(["p0", "p1"], scene.Commands.OfType<ViewChanged>().Select(v => v.ContainerId));
        Assert.Equal("p1", scene.Supervisor.CurrentInstance("p0"));
        Assert.Equal(RestartOutcome.Restored, scene.LastDeath.Outcome);
    }

    [Fact]
    public void Exited_ToldTwiceOrListedAgain_IsDecidedOnce()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Dies("p0");
        Assert.Empty(scene.Commands);
        scene.After(1);
        scene.Tell(new SandboxRelisted(new SandboxSnapshot(true, scene.Now, [scene.Seen(0, BackendState.Exited, new ContainerExit(1, false, scene.Now))])));
        scene.None<AskRestartSlot>();
        _ = Assert.Single(scene.View.Tally.Deaths);
    }

    [Fact]
    public void Exited_DeathsInARow_BackOffAndShowExitedMeanwhile()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        foreach ((int attempt, int delay) in new[] { (1, 250), (2, 500), (3, 1000) })
        {
            scene.Tell(new ContainerSeenExited($"p{attempt - 1}"));
            scene.Dies($"p{attempt}");
            scene.None<AskRestartSlot>();
            Assert.Equal(ShownState.AsBackend, scene.Shown(attempt));
            Assert.Equal(scene.Now.AddMilliseconds(delay), scene.Command<ScheduleTimer>().At);
            scene.After(delay / 1000.0);
            scene.Tell(new TimerDue());
            scene.Replace(attempt + 1);
        }
    }

    [Fact]
    public void Exited_AfterAMinuteOfHealth_CountsAsTheFirst()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        scene.After(60);
        scene.Dies("p1");
        _ = scene.Command<AskRestartSlot>();
        Assert.Equal(0, scene.LastDeath.Streak);
    }

    [Fact]
    public void Exited_OutOfMemory_WaitsBeforeTheFirstRestart()
    {
        var scene = new PodScene();
        scene.Dies("p0", 137, oom: true);
        scene.None<AskRestartSlot>();
        Assert.Equal(scene.Now.AddSeconds(1), scene.View.Due);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
    }

    [Fact]
    public void ShownState_ReplacementTakesTooLong_ShowsTheOldOneExited()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.After(1.999);
        Assert.Equal(ShownState.Running, scene.Shown(0));
        scene.After(0.001);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        scene.Tell(new TimerDue());
        Assert.Equal("p0", scene.Command<ViewChanged>().ContainerId);
        Assert.Equal(ShownState.Hidden, scene.Shown(1));
    }

    [Fact]
    public void ReplacementStarted_ThirdInstance_LeavesOneDead()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        scene.None<RemoveInstance>();
        scene.After(60);
        scene.Dies("p1");
        scene.Replace(2);
        Assert.Equal(("p0", RemovalReason.OlderDeadInstance), (scene.Command<RemoveInstance>().ContainerId, scene.Command<RemoveInstance>().Reason));
        scene.Tell(new ContainerRemoved("p0"));
        Assert.Equal("p2", scene.Supervisor.CurrentInstance("p0"));
    }

    [Fact]
    public void Death_OfOneThatACallerHadAndAnotherHasReplaced_LeavesOneDead()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        Assert.Equal("p1", scene.Supervisor.ArbitrateCreate("proxy", 1, true, true, scene.Now).ContainerId);
        scene.Tell(new ReplacementFailed("proxy", 1, ReplacementFailure.Refused));
        scene.After(0.25);
        scene.Tell(new TimerDue());
        scene.Replace(2);
        scene.None<RemoveInstance>();

        // The caller's own start of it went through, too.
        scene.Dies("p1");
        Assert.Equal(("p0", RemovalReason.OlderDeadInstance), (scene.Command<RemoveInstance>().ContainerId, scene.Command<RemoveInstance>().Reason));
    }

    [Theory]
    [InlineData(StandDownReason.PostStartHook)]
    [InlineData(StandDownReason.RestartRules)]
    [InlineData(StandDownReason.NotASidecar)]
    [InlineData(StandDownReason.SuperviseAnnotationOff)]
    [InlineData(StandDownReason.SuperviseModeOff)]
    [InlineData(StandDownReason.SuperviseModeObserve)]
    [InlineData(StandDownReason.StoppedByCaller)]
    [InlineData(StandDownReason.SandboxNotReady)]
    [InlineData(StandDownReason.OnlyOrdered)]
    [InlineData(StandDownReason.RestartPolicyUnknown)]
    public void Exited_WithAReasonToStandDown_IsLeftToTheKubelet(StandDownReason reason)
    {
        var off = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SuperviseKey] = "off" });
        var plain = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = "[{name: proxy, kind: plain}]" });
        var named = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = "proxy" });
        PodScene scene = reason switch
        {
            StandDownReason.PostStartHook => new PodScene(facts: PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.RestartableInit, HasPostStart: true))),
            StandDownReason.RestartRules => new PodScene(facts: PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.RestartableInit, HasRestartRules: true))),
            StandDownReason.NotASidecar => new PodScene(facts: PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.Plain))),
            StandDownReason.SuperviseAnnotationOff => new PodScene(annotation: off),
            StandDownReason.OnlyOrdered => new PodScene(annotation: named, specSource: false, tellFacts: false),
            StandDownReason.RestartPolicyUnknown => new PodScene(annotation: plain, specSource: false, tellFacts: false),
            _ => new PodScene(),
        };
        switch (reason)
        {
            case StandDownReason.SuperviseModeOff:
                scene.Tell(new ModeChanged(SupervisionMode.Off));
                break;
            case StandDownReason.SuperviseModeObserve:
                scene.Tell(new ModeChanged(SupervisionMode.Observe));
                break;
            case StandDownReason.StoppedByCaller:
                scene.Take(scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now).Commands);
                break;
            case StandDownReason.SandboxNotReady:
                scene.Tell(new SandboxRelisted(new SandboxSnapshot(false, scene.Now, [scene.Seen(0, BackendState.Running)])));
                break;
            default:
                break;
        }

        scene.Dies("p0");
        scene.None<AskRestartSlot>();
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        Assert.Equal(reason, scene.View.RestReason);
        Assert.Equal(reason, scene.LastDeath.Reason);
        Assert.Equal(reason == StandDownReason.SuperviseModeObserve ? DecisionKind.OnlyObserved : DecisionKind.StandDown, scene.LastDeath.Kind);
    }

    [Fact]
    public void Exited_AnnotatedNativeWithoutASpecSource_IsReplaced()
    {
        var native = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = "[{name: proxy, kind: native}]" });
        var scene = new PodScene(annotation: native, specSource: false, tellFacts: false);
        scene.Dies("p0", 0);
        scene.Replace(1);
    }

    [Fact]
    public void Exited_BeforeTheSpecIsKnown_IsDecidedWhenItIs()
    {
        var scene = new PodScene(tellFacts: false);
        scene.Dies("p0");
        Assert.Empty(scene.View.Tally.Deaths);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        scene.After(3);
        scene.Tell(new FactsChanged(PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.RestartableInit))));
        _ = scene.Command<AskRestartSlot>();
        _ = Assert.Single(scene.View.Tally.Deaths);
    }

    [Fact]
    public void StartByCaller_AfterItsStop_GivesTheLineageBack()
    {
        var scene = new PodScene();
        scene.Take(scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now).Commands);
        scene.Dies("p0", 143);
        Assert.Equal(Verdict.Forward, scene.Supervisor.ArbitrateCreate("proxy", 1, true, true, scene.Now).Verdict);
        scene.Tell(new ContainerCreated("p1", "proxy", 1, scene.Now));
        Assert.Equal(Verdict.Forward, scene.Supervisor.ArbitrateStart("p1", null, scene.Now).Verdict);
        scene.Tell(new ContainerStarted("p1", scene.Now));
        scene.After(61);
        scene.Dies("p1");
        scene.Replace(2);
    }

    [Fact]
    public void ArbitrateStop_WhileTheReplacementIsCreated_WaitsAndRemovesIt()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        StopVerdict stop = scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now);
        Assert.Equal(Verdict.Wait, stop.Verdict);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        Assert.Equal("p1", scene.Command<RemoveInstance>().ContainerId);
        scene.None<StartReplacement>();
        stop = scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now);
        Assert.Equal((Verdict.Forward, "p0"), (stop.Verdict, stop.ContainerId));
    }

    [Fact]
    public void ArbitrateStop_WhileTheReplacementStarts_GoesToTheReplacement()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        Assert.Equal(Verdict.Wait, scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now).Verdict);
        scene.Tell(new ReplacementStarted("p1", scene.Now));
        StopVerdict stop = scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now);
        Assert.Equal((Verdict.Forward, "p1"), (stop.Verdict, stop.ContainerId));
        scene.Dies("p1", 143);
        Assert.Equal(StandDownReason.StoppedByCaller, scene.LastDeath.Reason);
    }

    [Fact]
    public void ArbitrateCreate_EqualToOursThatStarts_IsAnsweredWithOurs()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        Assert.Equal(Verdict.Wait, scene.Supervisor.ArbitrateCreate("proxy", 1, true, true, scene.Now).Verdict);
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 1, true, true, scene.Now);
        Assert.Equal((Verdict.Answer, "p1"), (create.Verdict, create.ContainerId));
        Assert.Equal(ShownState.AsBackend, scene.Shown(1));
        Assert.Equal(Verdict.Wait, scene.Supervisor.ArbitrateStart("p1", null, scene.Now).Verdict);
        scene.Tell(new ReplacementStarted("p1", scene.Now));
        Assert.Equal(Verdict.Answer, scene.Supervisor.ArbitrateStart("p1", null, scene.Now).Verdict);
    }

    [Fact]
    public void ArbitrateCreate_DifferentFromOurs_GoesThroughAfterOursIsRemoved()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now);
        Assert.Equal(Verdict.Forward, create.Verdict);
        Assert.Equal(["p1"], create.RemoveFirst);
        scene.Tell(new ContainerRemoved("p1"));
        scene.None<AskRestartSlot>();
        scene.Tell(new ContainerCreated("k1", "proxy", 1, scene.Now));
        Assert.Equal("k1", scene.Supervisor.CurrentInstance("p0"));
    }

    [Fact]
    public void ArbitrateCreate_WhileOursIsCreatedAndDiffers_IsNotStarted()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        Assert.Equal(Verdict.Wait, scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now).Verdict);
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        scene.None<StartReplacement>();
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now);
        Assert.Equal(Verdict.Forward, create.Verdict);
        Assert.Equal(["p1"], create.RemoveFirst);
    }

    [Fact]
    public void CallerCreateFailed_OfATakenOverRestart_GoesOnWithTheRestart()
    {
        var scene = new PodScene();
        scene.Dies("p0", 137, oom: true);
        Assert.Equal(Verdict.Forward, scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now).Verdict);
        Assert.Equal(StandDownReason.TakenOverByCaller, scene.View.RestReason);
        scene.Tell(new CallerCreateFailed("proxy"));
        scene.After(1);
        scene.Tell(new TimerDue());
        scene.Replace(1);
        Assert.Equal(RestartOutcome.Restored, scene.LastDeath.Outcome);
    }

    [Fact]
    public void TimerDue_CallerCreatedAndVanished_StartsItsInstance()
    {
        var scene = new PodScene();
        scene.Dies("p0", 137, oom: true);
        _ = scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now);
        scene.Tell(new ContainerCreated("k1", "proxy", 1, scene.Now));
        scene.After(20);
        scene.Tell(new TimerDue());
        Assert.Equal("k1", scene.Command<StartReplacement>().ContainerId);
        scene.Tell(new ReplacementStarted("k1", scene.Now));
        Assert.Equal("k1", scene.View.CurrentId);
    }

    [Fact]
    public void ReplacementFailed_NameReserved_AsksForAListAndTakesWhatIsThere()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementFailed("proxy", 1, ReplacementFailure.NameReserved));
        _ = scene.Command<RelistSandbox>();
        scene.After(0.01);
        scene.Tell(new SandboxRelisted(new SandboxSnapshot(true, scene.Now, [scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Created)])));
        Assert.Equal("p1", scene.Command<StartReplacement>().ContainerId);
    }

    [Fact]
    public void ReplacementFailed_RefusedAgainAndAgain_BacksOffWithTheSameAttempt()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        foreach (int delay in new[] { 250, 500, 1000 })
        {
            scene.Tell(new SlotGranted("proxy"));
            Assert.Equal(1, scene.Command<CreateReplacement>().Attempt);
            scene.Tell(new ReplacementFailed("proxy", 1, ReplacementFailure.Refused));
            Assert.Equal(scene.Now.AddMilliseconds(delay), scene.View.Due);
            Assert.Equal(ShownState.AsBackend, scene.Shown(0));
            scene.After(delay / 1000.0);
            scene.Tell(new TimerDue());
        }
    }

    [Fact]
    public void ReplacementCreated_AfterAResourceUpdate_AppliesItBeforeTheStart()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ResourcesUpdated("p0"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        Assert.IsType<ApplyResources>(scene.Commands[0]);
        Assert.IsType<StartReplacement>(scene.Commands[1]);
    }

    [Fact]
    public void Exited_InATerminatingPodBeforeItsTurn_IsReplacedWithinTheGrace()
    {
        var scene = new PodScene();
        scene.Starts("main");
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(10)));
        scene.After(8);
        scene.Dies("p0");
        scene.Replace(1);
        scene.After(1.5);
        scene.Dies("p1");
        Assert.Equal(StandDownReason.NoGraceLeft, scene.LastDeath.Reason);
    }

    [Fact]
    public void ArbitrateStop_InATerminatingPod_OnlyShortensTheGrace()
    {
        var scene = new PodScene();
        scene.Tell(new PodTerminating(null));
        Assert.Equal(scene.Now.AddSeconds(30), scene.Supervisor.Deadline);
        _ = scene.Supervisor.ArbitrateStop("other", TimeSpan.FromSeconds(60), true, scene.Now);
        Assert.Equal(scene.Now.AddSeconds(30), scene.Supervisor.Deadline);
        _ = scene.Supervisor.ArbitrateStop("other", TimeSpan.FromSeconds(2), true, scene.Now);
        Assert.Equal(scene.Now.AddSeconds(2), scene.Supervisor.Deadline);
    }

    [Fact]
    public void ArbitrateSandboxStop_WhileAReplacementIsCreated_WaitsAndCreatesNothingAfter()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        Assert.Equal(Verdict.Held, scene.Supervisor.ArbitrateSandboxStop(null, true, scene.Now).Verdict);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        scene.None<StartReplacement>();
        Assert.Equal(Verdict.Forward, scene.Supervisor.ArbitrateSandboxStop(null, true, scene.Now).Verdict);
        scene.Tell(new SandboxGone());
        _ = scene.Command<ForgetRecords>();
    }

    [Fact]
    public void Exited_TooOftenByTheGiveUpRule_IsTheKubelets()
    {
        var scene = new PodScene(new RestartOptions { Jitter = 0, GiveUp = new GiveUpOptions { Deaths = 2, Within = TimeSpan.FromMinutes(1) } });
        scene.Dies("p0");
        scene.Replace(1);
        scene.After(1);
        scene.Dies("p1", 0);
        Assert.Equal(DecisionKind.Restart, scene.LastDeath.Kind);
        scene.After(0.25);
        scene.Tell(new TimerDue());
        scene.Replace(2);
        scene.After(1);
        scene.Dies("p2");
        Assert.Equal((DecisionKind.GiveUp, StandDownReason.GivenUp), (scene.LastDeath.Kind, scene.View.RestReason));
    }

    [Fact]
    public void ContainerSeenExited_BeforeTheEvent_HidesTheGapAndDecidesOnce()
    {
        var scene = new PodScene();
        scene.Tell(new ContainerSeenExited("p0"));
        Assert.Equal("p0", scene.Command<InspectInstance>().ContainerId);
        Assert.Equal(ShownState.Running, scene.Shown(0));
        Assert.Empty(scene.View.Tally.Deaths);
        scene.Dies("p0");
        scene.Dies("p0");
        _ = Assert.Single(scene.View.Tally.Deaths);
        scene.Replace(1);
    }

    [Fact]
    public void ReplacementStarted_ListsBehindTheExit_TellTheEndUntilTheyDo()
    {
        var scene = new PodScene();
        var exit = new ContainerExit(3, false, scene.Now);
        scene.Tell(new ContainerExited("p0", exit));
        Assert.Null(scene.Supervisor.EndOf("p0"));
        scene.Replace(1);

        Assert.Equal("p0", scene.Command<InspectInstance>().ContainerId);
        Assert.Equal(exit, scene.Supervisor.EndOf("p0"));
        Assert.True(scene.Supervisor.ChangesViews);
        // It still says RUNNING: it is asked again, and not by and by.
        scene.After(0.25);
        scene.Tell(new TimerDue());
        Assert.Equal("p0", scene.Command<InspectInstance>().ContainerId);
        scene.Tell(new ContainerExited("p0", exit) { IsListed = true });

        Assert.False(scene.Supervisor.ChangesViews);
        // An answer from before that may be under way.
        Assert.Equal(exit, scene.Supervisor.EndOf("p0"));
        scene.After(60);
        scene.Tell(new TimerDue());
        scene.None<InspectInstance>();
    }

    [Fact]
    public void ReplacementStarted_EndSeenInAListMeanwhile_AsksNobody()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        Assert.True(scene.Supervisor.IsExitNews("p0"));
        scene.Tell(new ContainerSeenExited("p0"));
        Assert.False(scene.Supervisor.IsExitNews("p0"));

        scene.Replace(1);

        scene.None<InspectInstance>();
        Assert.False(scene.Supervisor.ChangesViews);
    }

    [Fact]
    public void RemovalFailed_IsTriedAgainWithGrowingDelays()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        scene.After(60);
        scene.Dies("p1");
        scene.Replace(2);
        _ = scene.Command<RemoveInstance>();
        foreach (double delay in new[] { 0.25, 0.5, 1 })
        {
            scene.Tell(new RemovalFailed("p0"));
            scene.After(delay - 0.001);
            scene.Tell(new TimerDue());
            scene.None<RemoveInstance>();
            scene.After(0.001);
            scene.Tell(new TimerDue());
            Assert.Equal("p0", scene.Command<RemoveInstance>().ContainerId);
        }

        scene.Tell(new ContainerRemoved("p0"));
        scene.After(60);
        scene.Tell(new TimerDue());
        scene.None<RemoveInstance>();
    }

    [Fact]
    public void Relisted_OlderThanWhatWasTold_IsNotBelieved()
    {
        var scene = new PodScene();
        DateTimeOffset asked = scene.Now;
        scene.After(0.01);
        scene.Dies("p0");
        scene.Replace(1);
        scene.Tell(new SandboxRelisted(new SandboxSnapshot(true, asked, [scene.Seen(0, BackendState.Running)])));
        Assert.Equal(("p1", LineageState.Running), (scene.View.CurrentId, scene.View.State));
    }

    [Fact]
    public void ArbitrateRemove_OfADeadAttempt_LeavesTheCurrentOneAlone()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        Assert.Empty(scene.Supervisor.ArbitrateRemove("p0", scene.Now).Commands);
        Assert.False(scene.View.IsStoppedByCaller);
        _ = scene.Supervisor.ArbitrateRemove("p1", scene.Now);
        Assert.True(scene.View.IsStoppedByCaller);
    }

    [Fact]
    public void StartOrder_AfterReplacements_IsThatOfTheFirstStarts()
    {
        var scene = new PodScene();
        scene.Tell(new ContainerCreated("m0", "main", 0, scene.Now));
        scene.Tell(new ContainerStarted("m0", scene.Now));
        scene.Dies("p0");
        scene.Replace(1);
        Assert.Equal(["proxy", "main"], scene.Supervisor.StartOrder);
        Assert.Equal(["proxy", "main"], scene.PodRecord!.StartOrder);
    }

    [Fact]
    public void Tally_OfManyDeaths_IsBoundedAndCountsAll()
    {
        var scene = new PodScene();
        for (int i = 0; i < 50; i++)
        {
            scene.Dies($"p{i}");
            scene.Tell(new ContainerRemoved($"p{i - 1}"));
            scene.Replace(i + 1);
            scene.After(61);
        }

        Assert.Equal(DeathTally.Capacity, scene.View.Tally.Deaths.Count);
        Assert.Equal(50, scene.View.Tally.Total);
        Assert.InRange(scene.Record!.Instances.Count, 1, 20);
    }

    [Fact]
    public void Decision_AsText_TellsDeathDecisionAndOutcome()
    {
        var scene = new PodScene();
        scene.Dies("p0", 139);
        scene.After(0.095);
        scene.Replace(1);
        Assert.Equal("proxy attempt 0: exit code 139: restart at once; running again 95ms after it ended", scene.LastDeath.ToString());
    }
}
