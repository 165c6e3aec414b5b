using System.Collections.Concurrent;
using CriShim.Node.Journal;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Tests;

/// <summary>An init container "proxy" that the annotation names, from its caller's start on.</summary>
public sealed class EmulatedSidecarTests
{
    private const string Sandbox = NodeBed.Sandbox;
    private const string Sidecar = NodeBed.Sidecar;
    private const string Plain = """[{"name":"proxy","kind":"init"}]""";
    private const string Probed =
        """[{"name":"proxy","kind":"init","startupProbe":{"exec":{"command":["true"]},"periodSeconds":1,"failureThreshold":2}}]""";

    [Fact]
    public async Task Started_IsShownCompletedOnceThatIsOnDisk()
    {
        await using NodeBed bed = await StartAsync();

        ShownContainer shown = await bed.IsMaskedAsync();

        Assert.Equal((0, "Completed", 0), (shown.ExitCode, shown.Reason, shown.LogAttempt));
        Assert.Contains("\"completedId\":\"c0\"", bed.Record(), StringComparison.Ordinal);
        Assert.True(bed.Node.RewritesViews);
        Assert.Equal(("proxy", "c0", "c0", Sandbox), Masked(bed));
    }

    [Fact]
    public async Task Started_WhereNothingCanBeRecorded_IsShownAsItIsUntilItCan()
    {
        var tiny = new TinyFileSystem(256);
        await using NodeBed bed = await NodeBed.PrepareAsync(directory: tiny);
        bed.Sidecars = Probed;
        RelayHold probe = bed.Backend.Hold("ExecSync", HoldPoint.Received);
        await bed.BeginAsync();
        await probe.ReachedAsync();
        tiny.Fill();
        probe.Release();

        await bed.LoggedAsync("can't be recorded");
        Assert.Null(bed.Node.Show("c0", Sandbox, Sidecar, 0));
        tiny.MakeRoom();

        _ = await bed.IsMaskedAsync();
        Assert.Contains("\"completedId\":\"c0\"", bed.Record(), StringComparison.Ordinal);
        Assert.Equal(
            ["ContainerStarted", "CompletionNotRecorded", "CompletionShown"], bed.Journal.Of(Sandbox).Select(one => one.Kind));
    }

    [Fact]
    public async Task Started_TellsThoseWhoFollowEvents()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = Probed;
        RelayHold probe = bed.Backend.Hold("ExecSync", HoldPoint.Received);
        await bed.BeginAsync();
        var told = new ConcurrentQueue<ContainerEventResponse>();
        bed.Node.EndMade += told.Enqueue;
        await probe.ReachedAsync();
        probe.Release();

        ShownContainer shown = await bed.IsMaskedAsync();

        ContainerEventResponse end = Assert.Single(told);
        Assert.Equal(("c0", ContainerEventType.ContainerStoppedEvent), (end.ContainerId, end.ContainerEventType));
        Assert.Equal((Sandbox, "c0"), (end.PodSandboxStatus.Id, Assert.Single(end.ContainersStatuses).Id));
        Assert.True(end.CreatedAt >= (shown.At!.Value - DateTimeOffset.UnixEpoch).Ticks * 100);
    }

    [Fact]
    public async Task Dies_OnceShownCompleted_IsReplacedHiddenAndReachedByTheIdThatIsShown()
    {
        await using NodeBed bed = await StartAsync();
        ShownContainer before = await bed.IsMaskedAsync();

        bed.Backend.Exit("c0", 1);
        _ = await bed.RunsAsync(1);

        Assert.Equal(before with { LogAttempt = 1 }, bed.Node.Show("c0", Sandbox, Sidecar, 0));
        Assert.Equal(ShownContainer.HiddenForGood, bed.Node.Show("c1", Sandbox, Sidecar, 1));
        Assert.True(bed.Node.MapsIds);
        Assert.Equal("c1", bed.Node.CurrentInstance("c0"));
        Assert.Equal(("proxy", "c1", "c0", Sandbox), Masked(bed));
        Assert.DoesNotContain(bed.Backend.Changes, call => call.Method == "RemoveContainer");
    }

    [Fact]
    public async Task Probe_ThatFailsTooOften_StopsItAndStartsTheNext()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = Probed;
        bed.RestartPolicy = "Always";
        bed.Backend.Fail("ExecSync", StatusCode.Unknown, "no");
        bed.Backend.Fail("ExecSync", StatusCode.Unknown, "no");
        await bed.BeginAsync();

        _ = await bed.RunsAsync(1);

        StopContainerRequest stop = Assert.Single(bed.Backend.Requests<StopContainerRequest>());
        Assert.Equal("c0", stop.ContainerId);
        Assert.True(stop.Timeout > 0);
        _ = await bed.IsMaskedAsync("c1", 1);
        Assert.Equal(ShownAs.Failed, bed.Node.Show("c0", Sandbox, Sidecar, 0)?.As);

        // It is not the pod's end, nor this container's turn in it.
        Assert.Equal(2, Assert.Single(bed.Journal.Of(Sandbox).OfType<StartupFailed>()).Failures);
        Assert.True(Assert.Single(bed.Journal.Of(Sandbox).OfType<StopSent>()).HasFailedToStart);
    }

    [Fact]
    public async Task Crash_OnceShownCompleted_IsShownSoWithTheSameTime()
    {
        await using NodeBed bed = await StartAsync();
        ShownContainer before = await bed.IsMaskedAsync();
        await bed.EndAsync();
        bed.Start();
        await bed.Node.ReadyAsync(CancellationToken.None);

        Assert.Equal(before, bed.Node.Show("c0", Sandbox, Sidecar, 0));
    }

    [Fact]
    public async Task Crash_UntilTheNodeIsKnown_NothingIsShownOrRemoved()
    {
        await using NodeBed bed = await StartAsync();
        _ = await bed.IsMaskedAsync();
        await bed.EndAsync();
        bed.Options = bed.Options with { StartPatience = TimeSpan.FromMilliseconds(50) };
        RelayHold list = bed.Backend.Hold("ListContainers", HoldPoint.Received);
        bed.Start();
        await list.ReachedAsync();

        RpcException shown = await Assert.ThrowsAsync<RpcException>(() => bed.Node.ReadyAsync(CancellationToken.None));
        RpcException removed = await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeRemoveAsync("c0", DateTime.MaxValue, CancellationToken.None));

        Assert.Equal((StatusCode.Unavailable, StatusCode.Unavailable), (shown.StatusCode, removed.StatusCode));
        list.Release();
    }

    [Fact]
    public async Task Remove_OfALiveOneWhilePodGoesOn_IsRefusedAtOnce()
    {
        await using NodeBed bed = await StartAsync();
        _ = await bed.IsMaskedAsync();

        // A kubelet's garbage collection waits for each removal before it begins the next, in all pods.
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeRemoveAsync("c0", DateTime.MaxValue, CancellationToken.None));

        Assert.Equal(StatusCode.Unavailable, refused.StatusCode);
        Assert.Contains("container \"c0\" of pod sandbox \"sandbox-0\" still runs", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Remove_OfALiveOne_GoesThroughWhenThePodHasEndedWithAllThatWasHidden()
    {
        await using NodeBed bed = await StartAsync();
        _ = await bed.IsMaskedAsync();
        bed.Backend.Exit("c0", 1);
        _ = await bed.RunsAsync(1);

        await bed.StopSandboxAsync();
        await bed.Node.BeforeRemoveAsync("c0", DateTime.MaxValue, CancellationToken.None);

        await Condition.BecomesTrueAsync(
            "what was hidden is removed", NodeBed.Patience, () => bed.Backend.Requests<RemoveContainerRequest>().Any(one => one.ContainerId == "c1"));
        Assert.Equal(["c1"], bed.Backend.Requests<RemoveContainerRequest>().Select(one => one.ContainerId));
    }

    [Fact]
    public async Task Supervise_Off_KeepsWhatIsShownAndMakesNoMore()
    {
        await using NodeBed bed = await StartAsync();
        ShownContainer before = await bed.IsMaskedAsync();
        await bed.EndAsync();
        bed.Options = bed.Options with { Mode = SupervisionMode.Off };
        bed.Start();
        await bed.Node.ReadyAsync(CancellationToken.None);
        Assert.Equal(before, bed.Node.Show("c0", Sandbox, Sidecar, 0));

        bed.Backend.Exit("c0", 1);
        await bed.LoggedAsync("SuperviseModeOff");
        Assert.Equal(before, bed.Node.Show("c0", Sandbox, Sidecar, 0));
        Assert.Empty(bed.Backend.Requests<CreateContainerRequest>());
    }

    private static (string, string, string, string) Masked(NodeBed bed)
    {
        MaskedContainer masked = Assert.Single(bed.Masked);
        return (masked.Name, masked.InstanceId, masked.ShownId, masked.Pod.SandboxId);
    }

    private static async Task<NodeBed> StartAsync()
    {
        NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = Plain;
        await bed.BeginAsync();
        return bed;
    }
}
