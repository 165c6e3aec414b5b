using CriShim.Proxy.Forwarding;
using CriShim.TestSupport;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.RawHttp2;
using Grpc.Core;

namespace CriShim.Proxy.Tests;

/// <summary>What is measured of calls and connections.</summary>
public sealed class MetricsTests
{
    private const string Status = "/runtime.v1.RuntimeService/Status";

    [Fact]
    public async Task Calls_OfAllKinds_AreCountedByMethodAndCode()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(Status, async call =>
        {
            _ = await call.ReadBodyAsync();
            await call.TrailersOnlyAsync(5);
        });
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(TestBed.Version, GrpcWire.Message([]));
        await caller.CallAsync(TestBed.Version, GrpcWire.Message([]));
        await caller.CallAsync(Status, GrpcWire.Message([]));
        await caller.CallAsync(TestBed.Brandnew, GrpcWire.Message([]));
        await caller.CallAsync("/containerd.services.tasks.v1.Tasks/List", GrpcWire.Message([]));

        // A call is counted as soon as its end is sent, so maybe a moment after it is read.
        await Condition.BecomesTrueAsync("all calls are counted", Bounds.Failure, () => Task.FromResult(bed.Meters.Sum("crishim.cri.calls") == 5));
        Assert.Equal(2, bed.Meters.Of("crishim.cri.calls", "method=Version,code=OK").Sum());
        Assert.Equal(1, bed.Meters.Of("crishim.cri.calls", "method=Status,code=NotFound").Sum());
        Assert.Equal(1, bed.Meters.Of("crishim.cri.calls", "method=other,code=OK").Sum());
        Assert.Equal(1, bed.Meters.Of("crishim.cri.calls", "method=other,code=Unimplemented").Sum());
    }

    [Fact]
    public async Task Call_ThatTheBackendHolds_IsMeasuredOnceWithTheHoldAsTheBackendsTime()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var gate = new Gate();
        var reached = new Gate();
        TimeSpan held = TimeSpan.Zero;
        bed.Fake.On(Status, async call =>
        {
            _ = await call.ReadBodyAsync();
            long since = TimeProvider.System.GetTimestamp();
            reached.Open();
            await gate.PassAsync("the test lets the backend answer");
            held = TimeProvider.System.GetElapsedTime(since);
            await call.TrailersOnlyAsync(0);
        });
        RawConnection caller = await bed.ConnectAsync();
        long start = TimeProvider.System.GetTimestamp();
        Task answered = caller.CallAsync(Status, GrpcWire.Message([]));
        await reached.PassAsync("the backend has the call");
        Assert.Equal(0, bed.Meters.Sum("crishim.cri.calls"));
        gate.Open();
        await answered;

        await Condition.BecomesTrueAsync("the call is measured", Bounds.Failure, () => Task.FromResult(bed.Meters.Sum("crishim.cri.calls") == 1));
        TimeSpan whole = TimeProvider.System.GetElapsedTime(start);
        double backend = Assert.Single(bed.Meters.Of("crishim.cri.call.backend_duration", "method=Status"));
        double own = Assert.Single(bed.Meters.Of("crishim.cri.call.own_duration", "method=Status"));
        // Whatever the machine is at: the one lies within the other.
        Assert.InRange(backend, held.TotalSeconds, whole.TotalSeconds - own);
    }

    /// <summary>In milliseconds, from the call's start; 0: it did not come to that.</summary>
    [Theory]
    [InlineData(100, 400, 450, 0.3, 0.15)]
    [InlineData(100, 0, 450, 0.35, 0.1)]
    [InlineData(0, 0, 450, null, 0.45)]
    public void OnConcluded_UnaryCall_DividesItsTimeBetweenTheBackendAndUs(int forwarded, int backendEnded, int concluded, double? backend, double own)
    {
        using var meters = new RecordedMeters();
        using var metrics = new ProxyMetrics(meters, TimeProvider.System);
        var method = new CriMethod(Status, isForwarded: true) { Label = new("method", "Status") };
        metrics.OnStarted(method);

        metrics.OnConcluded(method, StatusCode.OK, new CallTimes(At(0), forwarded == 0 ? 0 : At(forwarded), backendEnded == 0 ? 0 : At(backendEnded), At(concluded)));

        Assert.Equal(backend is { } time ? [time] : [], meters.Of("crishim.cri.call.backend_duration", "method=Status"));
        Assert.Equal([own], meters.Of("crishim.cri.call.own_duration", "method=Status"));

        static long At(int milliseconds) => (1_000 + milliseconds) * TimeProvider.System.TimestampFrequency / 1_000;
    }

    [Fact]
    public async Task Call_BackendIsAway_IsOwnTimeAlone()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy, present: false);
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(Status, GrpcWire.Message([]));

        await Condition.BecomesTrueAsync(
            "the call is counted", Bounds.Failure,
            () => Task.FromResult(bed.Meters.Of("crishim.cri.calls", "method=Status,code=Unavailable").Sum() == 1));
        Assert.Empty(bed.Meters.Of("crishim.cri.call.backend_duration", "method=Status"));
        Assert.Single(bed.Meters.Of("crishim.cri.call.own_duration", "method=Status"));
    }

    [Fact]
    public async Task OpenCallsAndConnections_OfCallersThatComeAndGo_AreToldAsTheyAre()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var held = new TaskCompletionSource();
        bed.Fake.On(Status, async call =>
        {
            _ = await call.ReadBodyAsync();
            await held.Task;
            await call.TrailersOnlyAsync(0);
        });
        bed.Fake.On(TestBed.Events, async _ => await held.Task);
        RawConnection caller = await bed.ConnectAsync();
        Task unary = caller.CallAsync(Status, GrpcWire.Message([]));
        Task stream = caller.CallAsync(TestBed.Events, GrpcWire.Message([]));
        await IsAsync("crishim.cri.open_calls", "type=unary", 1);
        await IsAsync("crishim.cri.open_calls", "type=stream", 1);
        await IsAsync("crishim.connections", "peer=caller", 1);
        await IsAsync("crishim.connections", "peer=backend", 1);

        await caller.DisposeAsync();
        await IsAsync("crishim.cri.open_calls", "type=unary", 0);
        await IsAsync("crishim.cri.open_calls", "type=stream", 0);
        await IsAsync("crishim.connections", "peer=caller", 0);
        await IsAsync("crishim.connections", "peer=backend", 0);
        held.SetResult();
        _ = unary.ContinueWith(static ended => ended.Exception, TaskScheduler.Default);
        _ = stream.ContinueWith(static ended => ended.Exception, TaskScheduler.Default);

        // A stream's length is nobody's latency.
        Assert.Empty(bed.Meters.Of("crishim.cri.call.own_duration", "method=GetContainerEvents"));

        Task IsAsync(string name, string labels, double value) => Condition.BecomesTrueAsync(
            $"{name}{{{labels}}} is {value}", Bounds.Failure, () => Task.FromResult(bed.Meters.Observe(name, labels) == value));
    }
}
