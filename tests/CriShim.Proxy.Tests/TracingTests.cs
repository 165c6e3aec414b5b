using System.Collections.Concurrent;
using System.Text;
using CriShim.TestSupport;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.RawHttp2;
using Grpc.Core;

namespace CriShim.Proxy.Tests;

/// <summary>Calls that are part of their caller's trace.</summary>
public sealed class TracingTests
{
    private const string Status = "/runtime.v1.RuntimeService/Status";
    private const string Recorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    private const string NotRecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    public static TheoryData<string, bool> Fields => new()
    {
        { Recorded, true },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", true },
        { "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true },
        { "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", true },
        { NotRecorded, false },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", false },
        { "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "00-00000000000000000000000000000000-b7ad6b7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false },
        { "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false },
        { "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "", false },
    };

    [Theory]
    [MemberData(nameof(Fields))]
    public void TryParse_Field_IsReadAsTheSpecificationHasIt(string field, bool isRecorded)
    {
        bool parsed = TraceParent.TryParse(Encoding.ASCII.GetBytes(field), out TraceParent parent);

        Assert.Equal(isRecorded, parsed);
        if (isRecorded)
        {
            Assert.Equal(new TraceParent(0x0af7651916cd43dd, 0x8448eb211c80319c, 0xb7ad6b7169203331), parent);
        }
    }

    [Fact]
    public async Task Call_OfARecordedTrace_IsToldWithTheBackendsPartAndForwardedAsItCame()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        string? forwarded = null;
        bed.Fake.On(Status, async call =>
        {
            _ = await call.ReadBodyAsync();
            forwarded = call.RequestHeaders.Single(field => field.Name == "traceparent").Value;
            await call.TrailersOnlyAsync(5);
        });
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(Status, GrpcWire.Message([]), new HeaderField("traceparent", Recorded));
        await Condition.BecomesTrueAsync("the call is told", Bounds.Failure, () => Task.FromResult(!bed.Tracer.Calls.IsEmpty));

        TracedCall told = Assert.Single(bed.Tracer.Calls);
        Assert.Equal(Recorded, forwarded);
        Assert.Equal((Status, StatusCode.NotFound, 0xb7ad6b7169203331), (told.Path, told.Code, told.Parent.SpanId));
        (DateTimeOffset from, DateTimeOffset to) = told.Backend!.Value;
        Assert.True(told.StartedAt <= from && from <= to && to <= told.EndedAt, told.ToString());
    }

    [Fact]
    public async Task Call_OutsideOfARecordedTrace_IsNotTold()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        await caller.CallAsync(TestBed.Version, GrpcWire.Message([]));
        await caller.CallAsync(TestBed.Version, GrpcWire.Message([]), new HeaderField("traceparent", NotRecorded));
        await caller.CallAsync(TestBed.Version, GrpcWire.Message([]), new HeaderField("traceparent", Recorded));
        await Condition.BecomesTrueAsync("the last call is told", Bounds.Failure, () => Task.FromResult(!bed.Tracer.Calls.IsEmpty));

        Assert.Single(bed.Tracer.Calls);
    }
}

/// <summary>Keeps the calls of recorded traces.</summary>
internal sealed class RecordedTracer : ICallTracer
{
    public ConcurrentQueue<TracedCall> Calls { get; } = new();

    public void OnCall(in TracedCall call) => Calls.Enqueue(call);
}
