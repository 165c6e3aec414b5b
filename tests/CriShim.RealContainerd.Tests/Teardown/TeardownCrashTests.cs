using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Teardown;

/// <summary>kill -9 at every step of a teardown, of crishim and of containerd: it goes on, in order, to the end that was due.</summary>
public abstract class TeardownCrashTests(SidecarLab lab)
{
    private const string Log = TeardownPod.Log, Proxy = TeardownPod.Proxy, App = TeardownPod.App, Web = TeardownPod.Web;

    /// <summary>The call at which it happens, how many of its kind went before, and where. Stops are of mains, then of sidecars.</summary>
    public static TheoryData<string, int, HoldPoint> Steps => new()
    {
        { "StopContainer", 0, HoldPoint.Received },
        { "StopContainer", 1, HoldPoint.Answered },
        { "StopContainer", 2, HoldPoint.Received },
        { "StopContainer", 2, HoldPoint.Answered },
        { "StopContainer", 3, HoldPoint.Received },
        { "StopContainer", 3, HoldPoint.Answered },
        { "StopPodSandbox", 0, HoldPoint.Received },
        { "StopPodSandbox", 0, HoldPoint.Answered },
    };

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task Crishim_KilledBetweenTwoSteps_GoesOnFromThere(string method, int before, HoldPoint point)
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold(method, point, before);
        Task stop = run.StopSandboxAsync();
        await hold.ReachedAsync();

        await run.KillCrishimAsync();
        hold.Drop();
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => stop)).StatusCode);
        await run.StartCrishimAsync();

        // Nobody asks again.
        await run.SandboxEndsAsync();
        run.AssertEndedInOrder();
        // And who does finds it done.
        await run.StopSandboxAsync();
    }

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task Containerd_KilledBetweenTwoSteps_IsAskedAgainWhenItIsBack(string method, int before, HoldPoint point)
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold(method, point, before);
        Task stop = run.StopSandboxAsync();
        await hold.ReachedAsync();

        await run.KillContainerdAsync();
        hold.Drop();
        await run.StartContainerdAsync();

        await run.SandboxEndsAsync();
        run.AssertEndedInOrder(isContainerdForgetful: true);
        // Its caller is told the one or the other, but never that it is done before it is.
        _ = await Record.ExceptionAsync(() => stop);
        await run.StopSandboxAsync();
    }

    [Theory]
    [InlineData(HoldPoint.Received)]
    [InlineData(HoldPoint.Answered)]
    public async Task Both_KilledTogether_GoOnFromThere(HoldPoint point)
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);
        RelayHold hold = run.Relay.Hold("StopContainer", point, after: 2);
        Task stop = run.StopSandboxAsync();
        await hold.ReachedAsync();

        await run.KillCrishimAsync();
        await run.KillContainerdAsync();
        hold.Drop();
        _ = await Assert.ThrowsAsync<RpcException>(() => stop);
        await run.StartCrishimAsync();
        await run.StartContainerdAsync();

        await run.SandboxEndsAsync();
        run.AssertEndedInOrder(isContainerdForgetful: true);
    }

    [Fact]
    public async Task Crishim_KilledWhileStopsWait_EndsWhatWasAskedFor()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Await("left"));
        Task stops = run.StopAllAsync();
        await run.HappensAsync("app TERM");
        await run.HappensAsync("web end");
        await run.LoggedAsync("waits for its turn", 2);

        await run.KillCrishimAsync();
        _ = await Assert.ThrowsAsync<RpcException>(() => stops);
        await run.StartCrishimAsync();
        await run.LoggedAsync("Supervision knows the node", 2);
        run.Open("left");

        await run.HappensAsync("log end");
        run.AssertEndedInOrder();
    }

    /// <summary>With no relay between them: containerd's stop of the main ends with the crash, and would never kill it.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task KilledWhileAMainIgnoresSigterm_ItIsKilledWhenItWasDue(bool isCrishim)
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod =>
        {
            pod.Grace = 16;
            pod.Reserve[Log] = pod.Reserve[Proxy] = "4s";
            pod.OnTerm[App] = TeardownPod.Ignore;
        });
        run.PassTheRelay();
        await run.KillCrishimAsync();
        await run.StartCrishimAsync();
        await run.LoggedAsync("Supervision knows the node", 2);
        Task stop = run.StopSandboxAsync();
        // So much of its 8 s is gone that those of a teardown begun anew would be told from what was left.
        await run.HappensAsync("app tick", 6);

        TimeSpan restarted;
        if (isCrishim)
        {
            await run.KillCrishimAsync();
            restarted = WrittenLine.Uptime();
            await run.StartCrishimAsync();
        }
        else
        {
            await run.KillContainerdAsync();
            restarted = WrittenLine.Uptime();
            await run.StartContainerdAsync();
        }

        await run.SandboxEndsAsync();
        _ = await Record.ExceptionAsync(() => stop);
        Assert.Equal(137, (await run.StatusAsync(App)).ExitCode);
        TimeSpan killedAt = await run.FinishedAtAsync(App);
        Assert.InRange(killedAt, run.At("app TERM") + TimeSpan.FromSeconds(7.5), restarted + TimeSpan.FromSeconds(8));
        string[] seen = [.. run.Lines.Where(line => line.What != "tick").Select(line => line.Text)];
        Assert.Equal(["proxy TERM", "proxy end", "log TERM", "log end"], seen.TakeLast(4));
        run.CheckLog();
    }

    [Fact]
    public async Task Crishim_KilledAtAnyMoment_EndsItInOrder()
    {
        var random = new Random(4713);
        for (int round = 0; round < 4; round++)
        {
            await using TeardownRun run = await TeardownRun.StartAsync(lab);
            run.PassTheRelay();
            await run.KillCrishimAsync();
            await run.StartCrishimAsync();
            await run.LoggedAsync("Supervision knows the node", 2);
            Task stop = run.StopSandboxAsync();
            await run.HappensAsync("web TERM");

            await Task.Delay(random.Next(0, 1200));
            await run.KillCrishimAsync();
            _ = await Record.ExceptionAsync(() => stop);
            await run.StartCrishimAsync();

            await run.SandboxEndsAsync();
            run.AssertEndedInOrder();
        }
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class TeardownCrashesOn16Tests(Sidecars16 lab) : TeardownCrashTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class TeardownCrashesOn17Tests(Sidecars17 lab) : TeardownCrashTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class TeardownCrashesOn21Tests(Sidecars21 lab) : TeardownCrashTests(lab);
