using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Teardown;

/// <summary>What the processes of a pod see of its end, whoever asks for it.</summary>
public abstract class TeardownTests(SidecarLab lab)
{
    private const string Log = TeardownPod.Log, Proxy = TeardownPod.Proxy, App = TeardownPod.App, Web = TeardownPod.Web;

    // ---- StopContainer -----------------------------------------------------------------------------------------------

    [Fact]
    public async Task StopContainer_OfAllAtOnceAsKubelet128_EndsSidecarsAfterMains()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);

        await run.StopAllAsync();
        run.AssertEndedInOrder();
        await run.StopSandboxAsync();

        await run.SandboxEndsAsync();
        foreach (string name in TeardownPod.Names)
        {
            Assert.Equal((name, 0), (name, (await run.StatusAsync(name)).ExitCode));
        }
    }

    [Fact]
    public async Task StopContainer_WhileTheKubeletRunsAMainsHook_WaitsForItsStop()
    {
        string hook = $"{TeardownPod.Say("app hook")}; {TeardownPod.Await("left")}";
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod =>
        {
            pod.PreStop[App] = hook;
            pod.OnTerm[Web] = $"{TeardownPod.Ignore.Replace(":;", "! [ -e /record/left ];", StringComparison.Ordinal)}";
        });

        // One goroutine for each container: hook, then stop. The others are long stopping when this hook is over.
        Task<ExecSyncResponse> hooking = run.Caller.Runtime.ExecSyncAsync(
            new ExecSyncRequest { ContainerId = run.IdOf(App), Cmd = { TeardownPod.HookCommand(hook) }, Timeout = 20 }).ResponseAsync;
        await run.HappensAsync("app hook");
        Task[] stops = [run.StopContainerAsync(Log), run.StopContainerAsync(Web), run.StopContainerAsync(Proxy)];
        await run.HappensAsync("web tick", 3);
        Assert.DoesNotContain(run.Lines, line => line.What == "TERM" && line.Name != Web);
        run.Open("left");
        Assert.Equal(0, (await hooking).ExitCode);
        await run.StopContainerAsync(App, 17);
        await Task.WhenAll(stops);

        Assert.Equal(["proxy TERM", "proxy end", "log TERM", "log end"], run.Lines.Select(line => line.Text).TakeLast(4));
        Assert.Single(run.Lines, line => line.Text == "app hook");
        await run.StopSandboxAsync();
        await run.SandboxEndsAsync();
    }

    [Fact]
    public async Task StopContainer_OfOneSidecarAlone_IsCarriedOutWhileMainsRun()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);

        await run.StopContainerAsync(Log);

        run.AssertOrder("log TERM", "log end");
        Assert.Equal(ContainerState.ContainerExited, (await run.StatusAsync(Log)).State);
        // Its time-out was 20 s: it was not what ended it, nor did it wait for anything else that long.
        Assert.Equal(0, (await run.StatusAsync(Log)).ExitCode);
        Assert.Equal(ContainerState.ContainerRunning, (await run.StatusAsync(Proxy)).State);
        await run.StopSandboxAsync();
        Assert.Equal(["proxy TERM", "proxy end"], run.Lines.Select(line => line.Text).TakeLast(2));
        await run.SandboxEndsAsync();
        run.CheckLog();
    }

    [Fact]
    public async Task StopContainer_CallersVanish_IsCarriedOutInOrder()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Await("left"));
        using var callers = new CancellationTokenSource();
        Task stops = run.StopAllAsync(callers.Token);
        await run.HappensAsync("app TERM");
        await run.HappensAsync("web end");
        await run.LoggedAsync("waits for its turn", 2);

        await callers.CancelAsync();
        _ = await Assert.ThrowsAsync<RpcException>(() => stops);
        run.Open("left");

        await run.HappensAsync("log end");
        run.AssertEndedInOrder();
    }

    // ---- StopPodSandbox and what else ends a pod ---------------------------------------------------------------------

    [Fact]
    public async Task StopPodSandbox_WithAllRunning_EndsThemInOrder()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);

        await run.StopSandboxAsync();

        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
        Assert.Equal(1, run.Relay.Methods.Count(method => method == "StopPodSandbox"));
    }

    [Fact]
    public async Task Drain_OfTheNode_EndsThePodInOrderAndLetsNoneStart()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);

        // A kubelet of the machine's own is nobody's caller here.
        (int exitCode, string output) = await run.Crishim.CommandAsync("drain", "--grace", "30s", "--force");

        Assert.True(exitCode == 0, output);
        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
        RpcException refused = await Assert.ThrowsAsync<RpcException>(
            async () => await run.Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = run.Pod.Recipe().Sandbox() }));
        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        (exitCode, output) = await run.Crishim.CommandAsync("drain", "--cancel");
        Assert.True(exitCode == 0, output);
    }

    [Fact]
    public async Task StopPodSandbox_ByAnImpatientCaller_GoesOnAndARetrySucceeds()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = "sleep 2.5");

        List<StatusCode> answers = await KubeadmAsync(run);

        Assert.Equal(StatusCode.DeadlineExceeded, answers[0]);
        Assert.Equal(StatusCode.OK, answers[^1]);
        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
    }

    [Fact]
    public async Task StopPodSandbox_ByAnImpatientCallerOfAPodThatIgnoresSigterm_IsOverBeforeItGoesOn()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Ignore);

        List<StatusCode> answers = await KubeadmAsync(run);

        Assert.Contains(StatusCode.DeadlineExceeded, answers);
        Assert.Equal(StatusCode.OK, answers[^1]);
        await run.SandboxEndsAsync();
        Assert.Equal(137, (await run.StatusAsync(App)).ExitCode);
        // It used up all of the time: the sidecars, which reserved none, have the floor together, as the kubelet's have.
        string[] last = [.. run.Lines.Where(line => line.What != "tick").Select(line => line.Text).TakeLast(4)];
        Assert.Equal(["log TERM", "log end", "proxy TERM", "proxy end"], last.Order(StringComparer.Ordinal));
        run.CheckLog();
    }

    [Fact]
    public async Task RemovePodSandbox_OfARunningPod_EndsItInOrder()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab);

        await run.RemoveSandboxAsync();

        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
        RpcException gone = await Assert.ThrowsAsync<RpcException>(() => run.StatusAsync(App));
        Assert.Equal(StatusCode.NotFound, gone.StatusCode);
    }

    [Fact]
    public async Task RemoveContainer_OfALiveSidecarInATeardown_WaitsForItsTurn()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Await("left"));
        Task stop = run.StopSandboxAsync();
        await run.HappensAsync("app TERM");

        Task[] removals = [run.RemoveContainerAsync(Proxy), run.RemoveContainerAsync(App)];
        await run.HappensAsync("web end");
        Assert.DoesNotContain("RemoveContainer", run.Relay.Methods);
        run.Open("left");
        await stop;
        await Task.WhenAll(removals);

        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
    }

    [Fact]
    public async Task StopPodSandbox_WhoseCallerVanishes_GoesOnToItsEnd()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Await("left"));
        using var caller = new CancellationTokenSource();
        Task stop = run.StopSandboxAsync(cancellationToken: caller.Token);
        await run.HappensAsync("app TERM");

        await caller.CancelAsync();
        _ = await Assert.ThrowsAsync<RpcException>(() => stop);
        run.Open("left");

        await run.SandboxEndsAsync();
        run.AssertEndedInOrder();
    }

    // ---- One budget --------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Main_ThatIgnoresSigterm_CostsNoSidecarItsReserve()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod =>
        {
            pod.Grace = 8;
            pod.OnTerm[App] = TeardownPod.Ignore;
            pod.Reserve[Proxy] = pod.Reserve[Log] = "2s";
            pod.OnTerm[Proxy] = pod.OnTerm[Log] = "sleep 1";
        });

        await run.StopSandboxAsync();

        await run.SandboxEndsAsync();
        Assert.Equal(137, (await run.StatusAsync(App)).ExitCode);
        IEnumerable<string> seen = run.Lines.Where(line => line.What != "tick").Select(line => line.Text);
        Assert.Equal(["proxy TERM", "proxy end", "log TERM", "log end"], seen.TakeLast(4));
        // Grace without reserves is 4 s. By the upper bound it would have had all of it.
        TimeSpan killed = await run.FinishedAtAsync(App) - run.At("app TERM");
        Assert.InRange(killed, TimeSpan.FromSeconds(3.8), TimeSpan.FromSeconds(7.9));
        // Uptime is told in hundredths.
        Assert.InRange(run.At("proxy TERM"), await run.FinishedAtAsync(App) - TimeSpan.FromMilliseconds(50), TimeSpan.MaxValue);
        run.CheckLog();
    }

    [Fact]
    public async Task Hook_ThatNobodyHasRun_IsRunBeforeTheSignal()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod =>
        {
            pod.PreStop[App] = TeardownPod.Say("app hook");
            pod.PreStop[Log] = $"sleep 0.3; {TeardownPod.Say("log hook")}";
            pod.OnTerm[Web] = TeardownPod.AwaitLine("app end");
        });

        await run.StopSandboxAsync();

        string[] seen = [.. run.Lines.Where(line => line.What != "up" && line.Text != "web TERM").Select(line => line.Text)];
        Assert.Equal(["app hook", "app TERM", "app end", "web end", "proxy TERM", "proxy end", "log hook", "log TERM", "log end"], seen);
        await run.SandboxEndsAsync();
    }

    [Fact]
    public async Task Sidecar_ThatDiesBeforeItsTurn_IsRestartedAndEndedInItsTurn()
    {
        await using TeardownRun run = await TeardownRun.StartAsync(lab, pod => pod.OnTerm[App] = TeardownPod.Await("left"));
        Task stop = run.StopSandboxAsync();
        await run.HappensAsync("app TERM");

        await run.Bare.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = run.IdOf(Log), Timeout = 0 });
        await run.HappensAsync("log up", 2);
        run.Open("left");
        await stop;

        run.AssertEndedInOrder();
        await run.SandboxEndsAsync();
    }

    // ---- Where it is not crishim's -----------------------------------------------------------------------------------

    [Theory]
    [InlineData("annotation")]
    [InlineData("observe")]
    [InlineData("off")]
    public async Task SupervisionIsOff_NothingIsHeldAndNothingIsGraceful(string how)
    {
        // Mains end only when both sidecars have their signal: in order, that would never be.
        string both = $"{TeardownPod.AwaitLine("log TERM")}; {TeardownPod.AwaitLine("proxy TERM")}";
        void Change(TeardownPod pod) => pod.OnTerm[App] = pod.OnTerm[Web] = both;
        await using (TeardownRun stopped = await StartAsync(how, Change))
        {
            await stopped.StopAllAsync();
            Assert.All(TeardownPod.Names, name => Assert.Single(stopped.Lines, line => line.Text == $"{name} end"));
        }

        await using TeardownRun killed = await StartAsync(how, Change);
        await killed.StopSandboxAsync();
        killed.AssertOrder();
        await killed.SandboxEndsAsync();
        killed.CheckLog();
    }

    private Task<TeardownRun> StartAsync(string how, Action<TeardownPod> change) => how == "annotation"
        ? TeardownRun.StartAsync(lab, pod =>
        {
            change(pod);
            pod.Annotations["crishim.io/supervise"] = "off";
        })
        : TeardownRun.StartAsync(lab, change, "--supervise", how);

    /// <summary>Five tries of 2 s each; it would go on whatever came of them.</summary>
    private static async Task<List<StatusCode>> KubeadmAsync(TeardownRun run)
    {
        var answers = new List<StatusCode>();
        while (answers.Count < 5 && !answers.Contains(StatusCode.OK))
        {
            try
            {
                await run.StopSandboxAsync(deadline: 2);
                answers.Add(StatusCode.OK);
            }
            catch (RpcException failure)
            {
                answers.Add(failure.StatusCode);
            }
        }

        return answers;
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class TeardownOn16Tests(Sidecars16 lab) : TeardownTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class TeardownOn17Tests(Sidecars17 lab) : TeardownTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class TeardownOn21Tests(Sidecars21 lab) : TeardownTests(lab);
