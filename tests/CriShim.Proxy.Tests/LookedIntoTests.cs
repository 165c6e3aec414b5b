using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;

namespace CriShim.Proxy.Tests;

/// <summary>The proxy looks into some methods: it holds their requests and answers for a moment. Nothing of that may show.</summary>
public sealed class LookedIntoTests
{
    private const string Service = "/runtime.v1.RuntimeService/";

    public static TheoryData<string> Methods() =>
    [
        "RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus", "ListPodSandbox", "CreateContainer",
        "StartContainer", "StopContainer", "RemoveContainer", "ListContainers", "ContainerStatus", "ContainerStats",
        "ListContainerStats", "UpdateContainerResources", "ExecSync", "Status", "GetContainerEvents", "StreamContainers",
    ];

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Answer_WithMetadataAndUnknownFields_PassesUnchanged(string method)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();

        // Field 2047, which no version of CRI has, and field 1 in an encoding longer than it need be.
        byte[] request = GrpcWire.Message([0x0a, 0x80, 0x00, 0xfa, 0x7f, 0x03, 0x01, 0x02, 0x03]);
        byte[] answer = GrpcWire.Message([0xfa, 0x7f, 0x83, 0x00, 0x04, 0x05, 0x06]);
        RawStream call = await caller.SendCallAsync(Service + method, request, ("x-a", "1"), ("x-a", "2"));
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        Octets.AssertEqual(request, served.Body, "the request");
        Octets.AssertSameFields(
            [("x-a", "1"), ("x-a", "2")], served.Head.Where(field => field.Name == "x-a"), "request fields");

        await served.SendHeadersAsync(GrpcWire.ResponseHead(("x-h", "1"), ("x-h", "2")));
        await served.SendBodyAsync(answer);
        await served.SendHeadersAsync(GrpcWire.Trailers(0, ("x-t", "1"), ("x-t-bin", "AAA")), endStream: true);

        await call.ClosedAsync();
        Assert.Equal("0", call.Status);
        Octets.AssertEqual(answer, call.Body, "the answer");
        Octets.AssertSameFields(GrpcWire.ResponseHead(("x-h", "1"), ("x-h", "2")), call.Head, "the head");
        Octets.AssertSameFields(GrpcWire.Trailers(0, ("x-t", "1"), ("x-t-bin", "AAA")), call.Trailers, "the trailers");
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Failure_WithDetails_PassesUnchanged(string method)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();
        List<HeaderField> only = GrpcWire.ResponseHead(
            [.. GrpcWire.Trailers(5, ("grpc-message", "no%20such"), ("grpc-status-details-bin", "CAU"))]);
        RawStream call = await caller.SendCallAsync(Service + method, GrpcWire.Message([]));
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.SendHeadersAsync(only, endStream: true);

        await call.ClosedAsync();
        Assert.True(call.TrailersOnly, caller.DescribeLog());
        Octets.AssertSameFields(only, call.Trailers, "the only block");
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Cancel_AtAnyMethod_ReachesTheBackend(string method)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        bed.Fake.On(Service + method, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(Service + method, GrpcWire.Message([]));
        FakeCall seen = await bed.Fake.NextCallAsync();

        await call.ResetAsync(Http2Code.Cancel);

        await seen.Cancelled.Bounded();
        await bed.AssertOthersAreServedAsync();
        Assert.False(call.Closed, "an answer to a call that was cancelled");
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Backend_KilledInMidCall_IsUnavailable(string method)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        bed.Fake.On(Service + method, async call =>
        {
            await call.SendHeadersAsync();
            await call.SendAsync(GrpcWire.Message([]));
            await call.Cancelled;
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(Service + method, GrpcWire.Message([]));
        await bed.Fake.NextCallAsync();

        await bed.Fake.DieAsync();

        await call.ClosedAsync();
        Assert.Equal("14", call.Status);
        await bed.Fake.AppearAsync();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Backend_Absent_IsUnavailable(string method)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking, present: false);
        RawConnection caller = await bed.ConnectAsync();

        RawStream call = await caller.CallAsync(Service + method, GrpcWire.Message([]));

        Assert.Equal("14", call.Status);
        Assert.True(call.TrailersOnly);
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Reset_ByTheBackend_ReachesTheCallerWithItsCode(string method)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(Service + method, GrpcWire.Message([]));
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();

        await served.ResetAsync(Http2Code.EnhanceYourCalm);

        await call.ClosedAsync();
        Assert.Equal(Http2Code.EnhanceYourCalm, call.ResetCode);
    }

    [Theory]
    [InlineData(262_143)]
    [InlineData(262_144)]
    [InlineData(262_145)]
    [InlineData(300_000)]
    [InlineData(1_000_000)]
    [InlineData(8_388_608)]
    [InlineData(8_388_609)]
    [InlineData(9_000_000)]
    public async Task Request_AroundTheLimitsOfHolding_ArrivesWhole(int length)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();
        byte[] request = Octets.Varied(length);
        request[0] = 0;

        RawStream call = await caller.CallAsync(Service + "CreateContainer", request);

        Assert.Equal("0", call.Status);
        Octets.AssertEqual(request, call.Body, "the answer");
    }

    [Fact]
    public async Task Events_OneThatNobodyCanRead_PassesAndTheProxyLives()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        byte[] events = [.. GrpcWire.Message([0x00]), .. GrpcWire.Message([0xff, 0xff]), .. GrpcWire.Message([])];
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendAsync(events);
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();

        RawStream call = await caller.CallAsync(TestBed.Events, GrpcWire.Message([]));

        Octets.AssertEqual(events, call.Body, "the events");
        Assert.Equal("0", call.Status);
        await bed.AssertOthersAreServedAsync();
    }

    [Fact]
    public async Task Events_ManyAtOnce_AreSeenInTheirOrder()
    {
        const int count = 2000;
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        byte[] events =
        [
            .. Enumerable.Range(0, count).SelectMany(i =>
                GrpcWire.Message(new ContainerEventResponse { ContainerId = $"event-{i:d5}" }.ToByteArray())),
        ];
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendAsync(events);
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();

        Assert.Equal("0", (await caller.CallAsync(TestBed.Events, GrpcWire.Message([]))).Status);

        // A container's end must not be seen before its start.
        for (int i = 0; i < count; i++)
        {
            Assert.Contains($"event-{i:d5}", await bed.Log.NextLineAsync("event-"), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("StopContainer")]
    [InlineData("CreateContainer")]
    [InlineData("ListContainers")]
    public async Task Request_WithoutEnd_IsNotHeldWithoutBound(string method)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(Service + method));
        byte[] part = new byte[16384];
        long sent = 0;
        for (int pings = 0; sent < 512 << 20 && pings < 3 && !call.Closed;)
        {
            int length = caller.TakeSendWindow(call, part.Length);
            if (length > 0)
            {
                pings = 0;
                sent += length;
                await caller.WriteAsync(Frame.Data(call.Id, part.AsSpan(0, length)));
            }
            else
            {
                pings++;
                await caller.PingAsync();
            }
        }

        // Passed on, refused or throttled: only not kept.
        FakeCall? seen = bed.Fake.Calls is [FakeCall first, ..] ? first : null;
        long kept = sent - (seen?.Body.Length ?? 0);
        Assert.True(call.Closed || kept < 192 << 20, $"{kept} octets of one request kept");
        await call.ResetAsync(Http2Code.Cancel);
        await bed.AssertOthersAreServedAsync();
    }

    [Fact]
    public async Task List_Large_PassesThroughWhileOthersAreServed()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        var list = new ListContainersResponse();
        for (int i = 0; i < 20_000; i++)
        {
            list.Containers.Add(new Container { Id = $"{i:x64}", ImageRef = new string('r', 500) });
        }

        byte[] answer = GrpcWire.Message(list.ToByteArray());
        bed.Fake.On(Service + "ListContainers", async call =>
        {
            await call.ReadBodyAsync();
            await call.SendAsync(answer);
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        var calls = new List<RawStream>();
        for (int i = 0; i < 4; i++)
        {
            calls.Add(await caller.SendCallAsync(Service + "ListContainers", GrpcWire.Message([])));
            await bed.AssertOthersAreServedAsync();
        }

        await caller.UntilAsync(() => calls.All(call => call.Closed), "all lists");
        Assert.All(calls, call => Octets.AssertEqual(answer, call.Body, "a list"));
    }

    [Fact]
    public async Task Stop_HeldCalls_EndWithTheGrace()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        bed.Fake.Otherwise = async call => await call.Cancelled;
        RawConnection caller = await bed.ConnectAsync();
        var calls = new List<RawStream>();
        foreach (string method in new[] { "StopContainer", "ListContainers", "GetContainerEvents", "RunPodSandbox" })
        {
            calls.Add(await caller.SendCallAsync(Service + method, GrpcWire.Message([])));
            await bed.Fake.NextCallAsync();
        }

        await bed.Proxy!.StopAsync(TimeSpan.FromMilliseconds(50)).Bounded();

        await caller.UntilAsync(() => calls.All(call => call.Closed), "all ends");
        Assert.All(calls, call => Assert.Equal("14", call.Status));
    }
}
