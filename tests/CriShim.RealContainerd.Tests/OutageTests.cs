using System.Diagnostics;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>Tests that measure time: three other containerds at work beside them would be measured too.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Outages
{
    public const string Name = "outages";
}

/// <summary>containerd goes and comes back, or is late; crishim goes and comes back.</summary>
[Collection(Outages.Name)]
public sealed class OutageTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    public static TheoryData<ContainerdVersion> Versions => [ContainerdVersion.V16, ContainerdVersion.V17, ContainerdVersion.V21];

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task Containerd_KilledAndBack_IsUnavailableMeanwhileAndWorksAtOnceAfter(ContainerdVersion version)
    {
        await using var containerd = await PrivateContainerd.StartAsync(version);
        await using var crishim = await CrishimProcess.ServeAsync(SocketOf(containerd), containerd.SocketPath, containerd.Folder);
        using var caller = new CriCaller(crishim.ListenPath);
        using var bare = new CriCaller(containerd.SocketPath);
        await using var pod = await RunningPod.StartAsync(bare, Recipe(containerd));
        var container = await pod.RunAsync(pod.Recipe.Container("main", "exec sleep 1000"));
        var pending = caller.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = container, Cmd = { "/bin/sh", "-c", "touch /tmp/begun; exec sleep 60" } }).ResponseAsync;
        await Condition.BecomesTrueAsync("the exec has begun", s_patience, async () =>
            (await bare.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = container, Cmd = { "test", "-e", "/tmp/begun" }, Timeout = 5 })).ExitCode == 0);

        await WarmUpAsync(caller);

        await containerd.KillAsync();

        // Both a call that was under way and new ones, on the connection that was there and on a new one.
        Assert.Equal(StatusCode.Unavailable, await StatusWithinASecondAsync(() => pending));
        Assert.Equal(StatusCode.Unavailable, await StatusWithinASecondAsync(() => caller.Runtime.ListContainersAsync(new ListContainersRequest()).ResponseAsync));
        using var late = new CriCaller(crishim.ListenPath);
        Assert.Equal(StatusCode.Unavailable, await StatusWithinASecondAsync(() => late.Runtime.VersionAsync(new VersionRequest()).ResponseAsync));

        await containerd.StartAsync();
        var status = await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = container });
        Assert.Equal(ContainerState.ContainerRunning, status.Status.State);
        Assert.Single((await late.Runtime.ListContainersAsync(new ListContainersRequest())).Containers);
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task Crishim_StartedBeforeContainerd_ServesAsSoonAsItIsThere(ContainerdVersion version)
    {
        await using var containerd = await PrivateContainerd.PrepareAsync(version);
        await using var crishim = await CrishimProcess.ServeAsync(SocketOf(containerd), containerd.SocketPath, containerd.Folder);
        using var caller = new CriCaller(crishim.ListenPath);
        await WarmUpAsync(caller);
        Assert.Equal(StatusCode.Unavailable, await StatusWithinASecondAsync(() => caller.Runtime.VersionAsync(new VersionRequest()).ResponseAsync));

        await containerd.StartAsync();

        // No second try: the bare socket answers by now, so crishim has to.
        Assert.Equal("containerd", (await caller.Runtime.VersionAsync(new VersionRequest())).RuntimeName);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () =>
            await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = "none" }))).StatusCode);
    }

    [Fact]
    public async Task Crishim_KilledAndStartedAgain_ReplacesItsStaleSocketAndPodsGoOn()
    {
        await using var containerd = await PrivateContainerd.StartAsync(ContainerdVersion.V21);
        var socket = SocketOf(containerd);
        await using var first = await CrishimProcess.ServeAsync(socket, containerd.SocketPath, containerd.Folder);
        // On the bare socket: the pod is to go also when this test leaves no crishim behind.
        using var bare = new CriCaller(containerd.SocketPath);
        using var caller = new CriCaller(socket);
        await using var pod = await RunningPod.StartAsync(bare, Recipe(containerd));
        var container = await pod.RunAsync(pod.Recipe.Container("main", "exec sleep 1000"));

        await first.KillAsync();
        Assert.True(File.Exists(socket));
        await using var second = await CrishimProcess.ServeAsync(socket, containerd.SocketPath, containerd.Folder);

        var status = await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = container });
        Assert.Equal(ContainerState.ContainerRunning, status.Status.State);
    }

    [Fact]
    public async Task Crishim_Terminated_ExitsWithZeroAndTakesItsSocketAway()
    {
        await using var containerd = await PrivateContainerd.StartAsync(ContainerdVersion.V21);
        await using var crishim = await CrishimProcess.ServeAsync(SocketOf(containerd), containerd.SocketPath, containerd.Folder);
        using var caller = new CriCaller(crishim.ListenPath);
        using var bare = new CriCaller(containerd.SocketPath);
        using var events = caller.Runtime.GetContainerEvents(new GetEventsRequest());
        await using var pod = await RunningPod.StartAsync(bare, Recipe(containerd));
        Assert.True(await events.ResponseStream.MoveNext(CancellationToken.None));

        // An endless stream does not hold the exit up for the calls' grace of 10 s.
        Assert.Equal(0, await crishim.TerminateAsync(TimeSpan.FromSeconds(5)));

        var end = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await events.ResponseStream.MoveNext(CancellationToken.None))
            {
            }
        });
        Assert.Equal(StatusCode.Unavailable, end.StatusCode);
        Assert.False(File.Exists(crishim.ListenPath));
    }

    private static string SocketOf(PrivateContainerd containerd) => Path.Combine(containerd.Folder, "crishim.sock");

    private static PodRecipe Recipe(PrivateContainerd containerd) => new("outage", Path.Combine(containerd.Folder, "logs"), containerd.CgroupParent);

    /// <summary>A failure that crishim answers by itself: what the first one costs in this process is not crishim's time.</summary>
    private static async Task WarmUpAsync(CriCaller caller)
    {
        var bytes = Marshallers.Create<byte[]>(value => value, value => value);
        var method = new Method<byte[], byte[]>(MethodType.Unary, "not.a.runtime.Service", "Method", bytes, bytes);
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await caller.Invoker.AsyncUnaryCall(method, null, new CallOptions(), []));
        Assert.Equal(StatusCode.Unimplemented, failure.StatusCode);
    }

    private static async Task<StatusCode> StatusWithinASecondAsync<T>(Func<Task<T>> call)
    {
        var clock = Stopwatch.StartNew();
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call());
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(1));
        return failure.StatusCode;
    }
}
