using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Emulated;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.RealContainerd.Tests.Teardown;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>
/// kill -9 of crishim exactly at each step of a restart, a teardown, a mask and a recovery: at a call, held by the relay before containerd has it or before crishim has the
/// answer; and at the write of a record, whose new file is a pipe that nobody reads. Nothing of it is in the product.
/// </summary>
/// <remarks>Each step once is for every run, on one version: the crash tests have the others. The long form takes each 20 times.</remarks>
[Trait(Proof.Category, Proof.Name)]
[Collection(SidecarsOn21.Name)]
public sealed class FailpointTests(Sidecars21 lab)
{
    public static TheoryData<string, HoldPoint> RestartSteps => new()
    {
        { "Subscribe", HoldPoint.Answered },
        { "CreateContainer", HoldPoint.Received },
        { "CreateContainer", HoldPoint.Answered },
        { "StartContainer", HoldPoint.Received },
        { "StartContainer", HoldPoint.Answered },
        { "RemoveContainer", HoldPoint.Received },
        { "RemoveContainer", HoldPoint.Answered },
    };

    /// <summary>What crishim asks when it has just been started.</summary>
    public static TheoryData<string, HoldPoint> RecoverySteps => new()
    {
        { "ListPodSandbox", HoldPoint.Received },
        { "ListPodSandbox", HoldPoint.Answered },
        { "ListContainers", HoldPoint.Received },
        { "ListContainers", HoldPoint.Answered },
        { "CreateContainer", HoldPoint.Received },
        { "StartContainer", HoldPoint.Received },
    };

    private static int Times => Proof.Pick(1, 20);

    [Theory]
    [MemberData(nameof(RestartSteps))]
    public async Task Restart_KilledAtAStep_EndsWithOneInstance(string method, HoldPoint point)
    {
        await using SidecarRun run = await StartAsync();
        uint attempt = await FirstAsync(run);
        for (int i = 0; i < Times; i++)
        {
            RelayHold hold = run.Relay.Hold(method, point);
            _ = await run.KillSidecarAsync();
            await ReachedAsync(run, hold);
            await run.KillCrishimAsync();
            hold.Drop();
            await run.StartCrishimAsync();
            attempt = (await run.SettlesAsync(attempt + 1)).Metadata.Attempt;
        }

        Conclude(run, "restart", $"{method} {point}");
    }

    [Theory]
    [MemberData(nameof(RecoverySteps))]
    public async Task Recovery_KilledAtAStep_GoesOnAtTheNextStart(string method, HoldPoint point)
    {
        await using SidecarRun run = await StartAsync();
        uint attempt = await FirstAsync(run);
        for (int i = 0; i < Times; i++)
        {
            await run.KillCrishimAsync();
            _ = await run.KillSidecarAsync();
            RelayHold hold = run.Relay.Hold(method, point);
            await run.StartCrishimAsync();
            await ReachedAsync(run, hold);
            await run.KillCrishimAsync();
            hold.Drop();
            await run.StartCrishimAsync();
            attempt = (await run.SettlesAsync(attempt + 1)).Metadata.Attempt;
        }

        Conclude(run, "recovery", $"{method} {point}");
    }

    /// <summary>The record that a restart begins with, and that is not there yet.</summary>
    [Fact]
    public async Task Restart_KilledAtTheWriteOfItsRecord_EndsWithOneInstance()
    {
        await using SidecarRun run = await StartAsync();
        uint attempt = await FirstAsync(run);
        for (int i = 0; i < Times; i++)
        {
            string file = Path.Combine(run.StateFolder, $"{SidecarRun.Sidecar}.json.new");
            await using (await RecordPipe.MakeAsync(file))
            {
                _ = await run.KillSidecarAsync();
                await run.BecomesTrueAsync("the record is being written", () => Task.FromResult(RecordPipe.IsAwaited(run.Crishim.ProcessId)));
                await run.KillCrishimAsync();
            }

            await run.StartCrishimAsync();
            attempt = (await run.SettlesAsync(attempt + 1)).Metadata.Attempt;
        }

        Conclude(run, "restart", "record");
    }

    [Theory]
    [MemberData(nameof(TeardownCrashTests.Steps), MemberType = typeof(TeardownCrashTests))]
    public async Task Teardown_KilledAtAStep_EndsInOrder(string method, int before, HoldPoint point)
    {
        for (int i = 0; i < Times; i++)
        {
            await using TeardownRun run = await TeardownRun.StartAsync(lab);
            RelayHold hold = run.Relay.Hold(method, point, before);
            Task stop = run.StopSandboxAsync();
            await ReachedAsync(run, hold);
            await run.KillCrishimAsync();
            hold.Drop();
            _ = await Assert.ThrowsAsync<RpcException>(() => stop);
            await run.StartCrishimAsync();
            await run.SandboxEndsAsync();
            run.AssertEndedInOrder();
        }

        Record("teardown", $"{method} {before} {point}");
    }

    /// <summary>The record without which no mask may be shown: killed before it is there, and once it is shown.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Mask_KilledAroundItsRecord_IsShownOnceAndForGood(bool isBefore)
    {
        for (int i = 0; i < Times; i++)
        {
            await using EmulatedRun run = await EmulatedRun.BeginAsync(lab, pod => pod.Wishes = EmulatedPod.ProbeOf("ready", 1000));
            await run.StartProxyAsync();
            await run.HappensAsync("proxy up");
            await using MaskWatch watch = MaskWatch.Start(run);
            if (isBefore)
            {
                await using (await RecordPipe.MakeAsync(Path.Combine(run.StateFolder, $"{EmulatedPod.Proxy}.json.new")))
                {
                    run.Open("ready");
                    await run.BecomesTrueAsync("the record is being written", () => Task.FromResult(RecordPipe.IsAwaited(run.Crishim.ProcessId)));
                    await run.KillCrishimAsync();
                }
            }
            else
            {
                run.Open("ready");
                _ = await run.IsShownCompletedAsync();
                await run.KillCrishimAsync();
            }

            await run.StartCrishimAsync();
            ContainerStatus shown = await run.IsShownCompletedAsync();
            Assert.Equal(run.Proxy, shown.Id);
            _ = await run.RunsAsync();
            await watch.CheckAsync();
        }

        Record("mask", isBefore ? "record" : "shown");
    }

    [Theory]
    [InlineData("CreateContainer", HoldPoint.Received)]
    [InlineData("CreateContainer", HoldPoint.Answered)]
    [InlineData("StartContainer", HoldPoint.Received)]
    [InlineData("StartContainer", HoldPoint.Answered)]
    public async Task Masked_KilledAtAStepOfItsRestart_IsReplacedUnseen(string method, HoldPoint point)
    {
        await using EmulatedRun run = await EmulatedRun.StartAsync(lab);
        await using MaskWatch watch = MaskWatch.Start(run);
        ContainerStatus before = await run.IsShownCompletedAsync();
        uint attempt = 0;
        for (int i = 0; i < Times; i++)
        {
            RelayHold hold = run.Relay.Hold(method, point);
            _ = await run.KillProxyAsync();
            await ReachedAsync(run, hold);
            await run.KillCrishimAsync();
            hold.Drop();
            await run.StartCrishimAsync();
            attempt = (await run.RunsAsync(attempt + 1)).Metadata.Attempt;
            await watch.CheckAsync();
        }

        Assert.Equal((uint)Times, attempt);
        ContainerStatus after = await run.IsShownCompletedAsync();
        Assert.Equal((before.Id, before.FinishedAt), (after.Id, after.FinishedAt));
        Record("mask", $"{method} {point}");
    }

    private async Task<SidecarRun> StartAsync()
    {
        SidecarRun run = await SidecarRun.StartAsync(lab);
        run.Kubelet.ExpectsSidecarsRunning = false;
        return run;
    }

    /// <summary>Then each death has a dead one before it, which is to be removed.</summary>
    private static async Task<uint> FirstAsync(SidecarRun run)
    {
        _ = await run.KillSidecarAsync();
        return (await run.SettlesAsync(1)).Metadata.Attempt;
    }

    private static Task ReachedAsync(LabRun run, RelayHold hold) =>
        run.BecomesTrueAsync($"{hold.Method} is {hold.Point}", () => Task.FromResult(hold.IsReached));

    private void Conclude(SidecarRun run, string what, string step)
    {
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
        Record(what, step);
    }

    private void Record(string what, string step) =>
        Proof.Record($"Failpoints on containerd {lab.Version}", $"{what}: {step}", $"{Times} kills, 0 violations");
}
