using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Tests.Supervisor;

/// <summary>An init container "proxy" that the annotation names, before the main container "main".</summary>
public sealed class EmulatedSidecarTests
{
    private const string Probed = """[{"name":"proxy","startupProbe":{"tcpSocket":{"port":80}}}]""";

    public static TheoryData<PodRestartPolicy> Policies => [PodRestartPolicy.Always, PodRestartPolicy.OnFailure, PodRestartPolicy.Never];

    // ---- Starting ----------------------------------------------------------------------------------------------------

    [Fact]
    public void Started_WithoutAProbe_IsLookedAtAndShownAsItIs()
    {
        PodScene scene = Scene();
        Assert.Null(scene.Started.OfType<ProbeStartup>().Single().Probe);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        Assert.True(scene.Supervisor.ChangesViews);
    }

    [Fact]
    public void Started_WithAProbe_MayFail()
    {
        ProbeStartup probe = Scene(sidecars: Probed).Started.OfType<ProbeStartup>().Single();
        Assert.True(probe is { ContainerId: "p0", MayFail: true, Probe: not null });
    }

    [Theory]
    [MemberData(nameof(Policies))]
    public void ProbePassed_IsRecordedAndThenShownCompleted(PodRestartPolicy policy)
    {
        PodScene scene = Scene(policy);
        scene.Tell(new StartupProbePassed("p0"));
        LineageRecord record = Assert.IsType<LineageRecord>(scene.Command<RecordCompletion>().RecordFirst);
        Assert.Equal(("p0", scene.Now), (record.CompletedId, record.Instances.Single().CompletedAt));
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));

        scene.Tell(new CompletionRecorded("proxy", true));
        Assert.Equal("p0", scene.Command<CompletionShown>().ContainerId);
        Assert.Equal("p0", scene.Command<ViewChanged>().ContainerId);
        Assert.Equal((ShownState.Masked, (scene.Now, 0)), (scene.Shown(0), scene.Supervisor.CompletionOf("p0")));
    }

    [Fact]
    public void ProbePassed_ThatCannotBeRecorded_IsShownAsItIsAndTriedAgain()
    {
        PodScene scene = Scene();
        scene.Tell(new StartupProbePassed("p0"));
        scene.Tell(new CompletionRecorded("proxy", false));
        scene.None<CompletionShown>();
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        scene.After(1);
        scene.Tell(new TimerDue());
        _ = scene.Command<RecordCompletion>();
        scene.Tell(new CompletionRecorded("proxy", true));
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Death_WhileItsCompletionIsRecorded_IsDecidedByWhetherItIs(bool isWritten)
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Tell(new StartupProbePassed("p0"));
        scene.Dies("p0", 0);
        Assert.Equal(ShownState.Running, scene.Shown(0));
        scene.Tell(new CompletionRecorded("proxy", isWritten));
        Assert.Equal(isWritten ? ShownState.Masked : ShownState.Failed, scene.Shown(0));
        Assert.Equal(isWritten ? 1 : 0, scene.Commands.OfType<AskRestartSlot>().Count());
    }

    [Fact]
    public void Death_OfOneWhoseCompletionCouldNotBeRecorded_IsNoSuccess()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Tell(new StartupProbePassed("p0"));
        scene.Tell(new CompletionRecorded("proxy", false));
        scene.Dies("p0", 0);
        Assert.Equal((StandDownReason.StartupFailed, ShownState.Failed), (scene.View.RestReason, scene.Shown(0)));
        scene.After(5);
        scene.Tell(new TimerDue());
        scene.None<RecordCompletion>();
    }

    [Fact]
    public void RestartPolicyUnknown_IsShownCompletedAllTheSame()
    {
        PodScene scene = Unspecified();
        Completes(scene);
        scene.Dies("p0");
        scene.Replace(1);
    }

    [Fact]
    public void SpecUnknown_IsLeftAsItIsUntilASourceTells()
    {
        var scene = new PodScene(annotation: Annotated("proxy"), tellFacts: false);
        Assert.Empty(scene.Started.OfType<ProbeStartup>());
        scene.Tell(new StartupProbePassed("p0"));
        scene.None<RecordCompletion>();
        scene.Tell(new FactsChanged(Facts(PodRestartPolicy.Always)));
        Assert.Equal("p0", scene.Command<ProbeStartup>().ContainerId);
    }

    [Fact]
    public void WithoutKindAndSpecSource_IsOnlyPutInOrder()
    {
        var scene = new PodScene(annotation: Annotated("proxy"), specSource: false, tellFacts: false);
        Assert.Empty(scene.Started.OfType<ProbeStartup>());
        Assert.Equal(SidecarKind.OrderedOnly, scene.View.Kind);
    }

    [Fact]
    public void RestartRules_AreTheKubelets()
    {
        PodFacts facts = PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.Init, HasRestartRules: true));
        var scene = new PodScene(facts: facts, annotation: Annotated("proxy"));
        Assert.Empty(scene.Started.OfType<ProbeStartup>());
        scene.Dies("p0", 0);
        Assert.Equal((StandDownReason.RestartRules, ShownState.AsBackend), (scene.View.RestReason, scene.Shown(0)));
    }

    // ---- Not starting ------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(PodRestartPolicy.Always, 0)]
    [InlineData(PodRestartPolicy.OnFailure, 0)]
    [InlineData(PodRestartPolicy.Always, 1)]
    public void Death_BeforeItHasStarted_IsReplacedAndProbedAnew(PodRestartPolicy policy, int exitCode)
    {
        PodScene scene = Scene(policy, Probed);
        scene.Dies("p0", exitCode);
        Assert.Equal(ShownState.Running, scene.Shown(0));
        scene.Replace(1);
        Assert.Equal("p1", scene.Command<ProbeStartup>().ContainerId);
        Assert.Equal((ShownState.Failed, ShownState.AsBackend), (scene.Shown(0), scene.Shown(1)));
    }

    [Fact]
    public void Death_BeforeItHasStarted_IsNoSuccessWhileItWaitsForItsBackOff()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, Probed);
        scene.Dies("p0", 0);
        scene.Replace(1);
        scene.After(70);
        scene.Dies("p1", 0);
        Assert.Equal(LineageState.BackingOff, scene.View.State);
        Assert.Equal(ShownState.Failed, scene.Shown(1));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void Death_BeforeItHasStartedUnderNever_IsReportedAsFailed(int exitCode)
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Dies("p0", exitCode);
        Assert.Equal((StandDownReason.StartupFailed, ShownState.Failed), (scene.View.RestReason, scene.Shown(0)));
        scene.None<AskRestartSlot>();
        Assert.True(scene.Supervisor.ChangesViews);
    }

    /// <summary>An event, or a list, can be quicker than the answer to StartContainer.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Death_BeforeItsStartIsAnswered_IsReportedAsFailed(bool isSeen)
    {
        PodFacts facts = PodScene.FactsOf(new ContainerFacts("proxy", ContainerRole.Init), new ContainerFacts("agent", ContainerRole.Init));
        var scene = new PodScene(facts: facts with { RestartPolicy = PodRestartPolicy.Never }, annotation: Annotated("proxy,agent"));
        scene.Creates("agent");
        _ = scene.Start("agent");
        if (isSeen)
        {
            scene.Tell(new ContainerSeenExited("agent"));
        }
        else
        {
            scene.Dies("agent", 0);
        }

        scene.Tell(new ContainerStarted("agent", scene.Now));
        Assert.Equal(ShownState.Failed, scene.Supervisor.ShownState("agent", "agent", 0, scene.Now));
    }

    [Fact]
    public void Death_BeforeItHasStartedSeenByAList_IsNoSuccessEither()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Tell(new ContainerSeenExited("p0"));
        Assert.Equal(ShownState.Failed, scene.Shown(0));
    }

    [Fact]
    public void Death_BeforeItHasStarted_IsReportedAsFailedAfterACrashToo()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Dies("p0", 0);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited));
        Assert.Equal(ShownState.Failed, scene.Shown(0));
    }

    [Fact]
    public void Death_WhileTheShimWasDown_IsNoSuccess()
    {
        PodScene scene = Scene(PodRestartPolicy.Never);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(0, false, scene.Now)));
        Assert.Equal(ShownState.Failed, scene.Shown(0));
    }

    [Fact]
    public void Death_WithAnUnknownRestartPolicy_IsTheKubelets()
    {
        PodScene scene = Unspecified();
        scene.Dies("p0", 0);
        Assert.Equal((StandDownReason.RestartPolicyUnknown, ShownState.AsBackend), (scene.View.RestReason, scene.Shown(0)));
    }

    [Fact]
    public void ProbeFailed_StopsItWithThePodsGraceAndReplacesIt()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, Probed);
        scene.Tell(new StartupProbeFailed("p0"));
        Assert.Equal(new StopInstance("proxy", "p0", TimeSpan.FromSeconds(30)) { HasFailedToStart = true }, scene.Command<StopInstance>());
        scene.Dies("p0", 0);
        scene.Tell(new StopAnswered("p0", true));
        scene.Replace(1);
        Assert.Equal("p1", scene.Command<ProbeStartup>().ContainerId);
    }

    [Fact]
    public void ProbeFailed_UnderNever_IsReportedAsFailed()
    {
        PodScene scene = Scene(PodRestartPolicy.Never, Probed);
        scene.Tell(new StartupProbeFailed("p0"));
        scene.Dies("p0", 0);
        Assert.Equal((StandDownReason.StartupFailed, ShownState.Failed), (scene.View.RestReason, scene.Shown(0)));
    }

    [Fact]
    public void ProbeFailed_WhoseStopFails_IsProbedAgain()
    {
        PodScene scene = Scene(PodRestartPolicy.Always, Probed);
        scene.Tell(new StartupProbeFailed("p0"));
        scene.Tell(new StopAnswered("p0", false));
        Assert.Equal("p0", scene.Command<ProbeStartup>().ContainerId);
    }

    [Fact]
    public void ProbeFailed_WithAnUnknownRestartPolicy_LeavesItRunning()
    {
        PodScene scene = Unspecified();
        scene.Tell(new StartupProbeFailed("p0"));
        scene.None<StopInstance>();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PodTerminates_BeforeItHasStarted_IsShownAsItIs(bool isStopped)
    {
        PodScene scene = Scene(PodRestartPolicy.Always, Probed);
        if (isStopped)
        {
            scene.Take(scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now).Commands);
        }
        else
        {
            scene.Tell(new PodTerminating(null));
        }

        Assert.False(scene.Supervisor.IsProbeWanted("proxy", "p0"));
        scene.Tell(new StartupProbePassed("p0"));
        scene.None<RecordCompletion>();
        scene.Dies("p0", 0);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
    }

    // ---- Behind the mask ---------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Policies))]
    public void Death_OnceShownCompleted_IsNeverSeen(PodRestartPolicy policy)
    {
        PodScene scene = Masked(policy);
        (DateTimeOffset, int) shown = scene.Supervisor.CompletionOf("p0")!.Value;
        for (int i = 0; i < 12; i++)
        {
            scene.Dies($"p{i}", i % 3);
            scene.After(31);
            scene.Tell(new TimerDue());
            scene.Replace(i + 1);
            Assert.Equal((ShownState.Masked, ShownState.Hidden), (scene.Shown(0), scene.Shown(i + 1)));
            Assert.Equal(i == 0 ? ShownState.Masked : ShownState.Hidden, scene.Shown(i));
            Assert.Equal($"p{i + 1}", scene.Supervisor.CurrentInstance("p0"));
            Assert.Equal((shown.Item1, i + 1), scene.Supervisor.CompletionOf("p0"));
            Assert.DoesNotContain(scene.Commands.OfType<RemoveInstance>(), remove => remove.ContainerId == "p0");
            foreach (RemoveInstance remove in scene.Commands.OfType<RemoveInstance>().ToArray())
            {
                scene.Tell(new ContainerRemoved(remove.ContainerId));
            }
        }

        Assert.True(scene.View is { CompletedId: "p0", CurrentId: "p12" });
        Assert.Equal(("proxy", "p0", "p12"), Assert.Single(scene.Supervisor.Masked));
    }

    [Fact]
    public void Replacement_ListedBeforeItsIdWasTold_IsHidden()
    {
        PodScene scene = Masked();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        Assert.Equal(ShownState.Hidden, scene.Supervisor.ShownState("unheard", "proxy", 1, scene.Now));
        Assert.Equal(ShownState.Hidden, scene.Supervisor.ShownState("unheard", "proxy", 7, scene.Now));
    }

    [Fact]
    public void BackOff_TakesAsLongAsItTakes()
    {
        PodScene scene = Masked(options: new RestartOptions
        {
            Jitter = 0, ErrorExit = new BackoffSteps { FirstDelay = TimeSpan.FromSeconds(20) }, GiveUp = new GiveUpOptions { Deaths = 1, Within = TimeSpan.FromMinutes(5) },
        });
        scene.Dies("p0");
        Assert.Equal(LineageState.BackingOff, scene.View.State);
        scene.After(19);
        scene.Tell(new TimerDue());
        Assert.Equal(ShownState.Masked, scene.Shown(0));
        scene.After(1);
        scene.Tell(new TimerDue());
        scene.Replace(1);
    }

    [Fact]
    public void SpecIsNotKnownAnyMore_ChangesNothing()
    {
        PodScene scene = Masked();
        scene.Tell(new FactsChanged(null));
        scene.Dies("p0");
        scene.Replace(1);
        Assert.Equal((ShownState.Masked, ShownState.Hidden), (scene.Shown(0), scene.Shown(1)));
    }

    [Theory]
    [InlineData(SupervisionMode.Off)]
    [InlineData(SupervisionMode.Observe)]
    public void Mode_ThatDecidesNothing_KeepsWhatIsShownAndRestartsNothing(SupervisionMode mode)
    {
        PodScene scene = Masked();
        scene.Tell(new ModeChanged(mode));
        scene.Dies("p0");
        scene.None<AskRestartSlot>();
        scene.After(100);
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    /// <summary>To the kubelet it has completed: if it is not restarted by us, then by nobody.</summary>
    [Theory]
    [InlineData(SupervisionMode.Off)]
    [InlineData(SupervisionMode.Observe)]
    public void Mode_ThatDecidesAgain_RestartsWhatDiedMeanwhile(SupervisionMode mode)
    {
        PodScene scene = Masked();
        scene.Tell(new ModeChanged(mode));
        scene.Dies("p0");
        scene.After(60);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(1, false, scene.Now)), new SeenContainer("main", "main", 0, BackendState.Running, scene.Now));
        scene.Tell(new TimerDue());
        _ = scene.Command<AskRestartSlot>();
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    /// <summary>A stop that came before it was shown completed stands (rule 5), whatever the mode was when it died.</summary>
    [Fact]
    public void Mode_ThatDecidesAgain_LeavesWhatACallerHasStopped()
    {
        PodScene scene = Scene();
        scene.Tell(new StartupProbePassed("p0"));
        StopVerdict stop = Stop(scene, "p0", 2);
        Assert.Equal(Verdict.Forward, stop.Verdict);
        scene.Tell(new ModeChanged(SupervisionMode.Off));
        scene.Dies("p0", 143);
        scene.Tell(new CompletionRecorded("proxy", true));
        Assert.Equal(StandDownReason.SuperviseModeOff, scene.View.RestReason);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(143, false, scene.Now)));
        scene.Tell(new TimerDue());
        scene.None<AskRestartSlot>();
    }

    [Fact]
    public void SuperviseOff_ThatComesLate_KeepsWhatIsShown()
    {
        PodScene scene = Masked();
        scene.Tell(new AnnotationChanged(SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SuperviseKey] = "off" })));
        Assert.Equal(ShownState.Masked, scene.Shown(0));
        scene.Dies("p0");
        scene.None<AskRestartSlot>();
    }

    [Theory]
    [InlineData(SupervisionMode.Off)]
    [InlineData(SupervisionMode.Observe)]
    public void Mode_ThatDecidesNothing_MakesNoMask(SupervisionMode mode)
    {
        PodScene scene = Scene();
        scene.Tell(new ModeChanged(mode));
        Assert.False(scene.Supervisor.IsProbeWanted("proxy", "p0"));
        scene.Tell(new StartupProbePassed("p0"));
        scene.None<RecordCompletion>();
        scene.Tell(new ModeChanged(SupervisionMode.On));
        Assert.Equal("p0", scene.Command<ProbeStartup>().ContainerId);
    }

    // ---- Crashes -----------------------------------------------------------------------------------------------------

    [Fact]
    public void Crash_OnceRecorded_IsShownCompletedAsBefore()
    {
        PodScene scene = Scene();
        scene.Tell(new StartupProbePassed("p0"));
        DateTimeOffset at = scene.Now;
        scene.After(60);
        scene.Rebuild(true, scene.Seen(0, BackendState.Running));
        Assert.Equal((ShownState.Masked, (at, 0)), (scene.Shown(0), scene.Supervisor.CompletionOf("p0")));
    }

    [Fact]
    public void Crash_BeforeItHasStarted_ProbesAgain()
    {
        PodScene scene = Scene(sidecars: Probed);
        scene.Rebuild(true, scene.Seen(0, BackendState.Running));
        Assert.Equal("p0", scene.Command<ProbeStartup>().ContainerId);
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
    }

    [Fact]
    public void Crash_WhileItIsReplaced_GoesOnHidden()
    {
        PodScene scene = Masked();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Created));
        Assert.Equal((ShownState.Masked, ShownState.Hidden), (scene.Shown(0), scene.Shown(1)));
        Assert.Equal("p1", scene.Command<StartReplacement>().ContainerId);
        scene.Tell(new ReplacementStarted("p1", scene.Now));
        Assert.Equal((ShownState.Masked, ShownState.Hidden, "p1"), (scene.Shown(0), scene.Shown(1), scene.Supervisor.CurrentInstance("p0")));
    }

    [Fact]
    public void Death_WhileTheShimWasDownOnceShownCompleted_IsReplacedUnseen()
    {
        PodScene scene = Masked(PodRestartPolicy.Never);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(1, false, scene.Now)));
        Assert.Equal(ShownState.Masked, scene.Shown(0));
        scene.Replace(1);
    }

    [Theory]
    [InlineData(BackendState.Running)]
    [InlineData(BackendState.Exited)]
    public void RecordLost_OfOneThatSomethingFollows_CountsAsCompletedWhenThatWasCreated(BackendState state)
    {
        PodScene scene = Masked();
        DateTimeOffset followedAt = scene.Now.AddSeconds(-30);
        scene.Forget();
        scene.Rebuild(true, scene.Seen(0, state), new SeenContainer("main", "main", 0, BackendState.Running, followedAt));
        Assert.Equal((ShownState.Masked, followedAt), (scene.Shown(0), scene.Supervisor.CompletionOf("p0")!.Value.At));
        Assert.Equal("p0", scene.Record!.CompletedId);
    }

    [Fact]
    public void RecordLost_AfterItWasReplaced_HidesWhatCameAfter()
    {
        PodScene scene = Masked();
        scene.Forget();
        scene.Rebuild(
            true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Running),
            new SeenContainer("main", "main", 0, BackendState.Running, scene.Now.AddSeconds(-59.5)));
        Assert.Equal((ShownState.Masked, ShownState.Hidden, "p1"), (scene.Shown(0), scene.Shown(1), scene.Supervisor.CurrentInstance("p0")));
        Assert.True(scene.Supervisor.HasDeaths);
    }

    [Fact]
    public void RecordLost_OfOneThatNothingFollows_IsProbed()
    {
        PodScene scene = Masked();
        scene.Forget();
        scene.Rebuild(
            true, scene.Seen(0, BackendState.Running), new SeenContainer("before", "before", 0, BackendState.Exited, scene.Now.AddSeconds(-90)));
        Assert.Equal(ShownState.AsBackend, scene.Shown(0));
        Assert.Equal("p0", scene.Command<ProbeStartup>().ContainerId);
    }

    [Fact]
    public void RecordLost_AndTheSpecToldLater_CountsAsCompletedThen()
    {
        PodScene scene = Masked();
        scene.Forget(alsoFacts: true);
        scene.Rebuild(
            true, scene.Seen(0, BackendState.Running), new SeenContainer("main", "main", 0, BackendState.Running, scene.Now.AddSeconds(-30)));
        scene.Tell(new FactsChanged(Facts(PodRestartPolicy.Always)));
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    // ---- The end -----------------------------------------------------------------------------------------------------

    [Fact]
    public void SandboxStops_EndsTheMainAndThenIt()
    {
        PodScene scene = Masked();
        Assert.Equal(Verdict.Held, StopSandbox(scene));
        scene.Tell(new PreStopEnded("main"));
        Assert.Equal("main", scene.Command<StopInstance>().ContainerId);
        scene.Dies("main");
        scene.Tell(new StopAnswered("main", true));
        scene.Tell(new PreStopEnded("p0"));
        Assert.Equal("p0", scene.Command<StopInstance>().ContainerId);
        scene.Dies("p0", 143);
        scene.Tell(new StopAnswered("p0", true));
        Assert.Equal((Verdict.Forward, ShownState.Masked), (StopSandbox(scene), scene.Shown(0)));
    }

    [Theory]
    [InlineData(SupervisionMode.Off)]
    [InlineData(SupervisionMode.Observe)]
    public void SandboxStops_InAModeThatDecidesNothing_EndsItInOrderAllTheSame(SupervisionMode mode)
    {
        PodScene scene = Masked();
        scene.Tell(new ModeChanged(mode));
        Assert.Equal(Verdict.Held, StopSandbox(scene));
    }

    [Fact]
    public void PodDeleted_EndsItWhenTheMainsAreDeadAndNotBefore()
    {
        PodScene scene = Masked();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        scene.None<RunPreStop>();

        // However late the kubelet comes.
        scene.After(100);
        scene.Tell(new TimerDue());
        scene.None<RunPreStop>();
        scene.None<StopInstance>();
        Assert.Equal(Verdict.Forward, Stop(scene, "main", 30).Verdict);
        Assert.Equal(StopStage.Held, scene.PodRecord!.Stops.Single(stop => stop.Lineage == "proxy").Stage);
        scene.Dies("main");
        Assert.Equal("p0", scene.Command<RunPreStop>().ContainerId);
        scene.Tell(new PreStopEnded("p0"));
        Assert.Equal("p0", scene.Command<StopInstance>().ContainerId);
        scene.Dies("p0");
        scene.None<AskRestartSlot>();
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    /// <summary>A forced deletion, told after the kubelet's stop, which has 2 s all the same.</summary>
    [Fact]
    public void PodDeleted_WithNoGrace_EndsItAfterTheMainsToo()
    {
        PodScene scene = Masked();
        Assert.Equal(Verdict.Forward, Stop(scene, "main", 2).Verdict);
        scene.Tell(new PodTerminating(TimeSpan.Zero));
        scene.After(1.9);
        scene.Tell(new TimerDue());
        scene.None<RunPreStop>();
        scene.None<StopInstance>();

        scene.After(0.2);
        scene.Dies("main", 137);
        Assert.Equal(("p0", 2), (scene.Command<StopInstance>().ContainerId, Math.Round(scene.Command<StopInstance>().Grace.TotalSeconds)));
    }

    /// <summary>As kubelets up to 1.28 do it: the deletion says 0 s, and the main's stop has the spec's grace.</summary>
    [Fact]
    public void PodDeleted_WithNoGraceAndAStopThatHasTheSpecs_EndsItAfterTheMain()
    {
        PodScene scene = Masked();
        Assert.Equal(Verdict.Forward, Stop(scene, "main", 20).Verdict);
        scene.Tell(new PodTerminating(TimeSpan.Zero));
        for (int i = 0; i < 19; i++)
        {
            scene.After(1);
            scene.Tell(new TimerDue());
            scene.None<RunPreStop>();
            scene.None<StopInstance>();
        }

        scene.Dies("main", 0);
        Assert.Equal("p0", scene.Command<StopInstance>().ContainerId);
    }

    [Fact]
    public void Dies_WhileTheMainsHaveTheirGrace_IsRestarted()
    {
        PodScene scene = Masked();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        _ = Stop(scene, "main", 30);
        scene.Dies("p0");
        scene.Replace(1);
        Assert.Equal((ShownState.Masked, ShownState.Hidden), (scene.Shown(0), scene.Shown(1)));
    }

    [Fact]
    public void StopOfAnEarlierNativeSidecar_WaitsForIt()
    {
        PodScene scene = WithNative();
        _ = Stop(scene, "main", 30);
        scene.Dies("main");
        Assert.Equal(Verdict.Held, Stop(scene, "mesh", 30).Verdict);
        scene.Tell(new PreStopEnded("p0"));
        scene.Tell(new StopAnswered("main", true));
        scene.Dies("p0", 143);
        scene.Tell(new StopAnswered("p0", true));
        scene.Tell(new TimerDue());
        Assert.Equal(StopStage.Ending, scene.PodRecord!.Stops.Single().Stage);
        Assert.Equal("mesh", scene.PodRecord.Stops.Single().Lineage);
    }

    [Fact]
    public void MainsThatRunAgain_AfterWhatLookedLikeThePodsEnd_HaveItBack()
    {
        PodScene scene = WithNative();
        _ = Stop(scene, "main", 30);
        scene.Dies("main");
        _ = Stop(scene, "mesh", 30);
        scene.Tell(new PreStopEnded("p0"));
        scene.Dies("p0", 143);
        Assert.Equal(LineageState.Resting, scene.View.State);
        scene.Take(scene.Supervisor.ArbitrateCreate("main", 1, false, true, scene.Now).Commands);
        scene.Tell(new ContainerCreated("main1", "main", 1, scene.Now));
        scene.Take(scene.Supervisor.ArbitrateStart("main1", null, scene.Now).Commands);
        scene.Tell(new ContainerStarted("main1", scene.Now));
        scene.Tell(new TimerDue());
        scene.Replace(1);
    }

    [Fact]
    public void MainRestartedByTheKubelet_EndsNothing()
    {
        PodScene scene = Masked();
        _ = Stop(scene, "main", 30);
        scene.Dies("main");
        scene.None<RunPreStop>();
        scene.None<StopInstance>();
    }

    [Theory]
    [InlineData(PodRestartPolicy.Never, 3)]
    [InlineData(PodRestartPolicy.OnFailure, 0)]
    public void MainsCompleted_ForGood_EndsIt(PodRestartPolicy policy, int mainExit)
    {
        PodScene scene = Masked(policy);
        scene.Tell(new ContainerExited("main", new ContainerExit(mainExit, false, scene.Now)));
        Assert.True(scene.PodRecord!.HaveMainsCompleted);
        scene.Tell(new PreStopEnded("p0"));
        Assert.Equal("p0", scene.Command<StopInstance>().ContainerId);
        scene.Dies("p0", 143);
        scene.None<AskRestartSlot>();
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    [Theory]
    [InlineData(PodRestartPolicy.Always, 0)]
    [InlineData(PodRestartPolicy.OnFailure, 1)]
    public void MainsEnded_NotForGood_LeavesItRunning(PodRestartPolicy policy, int mainExit)
    {
        PodScene scene = Masked(policy);
        scene.Tell(new ContainerExited("main", new ContainerExit(mainExit, false, scene.Now)));
        scene.None<RunPreStop>();
    }

    // ---- Callers' calls ----------------------------------------------------------------------------------------------

    /// <summary>An operator's: no kubelet stops what it takes for completed, and none would start it again.</summary>
    [Fact]
    public void Stop_WhileThePodGoesOn_IsFollowedByARestart()
    {
        PodScene scene = Masked();
        StopVerdict stop = Stop(scene, "p0", 30);
        for (int i = 0; i < 10 && stop.Verdict == Verdict.Held; i++)
        {
            scene.After(0.1);
            scene.Tell(new TimerDue());
            stop = Stop(scene, "p0", 30);
        }

        Assert.Equal((Verdict.Forward, "p0"), (stop.Verdict, stop.ContainerId));
        scene.Dies("p0", 143);
        _ = scene.Command<AskRestartSlot>();
        scene.Replace(1);
        Assert.Equal((ShownState.Masked, ShownState.Hidden), (scene.Shown(0), scene.Shown(1)));
    }

    [Fact]
    public void Remove_WhileMainsRun_IsToBeTriedAgainAndNothingIsEnded()
    {
        PodScene scene = Masked();
        Assert.Equal(Verdict.TryAgain, Remove(scene));
        scene.After(200);
        scene.Tell(new TimerDue());
        scene.None<StopInstance>();
        scene.None<RunPreStop>();
        Assert.Equal(Verdict.TryAgain, Remove(scene));
    }

    [Fact]
    public void Remove_WhileItWaitsForItsBackOff_IsToBeTriedAgain()
    {
        PodScene scene = Masked(options: new RestartOptions { Jitter = 0, ErrorExit = new BackoffSteps { FirstDelay = TimeSpan.FromSeconds(20) } });
        scene.Dies("p0");
        Assert.Equal(Verdict.TryAgain, Remove(scene));
    }

    [Theory]
    [InlineData(SupervisionMode.Off)]
    [InlineData(SupervisionMode.Observe)]
    public void Remove_InAModeThatDecidesNothing_IsNotForwardedEither(SupervisionMode mode)
    {
        PodScene scene = Masked();
        scene.Tell(new ModeChanged(mode));
        Assert.Equal(Verdict.TryAgain, Remove(scene));
    }

    [Fact]
    public void Remove_InAPodThatEnds_GoesThroughAfterItsTurnAndTakesAllAttempts()
    {
        PodScene scene = Masked();
        scene.Dies("p0");
        scene.Replace(1);
        scene.Dies("p1");
        scene.After(5);
        scene.Tell(new TimerDue());
        scene.Replace(2);
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        Assert.Equal(Verdict.Held, Remove(scene));
        scene.Dies("main");
        scene.Tell(new PreStopEnded("p2"));
        scene.Dies("p2", 143);
        Assert.Equal(Verdict.Held, Remove(scene));
        scene.Tell(new StopAnswered("p2", true));
        Assert.Equal(Verdict.Forward, Remove(scene));
        Assert.Equal(["p1", "p2"], scene.Commands.OfType<RemoveInstance>().Select(remove => remove.ContainerId));
        scene.Tell(new ContainerRemoved("p0"));
        Assert.Equal((ShownState.Hidden, ShownState.Hidden), (scene.Shown(1), scene.Shown(2)));
        Assert.True(scene.Record is { CompletedId: null });
    }

    [Fact]
    public void Create_ThatEqualsTheOneThatRuns_GetsIt()
    {
        PodScene scene = Masked();
        scene.Dies("p0");
        scene.Replace(1);
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 1, true, true, scene.Now);
        Assert.Equal((Verdict.Answer, "p1"), (create.Verdict, create.ContainerId));
        scene.Take(create.Commands);
        _ = scene.Command<RecordCompletion>();
        scene.Tell(new CompletionRecorded("proxy", true));
        Assert.Equal(Verdict.Answer, scene.Start("p1"));
        Assert.Equal((ShownState.Masked, ShownState.Masked), (scene.Shown(0), scene.Shown(1)));
    }

    [Fact]
    public void Create_ThatDiffers_TakesTheLiveOneAwayAndStartsAnew()
    {
        PodScene scene = Masked();
        scene.Dies("p0");
        scene.Replace(1);
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now);
        Assert.Equal(Verdict.Forward, create.Verdict);
        Assert.Equal(["p1"], create.RemoveFirst);
        scene.Take(create.Commands);
        scene.Tell(new ContainerRemoved("p1"));
        scene.Tell(new ContainerCreated("anew", "proxy", 1, scene.Now));
        Assert.Equal(Verdict.Forward, scene.Start("anew"));
        scene.Tell(new ContainerStarted("anew", scene.Now));
        Assert.Equal("anew", scene.Command<ProbeStartup>().ContainerId);
        Assert.Equal(
            (ShownState.Masked, ShownState.AsBackend), (scene.Shown(0), scene.Supervisor.ShownState("anew", "proxy", 1, scene.Now)));
    }

    [Fact]
    public void Create_AfterItWasRemoved_StartsAnew()
    {
        PodScene scene = Masked();
        scene.Tell(new PodTerminating(TimeSpan.FromSeconds(30)));
        scene.Dies("main");
        scene.Dies("p0");
        scene.After(5);
        _ = Remove(scene);
        scene.Tell(new ContainerRemoved("p0"));
        CreateVerdict create = scene.Supervisor.ArbitrateCreate("proxy", 0, true, true, scene.Now);
        Assert.Equal(Verdict.Forward, create.Verdict);
        scene.Tell(new ContainerCreated("anew", "proxy", 0, scene.Now));
        Assert.Equal(ShownState.AsBackend, scene.Supervisor.ShownState("anew", "proxy", 0, scene.Now));
    }

    // ---- Native sidecars with an annotation --------------------------------------------------------------------------

    [Fact]
    public void Native_ThatIsNamed_GetsItsDelaysAndItsReserve()
    {
        SidecarAnnotation annotation = Annotated("""[{"name":"proxy","teardownReserve":"10s","restart":{"initialDelay":"3s"}}]""");
        var scene = new PodScene(annotation: annotation);
        Assert.Empty(scene.Started.OfType<ProbeStartup>());
        scene.Starts("main");
        scene.Dies("p0");
        scene.Replace(1);
        scene.Dies("p1");
        Assert.Equal(scene.Now.AddSeconds(3), scene.View.Due);
        scene.After(3);
        scene.Tell(new TimerDue());
        scene.Replace(2);
        _ = StopSandbox(scene);
        Assert.Equal(scene.Now.AddSeconds(20), scene.PodRecord!.Stops.Single(stop => stop.Lineage == "main").KillAt);
    }

    private static SidecarAnnotation Annotated(string sidecars)
    {
        SidecarAnnotation annotation = SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = sidecars });
        Assert.Empty(annotation.Errors);
        return annotation;
    }

    private static PodFacts Facts(PodRestartPolicy policy, bool native = false) => PodScene.FactsOf(
        [.. native ? (ContainerFacts[])[new ContainerFacts("mesh", ContainerRole.RestartableInit)] : [], new ContainerFacts("proxy", ContainerRole.Init)])
        with { RestartPolicy = policy };

    private static PodScene Scene(PodRestartPolicy policy = PodRestartPolicy.Always, string sidecars = "proxy", RestartOptions? options = null) =>
        new(options, Facts(policy), Annotated(sidecars));

    /// <summary>Without a spec source, and without a word on the restart policy.</summary>
    private static PodScene Unspecified() => new(annotation: Annotated("""[{"name":"proxy","kind":"init"}]"""), specSource: false, tellFacts: false);

    private static PodScene Masked(PodRestartPolicy policy = PodRestartPolicy.Always, RestartOptions? options = null)
    {
        PodScene scene = Scene(policy, options: options);
        Completes(scene);
        scene.Starts("main");
        scene.After(100);
        return scene;
    }

    /// <summary>The native sidecar "mesh" started before it.</summary>
    private static PodScene WithNative()
    {
        var scene = new PodScene(null, Facts(PodRestartPolicy.Always, native: true), Annotated("proxy"), first: "mesh");
        Completes(scene);
        scene.Starts("main");
        return scene;
    }

    private static void Completes(PodScene scene)
    {
        scene.Tell(new StartupProbePassed("p0"));
        scene.Tell(new CompletionRecorded("proxy", true));
        Assert.Equal(ShownState.Masked, scene.Shown(0));
    }

    private static Verdict StopSandbox(PodScene scene)
    {
        CallVerdict verdict = scene.Supervisor.ArbitrateSandboxStop(null, true, scene.Now);
        scene.Take(verdict.Commands);
        return verdict.Verdict;
    }

    private static StopVerdict Stop(PodScene scene, string id, int seconds)
    {
        StopVerdict verdict = scene.Supervisor.ArbitrateStop(id, TimeSpan.FromSeconds(seconds), true, scene.Now);
        scene.Take(verdict.Commands);
        return verdict;
    }

    private static Verdict Remove(PodScene scene)
    {
        CallVerdict verdict = scene.Supervisor.ArbitrateRemove("p0", scene.Now);
        scene.Take(verdict.Commands);
        return verdict.Verdict;
    }
}
