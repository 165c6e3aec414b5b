using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>kill -9 of crishim, of containerd and of both: what was shown completed stays so, and runs.</summary>
public abstract class EmulatedCrashTests(SidecarLab lab)
{
    /// <summary>Whether crishim is killed, and containerd.</summary>
    public static TheoryData<bool, bool> Killed => new() { { true, false }, { false, true }, { true, true } };

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledBeforeItHasStarted_IsShownCompletedOnceItHas(bool crishim, bool containerd)
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(lab, pod => pod.Wishes = EmulatedPod.ProbeOf("ready", 1000));
        await using MaskWatch watch = MaskWatch.Start(run);
        await run.StartProxyAsync();
        await run.HappensAsync("proxy up");

        await KillAsync(run, crishim, containerd);
        await StartAgainAsync(run, crishim, containerd);
        run.Open("ready");

        Assert.Equal(run.Proxy, (await run.IsShownCompletedAsync()).Id);
        _ = await run.RunsAsync();
        await watch.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledOnceItIsShownCompleted_NothingElseIsEverSeen(bool crishim, bool containerd)
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        await using MaskWatch watch = MaskWatch.Start(run);
        ContainerStatus before = await run.IsShownCompletedAsync();
        await watch.CheckAsync();

        await KillAsync(run, crishim, containerd);
        await StartAgainAsync(run, crishim, containerd);

        Assert.Equal(before, await run.IsShownCompletedAsync());
        _ = await run.KillProxyAsync();
        _ = await run.RunsAsync(1);
        await watch.CheckAsync();
        await RunningPod.StopSandboxAsync(run.Caller, run.Sandbox);
        run.AssertEndedAfterApp();
        await watch.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledAndItDiesMeanwhile_IsReplacedUnseen(bool crishim, bool containerd)
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab, pod => pod.RestartPolicy = "Never");
        await using MaskWatch watch = MaskWatch.Start(run);
        ContainerStatus before = await run.IsShownCompletedAsync();
        await watch.CheckAsync();

        int pid = await run.PidOfProxyAsync();
        await KillAsync(run, crishim, containerd);
        EmulatedRun.KillProcess(pid);
        await StartAgainAsync(run, crishim, containerd);

        _ = await run.RunsAsync(1);
        ContainerStatus after = await run.IsShownCompletedAsync();
        Assert.Equal((before.Id, before.FinishedAt), (after.Id, after.FinishedAt));
        await watch.CheckAsync();
    }

    [Fact]
    public async Task RecordsLost_CountsAsCompletedWhenTheAppWasCreated()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        await run.KillCrishimAsync();
        run.LoseRecords();
        await run.StartCrishimAsync();
        await using MaskWatch watch = MaskWatch.Start(run);

        ContainerStatus shown = await run.IsShownCompletedAsync();

        ContainerStatus app = await run.StatusAsync(run.Bare, run.App);
        Assert.Equal((run.Proxy, app.CreatedAt / 100), (shown.Id, shown.FinishedAt / 100));
        await watch.CheckAsync();
    }

    private static async Task KillAsync(EmulatedRun run, bool crishim, bool containerd)
    {
        if (crishim)
        {
            await run.KillCrishimAsync();
        }

        if (containerd)
        {
            await run.KillContainerdAsync();
        }
    }

    private static async Task StartAgainAsync(EmulatedRun run, bool crishim, bool containerd)
    {
        if (crishim)
        {
            await run.StartCrishimAsync();
        }

        if (containerd)
        {
            await run.StartContainerdAsync();
        }
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class EmulatedCrashesOn16Tests(Sidecars16 lab) : EmulatedCrashTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class EmulatedCrashesOn17Tests(Sidecars17 lab) : EmulatedCrashTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class EmulatedCrashesOn21Tests(Sidecars21 lab) : EmulatedCrashTests(lab);
