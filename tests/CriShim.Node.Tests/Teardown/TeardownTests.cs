using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.Node.Tests.Teardown;

/// <summary>Callers that end a pod of a sidecar "proxy" (container c0) and a main container "app" (c1).</summary>
public sealed class TeardownTests
{
    private const string Hook = """{"exec":{"command":["/bin/leave","now"]}}""";

    [Fact]
    public async Task StopContainer_OfBothAtOnce_EndsTheSidecarAfterTheMain()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");

        Task sidecar = bed.StopAsync("c0", 30);
        Task main = bed.StopAsync("c1", 30);
        await bed.LoggedAsync("waits for its turn");
        Assert.False(sidecar.IsCompleted);
        Assert.Empty(bed.Ended);
        bed.Backend.Exit("c1", 0);
        await sidecar;
        await main;

        Assert.Equal(["app", "proxy"], bed.Ended);
    }

    [Fact]
    public async Task StopContainer_WhoseCallerVanishes_IsCarriedOutInItsTurn()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");
        using var caller = new CancellationTokenSource();
        Task sidecar = bed.StopAsync("c0", 30, caller.Token);
        Task main = bed.StopAsync("c1", 30);
        await bed.LoggedAsync("waits for its turn");

        await caller.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sidecar);
        bed.Backend.Exit("c1", 0);
        await main;

        await Condition.BecomesTrueAsync("both have ended", NodeBed.Patience, () => bed.Ended.Count == 2);
        Assert.Equal(["app", "proxy"], bed.Ended);
    }

    [Fact]
    public async Task StopPodSandbox_WithContainersRunning_EndsThemInOrderFirst()
    {
        await using NodeBed bed = await StartAsync();

        await bed.StopSandboxAsync();

        Assert.Equal(["app", "proxy"], bed.Ended);
        Assert.Equal(
            [("c1", 7L), ("c0", 7L)], bed.Backend.Requests<StopContainerRequest>().Select(stop => (stop.ContainerId, stop.Timeout)));
        Assert.False(bed.Backend.IsSandboxReady(NodeBed.Sandbox));
    }

    [Fact]
    public async Task StopPodSandbox_WithAHook_RunsItFirst()
    {
        await using NodeBed bed = await StartAsync(hook: Hook);

        await bed.StopSandboxAsync();

        ExecSyncRequest hook = Assert.Single(bed.Backend.Requests<ExecSyncRequest>());
        Assert.Equal(("c1", "/bin/leave now"), (hook.ContainerId, string.Join(' ', hook.Cmd)));
        Assert.InRange(hook.Timeout, 1, 5);
        Assert.Equal(["ExecSync", "StopContainer", "StopContainer"], bed.Backend.Changes.Select(call => call.Method));
    }

    [Fact]
    public async Task StopPodSandbox_WhoseCallerGivesUp_GoesOnAndStopsTheSandbox()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");
        using var caller = new CancellationTokenSource();
        Task stop = bed.StopSandboxAsync(cancellationToken: caller.Token);
        await bed.LoggedAsync("Stop of app");

        await caller.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stop);
        bed.Backend.Exit("c1", 0);

        await Condition.BecomesTrueAsync("the sandbox is stopped", NodeBed.Patience, () => !bed.Backend.IsSandboxReady(NodeBed.Sandbox));
        Assert.Equal(["app", "proxy"], bed.Ended);
    }

    [Fact]
    public async Task StopPodSandbox_AgainWhileCrishimStopsTheSandbox_WaitsForThat()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");
        using var caller = new CancellationTokenSource();
        Task stop = bed.StopSandboxAsync(cancellationToken: caller.Token);
        await bed.LoggedAsync("Stop of app");
        RelayHold own = bed.Backend.Hold("StopPodSandbox", HoldPoint.Received);
        await caller.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stop);
        bed.Backend.Exit("c1", 0);
        await own.ReachedAsync();

        Task again = bed.StopSandboxAsync();
        Assert.False(again.IsCompleted);
        own.Release();
        await again;

        Assert.Contains(bed.Log.All, line => line.Contains("whose caller did not wait", StringComparison.Ordinal));
    }

    [Fact]
    public async Task StopPodSandbox_WhoseCallerGivesUp_GoesOnAlsoAfterOneThatCameBeforeThePodWasKnown()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Start();
        await bed.KnownAsync();
        bool isFollowed = await bed.Node.BeforeStopSandboxAsync(NodeBed.Sandbox, DateTime.MaxValue, CancellationToken.None);
        bed.RunSandbox();
        await bed.RunAsync(NodeBed.Create());
        if (isFollowed)
        {
            bed.Node.OnStopSandboxEnded(NodeBed.Sandbox, isStopped: false);
        }

        bed.Backend.Stubborn.Add(NodeBed.Sidecar);
        using var caller = new CancellationTokenSource();
        Task stop = bed.StopSandboxAsync(cancellationToken: caller.Token);
        await bed.LoggedAsync("Stop of proxy");
        await caller.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stop);
        bed.Backend.Exit("c0", 0);

        await Condition.BecomesTrueAsync("the sandbox is stopped", NodeBed.Patience, () => !bed.Backend.IsSandboxReady(NodeBed.Sandbox));
    }

    [Fact]
    public async Task StopPodSandbox_AtItsCallersDeadline_IsDeadlineExceededAndGoesOn()
    {
        var time = new PooledTime();
        await using NodeBed bed = await StartAsync(time);
        bed.Backend.Stubborn.Add("app");
        Task stop = bed.StopSandboxAsync(TimeSpan.FromSeconds(2));
        await bed.LoggedAsync("Stop of app");

        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(StatusCode.DeadlineExceeded, (await Assert.ThrowsAsync<RpcException>(() => stop)).StatusCode);
        Task again = bed.StopSandboxAsync(TimeSpan.FromSeconds(60));
        Assert.False(again.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(4));
        await again;

        Assert.Equal(["app", "proxy"], bed.Ended);
        Assert.Equal(137, bed.Backend.Instances[1].ExitCode);
    }

    [Fact]
    public async Task StopPodSandbox_CrishimEndsMeanwhile_IsGoneOnWithByTheNext()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");
        Task stop = bed.StopSandboxAsync();
        await bed.LoggedAsync("Stop of app");
        await bed.EndAsync();
        _ = stop.ContinueWith(static task => task.Exception, TaskScheduler.Default);
        bed.Backend.Exit("c1", 0);

        bed.Start();

        await Condition.BecomesTrueAsync("the sandbox is stopped", NodeBed.Patience, () => !bed.Backend.IsSandboxReady(NodeBed.Sandbox));
        Assert.Equal(["app", "proxy"], bed.Ended);
    }

    [Fact]
    public async Task WhileTheSandboxEnds_CallersCreateAndStartNothing()
    {
        await using NodeBed bed = await StartAsync();
        bed.Backend.Stubborn.Add("app");
        string late = await bed.CreateAsync(NodeBed.Create(name: "late"));
        Task stop = bed.StopSandboxAsync();
        await bed.LoggedAsync("Stop of app");

        RpcException[] refused =
        [
            await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeCreateAsync(NodeBed.Create(1, name: "app"), CancellationToken.None)),
            await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeStartAsync(late, DateTime.MaxValue, CancellationToken.None)),
        ];
        bed.Backend.Exit("c1", 0);
        await stop;

        Assert.All(refused, refusal => Assert.Equal(StatusCode.FailedPrecondition, refusal.StatusCode));
        Assert.All(refused, refusal => Assert.Contains(NodeBed.Sandbox, refusal.Status.Detail, StringComparison.Ordinal));
    }

    [Fact]
    public async Task StopContainer_OfTheSidecarWhileTheMainsHookRuns_Waits()
    {
        await using NodeBed bed = await StartAsync(hook: Hook);
        Assert.True(bed.Node.WatchesHooks);
        bed.Node.OnExec("c1", ["/bin/leave", "now"], isRunning: true);
        Task sidecar = bed.StopAsync("c0", 30);
        await bed.LoggedAsync("waits for its turn");
        bed.Node.OnExec("c1", ["/bin/leave", "now"], isRunning: false);

        await bed.StopAsync("c1", 30);
        await sidecar;

        Assert.Equal(["app", "proxy"], bed.Ended);
    }

    [Theory]
    [InlineData("""{"exec":{"command":["a","b"]}}""", "a b", 0)]
    [InlineData("""{"sleep":{"seconds":5}}""", "", 5)]
    [InlineData("""{"exec":{"command":[]}}""", null, 0)]
    [InlineData("""{"httpGet":{"path":"/quit","port":15020}}""", null, 0)]
    [InlineData("""{"exec":"a"}""", null, 0)]
    [InlineData("[1]", null, 0)]
    [InlineData("""{"sleep":{"seconds":1e9}}""", null, 0)]
    [InlineData("{", null, 0)]
    public void PreStopHook_OfTheAnnotation_IsReadOrLeftAlone(string annotation, string? command, int sleep)
    {
        var hook = Node.Teardown.PreStopHook.Read(new Dictionary<string, string> { [Node.Teardown.PreStopHook.Annotation] = annotation });

        Assert.Equal(command, hook is null ? null : string.Join(' ', hook.Command));
        Assert.Equal(sleep, hook?.Sleep.TotalSeconds ?? 0);
    }

    private static async Task<NodeBed> StartAsync(TimeProvider? time = null, string? hook = null)
    {
        NodeBed bed = await NodeBed.StartAsync(time);
        CreateContainerRequest app = NodeBed.Create(name: "app");
        app.Config.Annotations.Add("io.kubernetes.pod.terminationGracePeriod", "7");
        if (hook is not null)
        {
            app.Config.Annotations.Add(Node.Teardown.PreStopHook.Annotation, hook);
        }

        Assert.Equal("c1", await bed.RunAsync(app));
        return bed;
    }
}
