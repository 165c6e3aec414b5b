using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Grpc.Core;

namespace CriShim.Proxy.Tests;

/// <summary>Who gives up is heard on the other side.</summary>
public sealed class CancellationTests
{
    [Theory]
    [EveryRoute]
    public async Task Cancel_HeldCall_ReachesTheBackendAndNoOther(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.ReadBodyAsync();
            await Task.WhenAny(call.Cancelled, release.Opened);
            await call.EchoAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream cancelled = await caller.SendCallAsync(TestBed.Unary, [1]);
        FakeCall first = await bed.Fake.NextCallAsync();
        RawStream kept = await caller.SendCallAsync(TestBed.Unary, [2]);
        FakeCall second = await bed.Fake.NextCallAsync();

        await cancelled.ResetAsync(Http2Code.Cancel);

        await first.Cancelled.Bounded();
        Assert.False(second.Cancelled.IsCompleted);
        release.Open();
        await kept.EndedAsync();
        Assert.Equal("0", kept.Status);
        Assert.False(cancelled.Closed, "an answer to a call that was cancelled");
    }

    [Theory]
    [InlineData(Route.Bare, Http2Code.Cancel)]
    [InlineData(Route.Proxy, Http2Code.Cancel)]
    [InlineData(Route.Bare, Http2Code.NoError)]
    [InlineData(Route.Proxy, Http2Code.NoError)]
    [InlineData(Route.Bare, Http2Code.InternalError)]
    [InlineData(Route.Proxy, Http2Code.InternalError)]
    public async Task Cancel_WithCode_BackendSeesARstStream(Route route, Http2Code code)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Events, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        await call.HeadAsync();

        await call.ResetAsync(code);

        await served.ResetReceivedAsync();
        Assert.True(served.ResetCode == code || served.ResetCode == Http2Code.Cancel, $"{served.ResetCode}");
    }

    [Theory]
    [EveryRoute]
    public async Task Cancel_InTheMiddleOfTheRequest_ReachesTheBackend(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        await call.SendBodyAsync(new byte[10]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.BodyLengthAsync(10);

        await call.ResetAsync(Http2Code.Cancel);

        await served.ResetReceivedAsync();
        Assert.Equal(Http2Code.Cancel, served.ResetCode);
        Assert.False(served.EndStream, "a cancelled request must not look complete");
    }

    [Theory]
    [EveryRoute]
    public async Task Cancel_WhileTheAnswerIsStuckInWindows_ReachesTheBackendAndGivesTheWindowBack(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            while (!call.Cancelled.IsCompleted)
            {
                await call.SendAsync(new byte[65536]);
            }
        });
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Settings = [], GrantStreamWindows = false });
        for (int i = 0; i < 20; i++)
        {
            RawStream call = await caller.SendCallAsync(TestBed.Events, []);
            FakeCall seen = await bed.Fake.NextCallAsync();
            await call.BodyLengthAsync(65535);
            await call.ResetAsync(Http2Code.Cancel);
            await seen.Cancelled.Bounded();
        }

        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [InlineData(Route.Bare, Http2Code.Cancel)]
    [InlineData(Route.Proxy, Http2Code.Cancel)]
    [InlineData(Route.Bare, Http2Code.InternalError)]
    [InlineData(Route.Proxy, Http2Code.InternalError)]
    [InlineData(Route.Bare, Http2Code.EnhanceYourCalm)]
    [InlineData(Route.Proxy, Http2Code.EnhanceYourCalm)]
    [InlineData(Route.Bare, Http2Code.ProtocolError)]
    [InlineData(Route.Proxy, Http2Code.ProtocolError)]
    [InlineData(Route.Bare, Http2Code.InadequateSecurity)]
    [InlineData(Route.Proxy, Http2Code.InadequateSecurity)]
    public async Task Reset_ByTheBackend_ReachesTheCallerWithItsCode(Route route, Http2Code code)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream early = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream servedEarly = await backend.NextStreamAsync();
        RawStream late = await caller.SendCallAsync(TestBed.Events, [1]);
        RawStream servedLate = await backend.NextStreamAsync();
        await servedLate.SendHeadersAsync(GrpcWire.ResponseHead());
        await servedLate.SendBodyAsync(new byte[] { 1, 2, 3 });
        await late.BodyLengthAsync(3);

        await servedEarly.ResetAsync(code);
        await servedLate.ResetAsync(code);

        await early.ClosedAsync();
        await late.ClosedAsync();
        Assert.Equal(code, early.ResetCode);
        Assert.Equal(code, late.ResetCode);
        Assert.False(early.EndStream || late.EndStream);
    }

    [Theory]
    [EveryRoute]
    public async Task Reset_RefusedByTheBackend_IsRetryableForTheCallerAndTheNextCallWorks(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.ResetAsync(Http2Code.RefusedStream);

        RawBackend.EchoForever(backend);
        bed.Raw.EchoForever();
        await call.ClosedAsync();
        Assert.True(call.ResetCode == Http2Code.RefusedStream || call.Status is "14" or "0", $"{call.ResetCode} {call.Status}");
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Reset_ByKestrel_ReachesTheCaller(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.ReadBodyAsync();
            call.Reset(Http2Code.InternalError);
        });
        RawConnection caller = await bed.ConnectAsync();

        RawStream call = await caller.CallAsync(TestBed.Unary, [1]);

        Assert.Equal(Http2Code.InternalError, call.ResetCode);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [InlineData(Route.Bare, false)]
    [InlineData(Route.Proxy, false)]
    [InlineData(Route.Bare, true)]
    [InlineData(Route.Proxy, true)]
    public async Task CallerGone_WithOpenCalls_TheyAreCancelledAtTheBackend(Route route, bool halfOnly)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.ReadBodyAsync();
            await Task.WhenAny(call.Cancelled, release.Opened);
        });
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            await Task.WhenAny(call.Cancelled, release.Opened);
        });
        RawConnection other = await bed.ConnectAsync();
        await other.SendCallAsync(TestBed.Unary, [1]);
        FakeCall kept = await bed.Fake.NextCallAsync();
        RawConnection caller = await bed.ConnectAsync();
        var seen = new List<FakeCall>();
        foreach (string path in new[] { TestBed.Unary, TestBed.Events, TestBed.Unary })
        {
            await caller.SendCallAsync(path, [1]);
            seen.Add(await bed.Fake.NextCallAsync());
        }

        RawStream unfinished = caller.OpenStream();
        await unfinished.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));
        await unfinished.SendBodyAsync(new byte[] { 1 });
        seen.Add(await bed.Fake.NextCallAsync());

        if (halfOnly)
        {
            await caller.ShutdownSendAsync();
        }
        else
        {
            caller.Kill();
        }

        foreach (FakeCall call in seen)
        {
            await call.Cancelled.Bounded();
        }

        Assert.False(kept.Cancelled.IsCompleted);
        release.Open();
    }

    [Theory]
    [EveryRoute]
    public async Task GoAway_ByTheCaller_LetsItsRunningCallFinish(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.ReadBodyAsync();
            await release.Opened;
            await call.SendAsync(new byte[] { 5 });
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        await bed.Fake.NextCallAsync();

        await caller.WriteAsync(Frame.GoAway(0, Http2Code.NoError));
        release.Open();

        await running.EndedAsync();
        Assert.Equal("0", running.Status);
        Octets.AssertEqual([5], running.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Cancel_ThroughGrpcLibrary_ReachesTheBackend(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Version, async call => await call.Cancelled);
        var runtime = new RuntimeService.RuntimeServiceClient(bed.Http().Channel());
        using var cancellation = new CancellationTokenSource();
        AsyncUnaryCall<VersionResponse> running = runtime.VersionAsync(
            new VersionRequest(), cancellationToken: cancellation.Token);
        FakeCall seen = await bed.Fake.NextCallAsync();

        await cancellation.CancelAsync();

        await seen.Cancelled.Bounded();
        RpcException failure = await Assert.ThrowsAsync<RpcException>(() => running.ResponseAsync.Bounded());
        Assert.Equal(StatusCode.Cancelled, failure.StatusCode);
    }
}
