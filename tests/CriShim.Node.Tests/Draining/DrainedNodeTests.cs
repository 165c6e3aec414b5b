using CriShim.Linux;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy;
using CriShim.TestSupport.Callers;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Node.Tests.Draining;

/// <summary>What a drain means for the calls that supervision is asked about.</summary>
public sealed class DrainedNodeTests
{
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(30);

    [Fact]
    public async Task Begin_AnyPod_RefusesWhatWouldBringPodsUpAndLetsTheRestPass()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        string created = await bed.CreateAsync(NodeBed.Create(name: "main"));

        bed.Drain.Begin(Grace);

        RpcException[] refused =
        [
            Assert.Throws<RpcException>(bed.Node.BeforeRunPodSandbox),
            await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeCreateAsync(NodeBed.Create(1), CancellationToken.None)),
            await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeStartAsync(created, DateTime.MaxValue, CancellationToken.None)),
            await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeStartAsync("of another pod", DateTime.MaxValue, CancellationToken.None)),
        ];
        Assert.All(refused, refusal => Assert.Equal(StatusCode.Unavailable, refusal.StatusCode));
        Assert.All(refused, refusal => Assert.Contains("crishim drain --cancel", refusal.Status.Detail, StringComparison.Ordinal));
        await bed.Node.BeforeStopAsync(created, TimeSpan.FromSeconds(1), DateTime.MaxValue, CancellationToken.None);
        await bed.Node.BeforeRemoveAsync(created, DateTime.MaxValue, CancellationToken.None);
    }

    [Fact]
    public async Task Begin_AnyPod_CallersThroughTheProxyGetUnavailableAndTheBackendNothing()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        string created = await bed.CreateAsync(NodeBed.Create(name: "main"));
        using var directory = new TempDirectory();
        string socket = directory.File("crishim.sock");
        await using var proxy = new ProxyServer(
            new ProxyOptions { BackendSocketPath = bed.Backend.SocketPath },
            UnixListener.Bind(socket, UnixFileMode.UserRead | UnixFileMode.UserWrite), bed.Log, supervision: bed.Node);
        proxy.Start();
        using var caller = new HttpCaller(socket);
        using GrpcChannel channel = caller.Channel();
        var runtime = new RuntimeService.RuntimeServiceClient(channel);

        bed.Drain.Begin(Grace);
        RpcException[] refused =
        [
            await Assert.ThrowsAsync<RpcException>(async () => await runtime.RunPodSandboxAsync(new RunPodSandboxRequest())),
            await Assert.ThrowsAsync<RpcException>(async () => await runtime.CreateContainerAsync(NodeBed.Create(1))),
            await Assert.ThrowsAsync<RpcException>(async () => await runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created })),
        ];
        await runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = created });

        Assert.All(refused, refusal => Assert.Equal(StatusCode.Unavailable, refusal.StatusCode));
        Assert.All(refused, refusal => Assert.StartsWith("the node is being drained", refusal.Status.Detail, StringComparison.Ordinal));
        Assert.DoesNotContain(bed.Backend.Changes, call => call.Method is "RunPodSandbox" or "CreateContainer" or "StartContainer");
        Assert.Contains(bed.Backend.Changes, call => call.Method == "RemoveContainer");
    }

    [Fact]
    public async Task Cancel_AfterBegin_LetsThemIn()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Drain.Begin(Grace);

        bed.Drain.Cancel();

        bed.Node.BeforeRunPodSandbox();
        bed.RunSandbox("sandbox-1");
        await bed.RunAsync(NodeBed.Create(name: "main", sandbox: "sandbox-1"));
    }

    [Fact]
    public async Task Begin_CrishimEndsAndStartsAnew_RefusesFromTheFirstCallOn()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Drain.Begin(Grace);
        await bed.EndAsync();

        bed.CreateNode();

        Assert.Equal(StatusCode.Unavailable, Assert.Throws<RpcException>(bed.Node.BeforeRunPodSandbox).StatusCode);
    }
}
