using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>kill -9 of crishim, of containerd and of both, around the end of an adopted sidecar: it is ended, and shown, as without.</summary>
public abstract class AdoptedCrashTests(SidecarLab lab)
{
    /// <summary>Whether crishim is killed, and containerd.</summary>
    public static TheoryData<bool, bool> Killed => new() { { true, false }, { false, true }, { true, true } };

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledBeforeTheSidecarHasEnded_SameResult(bool crishim, bool containerd)
    {
        await using AdoptedRun run = await StartAsync();
        await using SidecarWatch watch = SidecarWatch.Start(run);
        run.EndMain();
        await run.HappensAsync("proxy TERM");

        await KillAsync(run, crishim, containerd);
        await StartAgainAsync(run, crishim, containerd);
        await run.IsShownAsync(ContainerState.ContainerRunning);
        run.Open("left");

        await run.IsShownCompletedAsync(143);
        run.AssertEndedAfterMain(containerd);
        await watch.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledWhileTheSidecarEnds_SameResult(bool crishim, bool containerd)
    {
        await using AdoptedRun run = await StartAsync();
        await using SidecarWatch watch = SidecarWatch.Start(run);
        run.EndMain();
        await run.HappensAsync("proxy TERM");

        await KillAsync(run, crishim, containerd);
        run.Open("left");
        await run.HappensAsync("proxy left");
        await StartAgainAsync(run, crishim, containerd);

        // A containerd that was not there says 255 where it was not told the code.
        await run.IsShownCompletedAsync(containerd ? [143, 255] : [143]);
        run.AssertEndedAfterMain(containerd);
        await watch.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledBeforeTheMainHasCompleted_SameResult(bool crishim, bool containerd)
    {
        await using AdoptedRun run = await StartAsync();
        await using SidecarWatch watch = SidecarWatch.Start(run);
        run.Open("left");

        await KillAsync(run, crishim, containerd);
        run.EndMain();
        await run.HappensAsync("app end");
        await StartAgainAsync(run, crishim, containerd);

        await run.IsShownCompletedAsync(143);
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Killed))]
    public async Task KilledAfterTheSidecarHasEnded_SameResult(bool crishim, bool containerd)
    {
        await using AdoptedRun run = await StartAsync();
        await using SidecarWatch watch = SidecarWatch.Start(run);
        run.Open("left");
        run.EndMain();
        ContainerStatus before = await run.IsShownCompletedAsync(143);

        await KillAsync(run, crishim, containerd);
        await StartAgainAsync(run, crishim, containerd);

        Assert.Equal(before, await run.IsShownCompletedAsync(143));
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
    }

    [Fact]
    public async Task CrishimDownWhileTheSidecarDies_ReplacesItUnseenWhenItIsBack()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab);
        await using SidecarWatch watch = SidecarWatch.Start(run);
        await run.KillCrishimAsync();
        await run.KillProxyAsync();
        await run.StartCrishimAsync();

        await run.IsShownAsync(ContainerState.ContainerRunning, 1);
        await run.HappensAsync("proxy up", 2);
        await watch.CheckAsync();
        run.EndMain();

        await run.IsShownCompletedAsync(143);
        await watch.CheckAsync();
    }

    [Fact]
    public async Task CrishimKilledWhileTheMainsStartIsHeld_HoldsTheNextOne()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, withMain: false, change: pod => pod.Wishes =
            "\"startupProbe\": {\"exec\": {\"command\": [\"/bin/sh\", \"-c\", \"[ -e /record/ready ]\"]}, \"periodSeconds\": 1}");
        string main = await run.CreateContainerAsync(AdoptedPod.App);
        Task start = run.StartContainerAsync(main);
        await run.LoggedAsync("waits for a sidecar's startup probe");

        await run.KillCrishimAsync();
        _ = await Assert.ThrowsAsync<Grpc.Core.RpcException>(() => start);
        await run.StartCrishimAsync();
        await run.LoggedAsync("Supervision knows the node", 2);
        await run.LoggedAsync("the static manifests source is current (1 pods)", 2);
        start = run.StartContainerAsync(main);
        await run.LoggedAsync("waits for a sidecar's startup probe", 2);
        run.Open("ready");
        await start;

        await run.HappensAsync("app up");
        run.EndMain();
        await run.IsShownCompletedAsync(143);
    }

    private Task<AdoptedRun> StartAsync() => AdoptedRun.StartAsync(
        lab, pod => pod.OnTerm = $"say TERM; {AdoptedPod.Await("left")}; say left; exit 143");

    private static async Task KillAsync(AdoptedRun run, bool crishim, bool containerd)
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

    private static async Task StartAgainAsync(AdoptedRun run, bool crishim, bool containerd)
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
public sealed class AdoptedCrashesOn16Tests(Sidecars16 lab) : AdoptedCrashTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class AdoptedCrashesOn17Tests(Sidecars17 lab) : AdoptedCrashTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class AdoptedCrashesOn21Tests(Sidecars21 lab) : AdoptedCrashTests(lab);
