using System.Net;
using System.Net.Sockets;
using CriShim.Discovery;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision.Pods;
using CriShim.TestSupport.Lab;
using Microsoft.Extensions.Logging.Abstractions;

namespace CriShim.Node.Tests.Teardown;

/// <summary>A plain container "proxy" that the pod's annotation names, beside a main container "app" of a pod that runs to completion.</summary>
public sealed class AdoptedTests
{
    [Fact]
    public async Task MainCompletes_UnderNever_EndsTheSidecarAndShowsItCompleted()
    {
        await using NodeBed bed = await StartAsync();
        await bed.RunAsync(NodeBed.Create(name: "app"));

        bed.Backend.Exit("c1", 0);

        await Condition.BecomesTrueAsync("the sidecar has ended", NodeBed.Patience, () => bed.Ended.Count == 2);
        Assert.Equal(["app", "proxy"], bed.Ended);
        await Condition.BecomesTrueAsync(
            "it is shown completed", NodeBed.Patience,
            () => bed.Node.See("c0", NodeBed.Sandbox, "proxy", 0, ContainerState.ContainerExited) is { As: ShownAs.Completed });
        // A list or a status that the backend gave before: it knows of no end yet, and has no time of it.
        Assert.Null(bed.Node.See("c0", NodeBed.Sandbox, "proxy", 0, ContainerState.ContainerRunning));
        Assert.True(bed.Node.RewritesViews);
    }

    [Fact]
    public async Task SidecarDies_WhileTheMainRuns_IsReplaced()
    {
        await using NodeBed bed = await StartAsync();
        await bed.RunAsync(NodeBed.Create(name: "app"));

        bed.Backend.Exit("c0", 1);

        _ = await bed.RunsAsync(1, besides: "app");
    }

    [Fact]
    public async Task StartOfTheMain_UntilTheSidecarsProbePasses_Waits()
    {
        await using NodeBed bed = await StartAsync("""[{"name":"proxy","startupProbe":{"exec":{"command":["ready"]},"periodSeconds":1}}]""", probeFails: true);
        string main = await bed.CreateAsync(NodeBed.Create(name: "app"));

        Task<bool> start = bed.Node.BeforeStartAsync(main, DateTime.MaxValue, CancellationToken.None);
        await bed.LoggedAsync("waits for a sidecar's startup probe");
        Assert.False(await start);

        Assert.Equal(2, bed.Backend.Requests<ExecSyncRequest>().Count);
        await bed.LoggedAsync("wait no more for sidecar proxy: Passed");
    }

    /// <summary>Its ports are the node's: what listens there may trust whoever comes over loopback.</summary>
    [Theory]
    [InlineData("", false)]
    [InlineData("127.0.0.1", true)]
    public async Task StartupProbe_OfAPodOnTheHostsNetwork_IsNotRun(string address, bool comes)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        await using NodeBed bed = await StartAsync($$$"""[{"name":"proxy","startupProbe":{"tcpSocket":{"port":{{{port}}}},"periodSeconds":1}}]""", address: address);
        string main = await bed.CreateAsync(NodeBed.Create(name: "app"));

        Assert.False(await bed.Node.BeforeStartAsync(main, DateTime.MaxValue, CancellationToken.None));

        await bed.LoggedAsync("wait no more for sidecar proxy: Passed");
        Assert.Equal(comes, listener.Pending());
        Assert.Equal(!comes, bed.Log.All.Any(line => line.Contains("the pod has no address of its own", StringComparison.Ordinal)));
    }

    private static async Task<NodeBed> StartAsync(string sidecars = """["proxy"]""", bool probeFails = false, string address = "")
    {
        NodeBed bed = await NodeBed.PrepareAsync();
        bed.Backend.PodAddress = address;
        bed.Sidecars = sidecars;
        bed.Facts = new PodFactsIndex(10, TimeProvider.System, NullLogger<PodFactsIndex>.Instance);
        IPodFactsSink source = bed.Facts.Add("test", Discovery.PodIdentity.Uid);
        source.Upsert(new SeenPod(new PodFacts
        {
            Uid = "uid",
            Namespace = "default",
            Name = "pod",
            RestartPolicy = PodRestartPolicy.Never,
            Containers = [new ContainerFacts("proxy", ContainerRole.Plain), new ContainerFacts("app", ContainerRole.Plain)],
        }));
        bed.Options = bed.Options with { IsSpecSourceConfigured = true };
        if (probeFails)
        {
            bed.Backend.Fail("ExecSync", Grpc.Core.StatusCode.Unknown, "not ready");
        }

        bed.Start();
        await bed.KnownAsync();
        bed.RunSandbox();
        await bed.RunAsync(NodeBed.Create());
        return bed;
    }
}
