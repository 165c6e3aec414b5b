using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>kill -9 at every step of a restart, of crishim and of containerd: no sidecar is lost, none is there twice.</summary>
public abstract class CrashTests(SidecarLab lab)
{
    /// <summary>The call at which it happens, where, and what becomes of the call: a lost one may also arrive late.</summary>
    public static TheoryData<string, HoldPoint, bool> Steps => new()
    {
        { "Subscribe", HoldPoint.Answered, false },
        { "CreateContainer", HoldPoint.Received, false },
        { "CreateContainer", HoldPoint.Received, true },
        { "CreateContainer", HoldPoint.Answered, false },
        { "StartContainer", HoldPoint.Received, false },
        { "StartContainer", HoldPoint.Received, true },
        { "StartContainer", HoldPoint.Answered, false },
    };

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task Crishim_KilledBetweenTwoSteps_GoesOnFromThere(string method, HoldPoint point, bool arrivesLate)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold(method, point);
        await run.KillSidecarAsync();
        await hold.ReachedAsync();

        await run.KillCrishimAsync();
        if (!arrivesLate)
        {
            hold.Drop();
        }

        await run.StartCrishimAsync();
        await run.LoggedAsync("Supervision knows the node", times: 2);
        if (arrivesLate)
        {
            hold.Release();
        }

        await run.SettlesAsync(1);
        await run.Kubelet.RelistAsync();
        Assert.Equal(1, run.Kubelet.RestartCount(SidecarRun.Sidecar));
        // And it is supervised as before.
        await run.KillSidecarAsync();
        await run.SettlesAsync(2);
        await run.Kubelet.RelistAsync();
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
    }

    [Theory]
    [InlineData("RemoveContainer", HoldPoint.Received)]
    [InlineData("RemoveContainer", HoldPoint.Answered)]
    public async Task Crishim_KilledWhileItRemovesADeadOne_LeavesOneAtMost(string method, HoldPoint point)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold(method, point);
        await run.KillSidecarAsync();
        await run.SettlesAsync(1);
        await run.KillSidecarAsync();
        await hold.ReachedAsync();

        await run.KillCrishimAsync();
        hold.Drop();
        await run.StartCrishimAsync();

        await run.SettlesAsync(2);
        await run.Kubelet.RelistAsync();
        run.Check();
    }

    [Theory]
    [InlineData(HoldPoint.Received)]
    [InlineData(HoldPoint.Answered)]
    public async Task Crishim_KilledWhileTheKubeletCreates_EndsWithOneInstance(HoldPoint point)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        // The kubelet is quicker than the event.
        RelayHold exit = run.Relay.Hold("Subscribe", HoldPoint.Answered);
        RelayHold create = run.Relay.Hold("CreateContainer", point);
        await run.KillSidecarAsync();
        await exit.ReachedAsync();
        Task theirs = run.Kubelet.RunContainerAsync(SidecarRun.Sidecar, 1);
        await create.ReachedAsync();

        await run.KillCrishimAsync();
        exit.Drop();
        create.Drop();
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => theirs)).StatusCode);
        await run.StartCrishimAsync();

        await run.SettlesAsync(1);
        await run.Kubelet.RelistAsync();
        Assert.Equal(1, run.Kubelet.RestartCount(SidecarRun.Sidecar));
        run.Check();
    }

    [Fact]
    public async Task Crishim_DownWhileASidecarDies_RestartsItWhenItIsBack()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        await run.KillCrishimAsync();
        await run.KillSidecarAsync();
        await run.StartCrishimAsync();

        await run.SettlesAsync(1);
        await run.Kubelet.RelistAsync();
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
    }

    [Fact]
    public async Task Crishim_KilledAtAnyMoment_EndsWithOneInstanceEachTime()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        run.PassTheRelay();
        await run.KillCrishimAsync();
        await run.StartCrishimAsync();
        var random = new Random(4711);
        uint attempt = 0;
        for (int round = 0; round < 10; round++)
        {
            // Around the death: from before it to after the restart, which takes about a tenth of a second on an idle machine.
            TimeSpan dies = TimeSpan.FromMilliseconds(random.Next(0, 60));
            TimeSpan killed = TimeSpan.FromMilliseconds(random.Next(0, 300));
            Task death = AfterAsync(dies, run.KillSidecarAsync);
            Task kill = AfterAsync(killed, run.KillCrishimAsync);
            await Task.WhenAll(death, kill);
            await run.StartCrishimAsync();

            // A start that was under way is cancelled in containerd with its caller, and then has failed: a death of its own.
            attempt = (await run.SettlesAsync(attempt + 1, attempt + 2)).Metadata.Attempt;
        }

        run.Kubelet.ExpectsSidecarsRunning = false;
        await run.Kubelet.RelistAsync();
        Assert.Equal((int)attempt, run.Kubelet.RestartCount(SidecarRun.Sidecar));
        run.Check();
    }

    [Theory]
    [InlineData("Subscribe", HoldPoint.Answered)]
    [InlineData("CreateContainer", HoldPoint.Received)]
    [InlineData("CreateContainer", HoldPoint.Answered)]
    [InlineData("StartContainer", HoldPoint.Received)]
    [InlineData("StartContainer", HoldPoint.Answered)]
    public async Task Containerd_KilledBetweenTwoSteps_GetsTheSidecarWhenItIsBack(string method, HoldPoint point)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold(method, point);
        await run.KillSidecarAsync();
        await hold.ReachedAsync();

        await run.KillContainerdAsync();
        hold.Drop();
        await run.StartContainerdAsync();

        await run.SettlesAsync(1);
        run.Kubelet.ExpectsSidecarsRunning = false;
        await run.Kubelet.RelistAsync();
        await run.KillSidecarAsync();
        await run.SettlesAsync(2);
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
    }

    [Fact]
    public async Task Containerd_KilledAtAnyMoment_EndsWithOneInstanceEachTime()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        run.Kubelet.ExpectsSidecarsRunning = false;
        run.PassTheRelay();
        await run.KillCrishimAsync();
        await run.StartCrishimAsync();
        var random = new Random(4712);
        uint attempt = 0;
        for (int round = 0; round < 3; round++)
        {
            await run.KillSidecarAsync();
            await AfterAsync(TimeSpan.FromMilliseconds(random.Next(0, 250)), run.KillContainerdAsync);
            await run.StartContainerdAsync();

            // One that containerd was about to start can be lost with it, and then counts as dead, too.
            Container now = await run.SettlesAsync(attempt + 1, attempt + 3);
            attempt = now.Metadata.Attempt;
        }

        await run.Kubelet.RelistAsync();
        Assert.Equal((int)attempt, run.Kubelet.RestartCount(SidecarRun.Sidecar));
        run.Check();
    }

    [Fact]
    public async Task Both_KilledTogether_EndWithOneInstance()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold("StartContainer", HoldPoint.Received);
        await run.KillSidecarAsync();
        await hold.ReachedAsync();

        await run.KillCrishimAsync();
        await run.KillContainerdAsync();
        hold.Drop();
        await run.StartCrishimAsync();
        await run.StartContainerdAsync();

        await run.SettlesAsync(1);
        run.Kubelet.ExpectsSidecarsRunning = false;
        await run.Kubelet.RelistAsync();
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
    }

    private static async Task AfterAsync(TimeSpan delay, Func<Task> action)
    {
        await Task.Delay(delay);
        await action();
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class CrashesOn16Tests(Sidecars16 lab) : CrashTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class CrashesOn17Tests(Sidecars17 lab) : CrashTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class CrashesOn21Tests(Sidecars21 lab) : CrashTests(lab);
