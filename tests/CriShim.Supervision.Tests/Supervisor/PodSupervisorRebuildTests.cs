using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Supervisor;

public sealed class PodSupervisorRebuildTests
{
    [Fact]
    public void Rebuild_DiedWhileTheShimWasDown_IsReplaced()
    {
        var scene = new PodScene();
        scene.After(10);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(1, false, scene.Now)));
        _ = scene.Command<AskRestartSlot>();
        scene.Replace(1);
    }

    [Fact]
    public void Rebuild_AfterAReboot_InventsNoRestart()
    {
        var scene = new PodScene();
        scene.Dies("p0", 137, oom: true);
        scene.Rebuild(false, scene.Seen(0, BackendState.Exited, new ContainerExit(255, false, scene.Now)));
        scene.None<AskRestartSlot>();
        Assert.Equal(StandDownReason.SandboxNotReady, scene.View.RestReason);
        scene.After(60);
        scene.Tell(new TimerDue());
        Assert.Empty(scene.Commands);
    }

    [Fact]
    public void Rebuild_WithoutARecordOfADeadContainer_InventsNoRestart()
    {
        var scene = new PodScene();
        (PodSupervisor supervisor, IReadOnlyList<PodCommand> commands) = PodSupervisor.Rebuild(
            scene.Options, null, [], new SandboxSnapshot(true, scene.Now, [scene.Seen(0, BackendState.Exited, new ContainerExit(1, false, scene.Now))]),
            scene.Facts, scene.Annotation, scene.Now);
        Assert.Empty(commands.OfType<AskRestartSlot>());
        Assert.Equal(StandDownReason.NoRecord, supervisor.Views(scene.Now).Single().RestReason);
    }

    [Fact]
    public void Rebuild_PlannedAndNotCreated_CreatesTheSameAttempt()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.After(1);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited));
        scene.After(1);
        scene.Tell(new TimerDue());
        scene.Replace(1);
        _ = Assert.Single(scene.View.Tally.Deaths);
    }

    [Fact]
    public void Rebuild_PlannedAndCreated_StartsIt()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Created));
        Assert.Equal("p1", scene.Command<StartReplacement>().ContainerId);
        Assert.Equal(ShownState.Hidden, scene.Shown(1));
    }

    [Fact]
    public void Rebuild_CreatedAndStarted_TakesItAsRunning()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Running));
        scene.None<StartReplacement>();
        Assert.Equal(("p1", LineageState.Running), (scene.View.CurrentId, scene.View.State));
        Assert.Equal("p1", scene.Supervisor.CurrentInstance("p0"));
    }

    [Fact]
    public void Rebuild_StartedAndDied_IsAnotherDeath()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Tell(new SlotGranted("proxy"));
        scene.Tell(new ReplacementCreated("proxy", 1, "p1", scene.Now));
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Exited, new ContainerExit(1, false, scene.Now)));
        Assert.Equal(2, scene.View.Tally.Deaths.Count);
        Assert.Equal(LineageState.BackingOff, scene.View.State);
    }

    [Fact]
    public void Rebuild_StoppedByTheKubelet_StaysStopped()
    {
        var scene = new PodScene();
        scene.Take(scene.Supervisor.ArbitrateStop("p0", TimeSpan.FromSeconds(30), true, scene.Now).Commands);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(143, false, scene.Now)));
        scene.None<AskRestartSlot>();
        Assert.Equal(StandDownReason.StoppedByCaller, scene.View.RestReason);
    }

    [Fact]
    public void Rebuild_InTheEndOfTheSandbox_CreatesNothingAndStopsIt()
    {
        var scene = new PodScene();
        scene.Take(scene.Supervisor.ArbitrateSandboxStop(null, true, scene.Now).Commands);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited, new ContainerExit(137, false, scene.Now)));
        scene.None<AskRestartSlot>();
        _ = scene.Command<StopSandbox>();
        Assert.True(scene.PodRecord!.IsSandboxStopping);
    }

    [Fact]
    public void Rebuild_InBackOff_KeepsTheTimeAndTheStreak()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        scene.Dies("p1");
        DateTimeOffset due = scene.View.Due!.Value;
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Exited));
        Assert.Equal((due, 2), (scene.View.Due, scene.View.Streak));
        Assert.Equal(due, scene.Command<ScheduleTimer>().At);
    }

    [Fact]
    public void Rebuild_CallersCreateCutOff_StartsWhatItMade()
    {
        var scene = new PodScene();
        scene.Dies("p0", 137, oom: true);
        scene.Take(scene.Supervisor.ArbitrateCreate("proxy", 1, false, true, scene.Now).Commands);
        scene.Rebuild(true, scene.Seen(0, BackendState.Exited), scene.Seen(1, BackendState.Created));
        Assert.Equal("p1", scene.Command<StartReplacement>().ContainerId);
    }

    [Fact]
    public void Rebuild_RemovedInstances_StillStandForTheLineage()
    {
        var scene = new PodScene();
        scene.Dies("p0");
        scene.Replace(1);
        scene.Tell(new ContainerRemoved("p0"));
        scene.Rebuild(true, scene.Seen(1, BackendState.Running));
        Assert.Equal("p1", scene.Supervisor.CurrentInstance("p0"));
    }
}
