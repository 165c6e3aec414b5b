using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>What callers are shown of an init container that is looked after as a sidecar, from its start to its end after the app's.</summary>
public abstract class EmulatedTests(SidecarLab lab)
{
    [Theory]
    [InlineData("Always")]
    [InlineData("Never")]
    public async Task Started_IsShownCompletedAndRunsBeforeAndAfterItsApp(string policy)
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(lab, pod => pod.RestartPolicy = policy);
        await using MaskWatch watch = MaskWatch.Start(run);
        await run.StartProxyAsync();
        ContainerStatus shown = await run.IsShownCompletedAsync();
        Assert.Equal(run.Proxy, (await run.RunsAsync()).Id);
        await run.StartAppAsync();

        _ = await run.Caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = run.App, Timeout = 20 });
        await RunningPod.StopSandboxAsync(run.Caller, run.Sandbox);

        run.AssertEndedAfterApp();
        Assert.Equal(shown, await run.IsShownCompletedAsync());
        await watch.CheckAsync();
    }

    [Fact]
    public async Task StartupProbe_UntilItPasses_IsShownRunning()
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(lab, pod => pod.Wishes = EmulatedPod.ProbeOf("ready", 100));
        await run.StartProxyAsync();
        await run.HappensAsync("proxy up");
        Assert.Equal(ContainerState.ContainerRunning, (await run.StatusAsync(run.Caller, run.Proxy)).State);
        Assert.NotEmpty(await run.ListAsync(run.Caller, ContainerState.ContainerRunning));
        await using MaskWatch watch = MaskWatch.Start(run);

        run.Open("ready");

        _ = await run.IsShownCompletedAsync();
        await watch.CheckAsync();
    }

    [Fact]
    public async Task Dies_WhileTheAppRuns_IsReplacedUnseenAndReachedByTheIdThatIsShown()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab, pod => (pod.RestartPolicy, pod.OnStart) = ("Never", "echo attempt $$ >&2; sleep 0.2"));
        await using MaskWatch watch = MaskWatch.Start(run);

        _ = await run.KillProxyAsync();
        _ = await run.RunsAsync(1);
        _ = await run.KillProxyAsync();
        Container current = await run.RunsAsync(2);
        _ = await run.KillProxyAsync();
        current = await run.RunsAsync(3);

        Assert.EndsWith("/3.log", (await run.IsShownCompletedAsync()).LogPath, StringComparison.Ordinal);
        Assert.True(File.Exists((await run.IsShownCompletedAsync()).LogPath));
        ExecSyncResponse exec = await run.Caller.Runtime.ExecSyncAsync(
            new ExecSyncRequest { ContainerId = run.Proxy, Cmd = { "/bin/sh", "-c", "hostname; echo behind" }, Timeout = 10 });
        Assert.EndsWith("behind\n", Encoding.UTF8.GetString(exec.Stdout.Span), StringComparison.Ordinal);
        Assert.Equal(0, exec.ExitCode);
        Assert.NotEmpty((await run.Caller.Runtime.ExecAsync(
            new ExecRequest { ContainerId = run.Proxy, Cmd = { "true" }, Stdout = true })).Url);
        Assert.NotEmpty((await run.Caller.Runtime.AttachAsync(new AttachRequest { ContainerId = run.Proxy, Stdout = true })).Url);
        ContainerStatsResponse stats = await run.Caller.Runtime.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = run.Proxy });
        Assert.Equal(run.Proxy, stats.Stats.Attributes.Id);
        Assert.NotEqual(run.Proxy, current.Id);
        await watch.CheckAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task StartupFails_UnderNever_IsReportedAsFailed(int exitCode)
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(
            lab, pod => (pod.RestartPolicy, pod.Wishes, pod.OnStart) = ("Never", EmulatedPod.ProbeOf("never", 1000), $"exit {exitCode}"));
        await run.StartProxyAsync();

        ContainerStatus shown = await run.IsShownEndedAsync();

        Assert.Equal((exitCode == 0 ? 1 : exitCode, "Error"), (shown.ExitCode, shown.Reason));
        Assert.Equal(["proxy up"], run.Lines);
    }

    [Fact]
    public async Task StartupFails_UnderAlways_IsReplacedUntilOneStarts()
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(
            lab, pod => (pod.Wishes, pod.OnStart) = (EmulatedPod.ProbeOf("ready", 1000), "[ -e /record/ready ] || { echo > /record/ready; exit 0; }"));
        await using MaskWatch watch = MaskWatch.Start(run);
        await run.StartProxyAsync();

        await run.BecomesTrueAsync("the second attempt is shown completed", async () =>
            await run.ListAsync(run.Caller) is [.., { Metadata.Attempt: 1, State: ContainerState.ContainerExited }]);

        ContainerStatus shown = await run.IsShownCompletedAsync();
        Assert.Equal((1u, shown.Id), (shown.Metadata.Attempt, (await run.RunsAsync(1)).Id));
    }

    [Fact]
    public async Task StartupProbe_ThatFailsTooOften_EndsItAndUnderNeverThePodFails()
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(
            lab, pod => (pod.RestartPolicy, pod.Wishes, pod.OnTerm) = ("Never", EmulatedPod.ProbeOf("never", 2), "say TERM; exit 0"));
        await run.StartProxyAsync();

        ContainerStatus shown = await run.IsShownEndedAsync();

        Assert.Equal((1, "Error"), (shown.ExitCode, shown.Reason));
        Assert.Equal(["proxy up", "proxy TERM"], run.Lines);
    }

    [Fact]
    public async Task Remove_WhileTheAppRuns_IsRefusedInTimeAndKillsNothing()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        await using MaskWatch watch = MaskWatch.Start(run);

        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => run.RemoveAsync(run.Proxy, 4));

        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        Assert.Contains("still runs", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(run.Proxy, (await run.RunsAsync()).Id);
        Assert.DoesNotContain("proxy TERM", run.Lines);
        await watch.CheckAsync();
    }

    [Fact]
    public async Task Remove_WhileTheAppHasItsGrace_WaitsForItsTurnAndTakesAllAttempts()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        await run.KillProxyAsync();
        _ = await run.RunsAsync(1);

        Task removed = RemoveAgainAndAgainAsync(run);
        _ = await run.Caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = run.App, Timeout = 20 });
        await RunningPod.StopSandboxAsync(run.Caller, run.Sandbox);
        await removed;

        run.AssertEndedAfterApp();
        await run.BecomesTrueAsync("no attempt is left", async () => (await run.ListAsync(run.Bare)).Length == 0);
        Assert.Empty(await run.ListAsync(run.Caller));
        await run.BecomesTrueAsync("no log of what was hidden is left", () => Task.FromResult(
            Directory.GetFiles(Path.Combine(run.Pod.Recipe().Sandbox().LogDirectory, EmulatedPod.Proxy)).All(file => Path.GetFileName(file) == "0.log")));
    }

    /// <summary>As a kubelet that collects without a pause.</summary>
    private static Task RemoveAgainAndAgainAsync(EmulatedRun run) => run.BecomesTrueAsync("it is removed", async () =>
    {
        try
        {
            await run.RemoveAsync(run.Proxy);
            return true;
        }
        catch (RpcException refused) when (refused.StatusCode == StatusCode.Unavailable)
        {
            return false;
        }
    });

    [Fact]
    public async Task AppCompletes_UnderNever_ItIsEndedAfterIt()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab, pod => pod.RestartPolicy = "Never");
        await using MaskWatch watch = MaskWatch.Start(run);

        run.Open("go");

        await run.HappensAsync("proxy TERM");
        run.AssertEndedAfterApp();
        await run.BecomesTrueAsync("nothing of it runs", async () =>
            (await run.ListAsync(run.Bare)).All(one => one.State == ContainerState.ContainerExited));
        _ = await run.IsShownCompletedAsync();
        await watch.CheckAsync();
    }

    [Fact]
    public async Task Supervise_TurnedOff_KeepsWhatIsShownAndEndsItInItsTurn()
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        ContainerStatus before = await run.IsShownCompletedAsync();
        await run.KillCrishimAsync();
        run.Flags = [.. run.Flags, "--supervise", "off"];
        await run.StartCrishimAsync();

        await using MaskWatch watch = MaskWatch.Start(run);
        Assert.Equal(before, await run.IsShownCompletedAsync());
        await RunningPod.StopSandboxAsync(run.Caller, run.Sandbox);

        run.AssertEndedAfterApp();
        await watch.CheckAsync();
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class EmulatedOn16Tests(Sidecars16 lab) : EmulatedTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class EmulatedOn17Tests(Sidecars17 lab) : EmulatedTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class EmulatedOn21Tests(Sidecars21 lab) : EmulatedTests(lab);
