using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Tests.Teardown;

/// <summary>StopPodSandbox, RemovePodSandbox and drain, with containers running.</summary>
public sealed class SandboxEndTests
{
    [Fact]
    public void StopPodSandbox_WithContainersRunning_EndsThemInOrderFirst()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Held, scene.StopSandbox(120));
        Assert.Equal(["0 hook web 28", "0 hook job 28"], scene.Wanted());
        scene.HooksEnd("web", "job");
        Assert.Equal(["0 stop web 30", "0 stop job 30"], scene.Wanted());
        scene.After(1);
        scene.Ends("web", "job");
        scene.HooksEnd("second");
        Assert.Equal(["1 hook second 27", "1 stop second 29"], scene.Wanted());
        scene.Ends("second");
        scene.HooksEnd("first");
        Assert.Equal(["1 hook first 27", "1 stop first 29"], scene.Wanted());
        Assert.Equal(Verdict.Held, scene.StopSandbox(120));
        scene.Ends("first");
        Assert.Equal(["1 stop sandbox"], scene.Wanted());
        Assert.Equal(Verdict.Forward, scene.StopSandbox(120));
    }

    /// <summary>What is on disk can be spoilt: whoever is not in the start order would never have its turn.</summary>
    [Fact]
    public void StopPodSandbox_AfterThePodsRecordWasLost_EndsThemInOrder()
    {
        var scene = new TeardownScene();
        scene.LosePodRecord();
        scene.Crash();
        _ = scene.Wanted();
        Assert.Equal(Verdict.Held, scene.StopSandbox(120));
        scene.HooksEnd("web", "job");
        scene.Ends("web", "job");
        scene.HooksEnd("second");
        scene.Ends("second");
        scene.HooksEnd("first");
        Assert.Equal(["stop web", "stop job", "stop second", "stop first"], scene.Wanted().Where(one => one.Contains("stop")).Select(one => string.Join(' ', one.Split(' ')[1..3])));
    }

    [Fact]
    public void StopPodSandbox_WithNothingRunning_IsForwardedAtOnce()
    {
        var scene = new TeardownScene();
        scene.Ends("web", "job");
        _ = scene.Stop("second", 30);
        _ = scene.Stop("first", 30);
        scene.Ends("second", "first");
        _ = scene.Wanted();
        Assert.Equal(Verdict.Forward, scene.StopSandbox(120));
        Assert.Empty(scene.Wanted());
    }

    [Fact]
    public void MainsThatIgnoreTheirSignal_AreKilledAtTheGrace_AndSidecarsGetTheFloorTogether()
    {
        var scene = new TeardownScene(TimeSpan.FromSeconds(10));
        _ = scene.StopSandbox();
        scene.HooksEnd("web", "job");
        _ = scene.Wanted();
        scene.After(10);
        Assert.Equal(["10 kill web", "10 kill job"], scene.Wanted());
        scene.Ends("web", "job");
        Assert.Equal(["10 stop first 2", "10 stop second 2"], scene.Wanted().Order());
        scene.After(2);
        Assert.Equal(["12 kill first", "12 kill second"], scene.Wanted().Order());
    }

    [Fact]
    public void ImpatientCaller_IsDoneWithinEightSeconds_AndRetriesJoin()
    {
        var scene = new TeardownScene();
        Assert.Equal(Verdict.Held, scene.StopSandbox(2));
        scene.HooksEnd("web", "job");
        for (int i = 0; i < 3; i++)
        {
            scene.After(2);
            Assert.Equal(Verdict.Held, scene.StopSandbox(2));
        }

        Assert.Equal(["0 hook web 3.5", "0 hook job 3.5", "0 stop web 5.5", "0 stop job 5.5", "5.5 kill web", "5.5 kill job"], scene.Wanted());
        scene.Ends("web", "job");
        scene.After(2);
        Assert.Equal(["6 stop second 2", "6 stop first 2", "8 kill second", "8 kill first"], scene.Wanted());
    }

    [Fact]
    public void ImpatientCaller_JoiningAPatientOne_ShortensWhatRuns()
    {
        var scene = new TeardownScene();
        _ = scene.StopSandbox(120);
        scene.HooksEnd("web", "job");
        scene.After(4);
        _ = scene.Wanted();
        _ = scene.StopSandbox(2);
        scene.After(10);
        Assert.Equal(["9.5 kill web", "9.5 kill job"], scene.Wanted().Take(2));
    }

    [Fact]
    public void Grace_IsAtMostTheConfiguredOne_AndTheSmallestStopSeen()
    {
        var scene = new TeardownScene(TimeSpan.FromHours(1), teardown: new TeardownOptions { MaxGrace = TimeSpan.FromSeconds(60) });
        _ = scene.Stop("web", 20);
        _ = scene.StopSandbox();
        scene.HooksEnd("job");
        Assert.Equal(["0 hook job 18", "0 stop job 20"], scene.Wanted());
    }

    [Fact]
    public void Hook_ThatDoesNotEnd_LeavesTimeForTheSignal()
    {
        var scene = new TeardownScene(TimeSpan.FromSeconds(10), containers: ["web"]);
        _ = scene.StopSandbox();
        scene.After(9);
        Assert.Equal(["0 hook web 8", "8 stop web 2"], scene.Wanted());
    }

    [Fact]
    public void Hook_OfWhatACallerStopped_IsTheCallersAffair()
    {
        var scene = new TeardownScene();
        foreach (string name in (string[])["first", "second", "web", "job"])
        {
            _ = scene.Stop(name, 30);
        }

        _ = scene.StopSandbox();
        scene.Ends("web", "job");
        scene.Ends("second");
        Assert.Equal(["0 stop second 30", "0 stop first 30"], scene.Wanted());
    }

    [Fact]
    public void Reserves_BeyondHalfTheGrace_AreCutToIt()
    {
        var scene = new TeardownScene(
            TimeSpan.FromSeconds(10), "[{name: first, teardownReserve: 20s}, {name: second, teardownReserve: 20s}]");
        _ = scene.StopSandbox();
        scene.HooksEnd("web", "job");
        scene.After(5);
        scene.Ends("web", "job");
        scene.HooksEnd("second");
        scene.After(2.5);
        scene.Ends("second");
        Assert.Equal(
            ["0 hook web 3", "0 hook job 3", "0 stop web 5", "0 stop job 5", "5 kill web", "5 kill job", "5 hook second 0.5", "5 stop second 2.5", "7.5 kill second",
                "7.5 hook first 0.5"],
            scene.Wanted());
    }

    [Fact]
    public void WhileEnding_CallersCreateAndStartNothing()
    {
        var scene = new TeardownScene();
        scene.Tell(new ContainerCreated("late", "late", 0, scene.Now));
        _ = scene.StopSandbox();
        Assert.Equal((Verdict.Refuse, Verdict.Refuse), (scene.Create("web"), scene.Start("late")));
    }

    [Fact]
    public void RemoveContainer_OfOneThatRuns_WaitsForItsTurn()
    {
        var scene = new TeardownScene();
        _ = scene.StopSandbox();
        Assert.Equal(Verdict.Held, scene.Remove("first"));
        scene.Ends("web", "job", "second", "first");
        Assert.Equal(Verdict.Forward, scene.Remove("first"));
    }

    [Fact]
    public void Ephemeral_ContainersAreStoppedWithTheMains_AndNotWaitedFor()
    {
        var scene = new TeardownScene(containers: ["first", "web", "debugger"]);
        _ = scene.StopSandbox();
        scene.HooksEnd("web", "debugger");
        scene.Ends("web");
        scene.HooksEnd("first");
        scene.Ends("first");
        string[] wanted = scene.Wanted();
        Assert.Contains("0 stop debugger 30", wanted);
        Assert.Equal("0 stop sandbox", wanted[^1]);
    }

    [Fact]
    public void SidecarInBackOff_AtItsTurn_IsNotWaitedFor()
    {
        var scene = new TeardownScene(containers: ["first", "web"]);
        scene.Tell(new ContainerExited("first", new ContainerExit(137, true, scene.Now)));
        _ = scene.StopSandbox();
        scene.HooksEnd("web");
        scene.Ends("web");
        Assert.Equal(["0 hook web 28", "0 stop web 30", "0 stop sandbox"], scene.Wanted());
        scene.After(5);
        Assert.Empty(scene.Wanted());
    }

    [Fact]
    public void Sidecars_DeletedDuringInit_EndInReverse()
    {
        var scene = new TeardownScene(containers: ["first", "second"]);
        _ = scene.StopSandbox();
        scene.HooksEnd("second");
        Assert.Equal(["0 hook second 28", "0 stop second 30"], scene.Wanted());
        scene.Ends("second");
        Assert.Equal(["0 hook first 28"], scene.Wanted());
    }

    [Fact]
    public void ExitThatTheBackendHasNotNoted_GivesTheNextTurn_AndKeepsTheSandboxWaiting()
    {
        var scene = new TeardownScene(containers: ["first", "web"]);
        _ = scene.StopSandbox();
        scene.HooksEnd("web");
        scene.Exits("web");
        scene.HooksEnd("first");
        scene.Tell(new StopAnswered("web", true));
        Assert.Equal(["0 hook web 28", "0 stop web 30", "0 hook first 28", "0 stop first 30"], scene.Wanted());
        scene.Exits("first");
        Assert.Equal(Verdict.Held, scene.Remove("first"));
        Assert.Equal(Verdict.Held, scene.StopSandbox());
        Assert.Empty(scene.Wanted());
        scene.Tell(new StopAnswered("first", true));
        Assert.Equal(Verdict.Forward, scene.Remove("first"));
        Assert.Equal(["0 stop sandbox"], scene.Wanted());
    }

    [Fact]
    public void ExitWhoseStopFailed_IsAskedForAgain_AndNotForLong()
    {
        var scene = new TeardownScene(containers: ["web"]);
        _ = scene.StopSandbox();
        scene.HooksEnd("web");
        scene.Exits("web");
        scene.Tell(new StopAnswered("web", false));
        scene.After(1.5);
        Assert.Equal(["0 hook web 28", "0 stop web 30", "0.5 kill web"], scene.Wanted());
        scene.After(1);
        Assert.Equal(["2 stop sandbox"], scene.Wanted());
    }

    [Fact]
    public void BackendThatDoesNotAnswer_IsAskedAgain_AndGivenUpLongAfter()
    {
        var scene = new TeardownScene(TimeSpan.FromSeconds(3), containers: ["web"]);
        _ = scene.StopSandbox();
        scene.HooksEnd("web");
        scene.Tell(new StopAnswered("web", false));
        scene.After(0.5);
        Assert.Equal(["0 hook web 1.5", "0 stop web 3", "0.5 stop web 2.5"], scene.Wanted());
        scene.After(12);
        Assert.Equal(Verdict.Held, scene.StopSandbox());
        scene.After(1);
        Assert.Equal(["3 kill web", "13 stop sandbox"], scene.Wanted());
        Assert.Equal(Verdict.Forward, scene.StopSandbox());
    }

    [Fact]
    public void Crash_InTheMiddle_GoesOnWithTheSameDeadline()
    {
        var scene = new TeardownScene();
        _ = scene.StopSandbox();
        scene.HooksEnd("web", "job");
        _ = scene.Wanted();
        scene.Crash(10);
        Assert.Equal(["10 hook web 18", "10 hook job 18"], scene.Wanted());
        scene.HooksEnd("web", "job");
        Assert.Equal(["10 stop web 20", "10 stop job 20"], scene.Wanted());
        scene.Ends("web", "job");
        scene.Crash(20);
        Assert.Equal(["10 hook second 18", "30 kill second"], scene.Wanted());
        scene.Ends("second");
        Assert.Equal(["30 stop first 2"], scene.Wanted());
    }

    [Fact]
    public void Crash_AfterAContainerThatStartedEarlierWasRemoved_StillKeepsReserves()
    {
        var scene = new TeardownScene(
            TimeSpan.FromSeconds(10), "[{name: first, teardownReserve: 4s}]", containers: ["first", "job", "second", "web"]);
        scene.IsRemoved("job");
        scene.Crash(0);
        _ = scene.StopSandbox();
        scene.Ends("web");
        scene.HooksEnd("second");
        Assert.Equal(["0 hook web 4", "0 hook second 4", "0 stop second 6"], scene.Wanted());
    }

    [Fact]
    public void Crash_AfterTheLastEnded_StopsTheSandbox()
    {
        var scene = new TeardownScene(containers: ["web"]);
        _ = scene.StopSandbox();
        scene.Ends("web");
        Assert.Equal(["0 hook web 28", "0 stop sandbox"], scene.Wanted());
        scene.Crash();
        Assert.Equal(["1 stop sandbox"], scene.Wanted());
    }

    [Fact]
    public void StopPodSandbox_OfOneThatIsDead_EndsWhatStillRunsInOrder()
    {
        var scene = new TeardownScene(containers: ["first", "web"]);
        scene.SandboxDies();
        Assert.Equal(Verdict.Held, scene.StopSandbox(120));
        scene.HooksEnd("web");
        scene.Ends("web");
        scene.HooksEnd("first");
        scene.Ends("first");
        Assert.Equal(["0 hook web 28", "0 stop web 30", "0 hook first 28", "0 stop first 30", "0 stop sandbox"], scene.Wanted());
        Assert.Equal(Verdict.Forward, scene.StopSandbox(120));
    }

    [Fact]
    public void Container_ThatNeverStarted_IsNotWaitedFor()
    {
        var scene = new TeardownScene(containers: ["web"]);
        scene.Tell(new ContainerCreated("job", "job", 0, scene.Now));
        _ = scene.StopSandbox();
        scene.HooksEnd("web");
        scene.Ends("web");
        Assert.Equal(["0 hook web 28", "0 stop web 30", "0 stop sandbox"], scene.Wanted());
    }

    [Fact]
    public void EndPod_OfADrain_EndsInOrderWithinItsGraceAndStopsTheSandbox()
    {
        var scene = new TeardownScene(containers: ["first", "web"]);
        scene.Tell(new EndPod(TimeSpan.FromSeconds(5)));
        scene.HooksEnd("web");
        scene.Ends("web");
        scene.HooksEnd("first");
        scene.Ends("first");
        Assert.Equal(["0 hook web 3", "0 stop web 5", "0 hook first 3", "0 stop first 5", "0 stop sandbox"], scene.Wanted());
    }

    [Fact]
    public void EndPod_WithNothingRunning_StopsTheSandbox()
    {
        var scene = new TeardownScene(containers: ["web"]);
        scene.Ends("web");
        scene.Tell(new EndPod(TimeSpan.FromSeconds(5)));
        Assert.Equal(["0 stop sandbox"], scene.Wanted());
    }
}
