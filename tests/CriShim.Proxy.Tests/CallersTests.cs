using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>What the proxy can tell of who is connected.</summary>
public sealed class CallersTests
{
    private const string Status = "/runtime.v1.RuntimeService/Status";
    private const string RunPodSandbox = "/runtime.v1.RuntimeService/RunPodSandbox";

    [Fact]
    public async Task Callers_ConnectedProcess_IsToldAsLongAsItIsConnected()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(TestBed.Brandnew, GrpcWire.Message([]));

        CallerInfo known = Assert.Single(await bed.Proxy!.CallersAsync(CancellationToken.None));
        await caller.DisposeAsync();

        Assert.Equal(new CallerInfo(Environment.ProcessId, 0, HasRunPods: false, AsksForStatus: false), known);
        await CriShim.TestSupport.Lab.Condition.BecomesTrueAsync(
            "nobody is connected", Bounds.Failure, async () => (await bed.Proxy.CallersAsync(CancellationToken.None)).Count == 0);
    }

    [Fact]
    public async Task Callers_WhatAKubeletDoes_IsToldOfTheConnectionThatDoesIt()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection asksOnce = await bed.ConnectAsync();
        RawConnection asksAgain = await bed.ConnectAsync();
        RawConnection runsPods = await bed.ConnectAsync();

        await asksOnce.CallAsync(Status, GrpcWire.Message([]));
        await asksAgain.CallAsync(Status, GrpcWire.Message([]));
        await asksAgain.CallAsync(Status, GrpcWire.Message([]));
        await runsPods.CallAsync(RunPodSandbox, GrpcWire.Message([]));

        IReadOnlyList<CallerInfo> callers = await bed.Proxy!.CallersAsync(CancellationToken.None);
        Assert.Equal(3, callers.Count);
        Assert.Single(callers, caller => caller is { AsksForStatus: true, HasRunPods: false });
        Assert.Single(callers, caller => caller is { AsksForStatus: false, HasRunPods: true });
    }
}
