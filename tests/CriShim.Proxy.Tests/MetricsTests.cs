using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using CriShim.TestSupport;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.RawHttp2;

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
    public async Task Call_OfASlowBackend_IsMostlyTheBackendsTime()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var slow = TimeSpan.FromMilliseconds(300);
        bed.Fake.On(Status, async call =>
        {
            _ = await call.ReadBodyAsync();
            await Task.Delay(slow);
            await call.TrailersOnlyAsync(0);
        });
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(Status, GrpcWire.Message([]));

        await Condition.BecomesTrueAsync("the call is measured", Bounds.Failure, () => Task.FromResult(bed.Meters.Sum("crishim.cri.calls") == 1));
        double backend = Assert.Single(bed.Meters.Of("crishim.cri.call.backend_duration", "method=Status"));
        double own = Assert.Single(bed.Meters.Of("crishim.cri.call.own_duration", "method=Status"));
        Assert.True(backend >= slow.TotalSeconds * 0.99, $"backend {backend} s");
        Assert.True(own < backend, $"own {own} s, backend {backend} s");
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

/// <summary>Keeps every measurement of one proxy.</summary>
internal sealed class RecordedMeters : IMeterFactory
{
    private readonly ConcurrentQueue<(string Name, string Labels, double Value)> _measured = new();
    private readonly MeterListener _listener = new();
    private readonly List<Meter> _meters = [];

    public RecordedMeters()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Scope == this)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.SetMeasurementEventCallback<int>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.SetMeasurementEventCallback<double>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.Start();
    }

    public IEnumerable<double> Of(string name, string labels) =>
        _measured.Where(one => one.Name == name && one.Labels == labels).Select(one => one.Value);

    public double Sum(string name) => _measured.Where(one => one.Name == name).Sum(one => one.Value);

    public double Observe(string name, string labels)
    {
        _listener.RecordObservableInstruments();
        return Of(name, labels).Last();
    }

    public Meter Create(MeterOptions options)
    {
        options.Scope = this;
        var meter = new Meter(options);
        _meters.Add(meter);
        return meter;
    }

    public void Dispose()
    {
        _listener.Dispose();
        _meters.ForEach(meter => meter.Dispose());
    }

    private void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> labels) =>
        _measured.Enqueue((instrument.Name, string.Join(',', labels.ToArray().Select(label => $"{label.Key}={label.Value}")), value));
}
