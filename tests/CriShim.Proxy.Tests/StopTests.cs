using System.Net.Sockets;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>The proxy's end: running calls get their grace, endless ones do not, and nobody is left guessing.</summary>
public sealed class StopTests
{
    private static readonly TimeSpan LongGrace = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task Stop_RunningUnaryCall_FinishesWithinItsGrace()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            byte[] body = await call.ReadBodyAsync();
            await release.Opened;
            await call.SendAsync(body);
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        byte[] message = Octets.Varied(100_000);
        RawStream running = await caller.SendCallAsync(TestBed.Unary, message);
        await bed.Fake.NextCallAsync();

        Task stopping = bed.Proxy!.StopAsync(LongGrace);

        await caller.UntilAsync(() => caller.GoAways.Count > 1, "GOAWAY, and the last one");
        Assert.All(caller.GoAways, goAway => Assert.Equal(Http2Code.NoError, goAway.Code));
        Assert.True(caller.GoAways[^1].LastStreamId >= running.Id);
        Assert.False(stopping.IsCompleted);
        release.Open();
        await running.EndedAsync();
        Assert.Equal("0", running.Status);
        Octets.AssertEqual(message, running.Body, "the answer");
        await stopping.Bounded("the stop, once its last call had ended");
        await caller.EndAsync();
    }

    [Fact]
    public async Task Stop_EndlessStream_EndsAtOnceWithAStatus()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            await call.SendAsync(GrpcWire.Message([1]));
            await call.Cancelled;
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream events = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
        await events.BodyLengthAsync(6);

        Task stopping = bed.Proxy!.StopAsync(LongGrace);

        await events.EndedAsync();
        Assert.Equal("14", events.Status);
        await (await bed.Fake.NextCallAsync()).Cancelled.Bounded();
        await stopping.Bounded();
    }

    [Fact]
    public async Task Stop_EndlessStreamWithoutAHeadYet_EndsAtOnceWithAStatus()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Events, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream events = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
        await bed.Fake.NextCallAsync();

        Task stopping = bed.Proxy!.StopAsync(LongGrace);

        await events.EndedAsync();
        Assert.Equal("14", events.Status);
        await stopping.Bounded();
    }

    [Fact]
    public async Task Stop_CallStillRunningAtTheEndOfTheGrace_GetsUnavailable()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        FakeCall seen = await bed.Fake.NextCallAsync();

        await bed.Proxy!.StopAsync(TimeSpan.FromMilliseconds(50)).Bounded();

        await running.EndedAsync();
        Assert.Equal("14", running.Status);
        await seen.Cancelled.Bounded();
        await caller.EndAsync();
    }

    [Fact]
    public async Task Stop_NewConnections_AreRefused()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await release.Opened;
            await call.EchoAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        await caller.SendCallAsync(TestBed.Unary, [1]);
        await bed.Fake.NextCallAsync();
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await caller.UntilAsync(() => caller.GoAways.Count > 0, "GOAWAY");

        await Assert.ThrowsAnyAsync<SocketException>(() => RawConnection.ConnectAsync(bed.CallerPath));

        Assert.False(stopping.IsCompleted);
        release.Open();
        await stopping.Bounded();
    }

    [Fact]
    public async Task Stop_AgainWithLessGrace_EndsWithTheLesser()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, call => Task.WhenAny(call.Cancelled, release.Opened));
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        await bed.Fake.NextCallAsync();
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await caller.UntilAsync(() => caller.GoAways.Count > 0, "GOAWAY");

        try
        {
            // What DisposeAsync does, and a second SIGTERM may.
            await bed.Proxy.StopAsync(TimeSpan.Zero).Bounded("a stop with less grace");
            await stopping.Bounded();
            await running.EndedAsync();
            Assert.Equal("14", running.Status);
        }
        finally
        {
            release.Open();
        }
    }

    [Fact]
    public async Task Stop_NewCallsOnOldConnections_AreNotForwardedOrAreServed()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        var release = new Gate();
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await release.Opened;
            await call.EchoAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        await bed.Fake.NextCallAsync();
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await caller.UntilAsync(() => caller.GoAways.Count > 0, "GOAWAY");

        RawStream late = await caller.SendCallAsync(TestBed.Version, [1]);
        await caller.WriteAsync(Frame.WindowUpdate(late.Id, 10), Frame.RstStream(late.Id, Http2Code.Cancel));
        await caller.PingAsync();

        // Ignored, as it is above the last id; refused, to be tried elsewhere; or served: never half of it.
        Assert.True(
            !late.Closed || late.ResetCode == Http2Code.RefusedStream || late.Status is "0" or "14",
            $"{late.ResetCode} {late.Status}");
        release.Open();
        await running.EndedAsync();
        await stopping.Bounded();
    }

    [Fact]
    public async Task Stop_Idle_CompletesAndCallersSeeAnOrderlyEnd()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection[] callers = [await bed.ConnectAsync(), await bed.ConnectAsync(), await bed.ConnectAsync()];
        foreach (RawConnection caller in callers)
        {
            await caller.CallAsync(TestBed.Version, [1]);
        }

        await bed.Proxy!.StopAsync(LongGrace).Bounded();

        foreach (RawConnection caller in callers)
        {
            await caller.EndAsync();
            Assert.NotEmpty(caller.GoAways);
        }
    }

    [Fact]
    public async Task Stop_CallSentBeforeTheCallerCouldKnow_IsServed()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { AnswerPings = false });
        await caller.CallAsync(TestBed.Version, [1]);
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await caller.UntilAsync(() => caller.GoAways.Count > 0, "GOAWAY");

        // As if it had been on its way: the PING behind the GOAWAY is not answered yet.
        RawStream crossing = await caller.SendCallAsync(TestBed.Version, [2]);

        await crossing.EndedAsync();
        Assert.Equal("0", crossing.Status);
        await stopping.Bounded();
        await caller.EndAsync();
        Assert.True(caller.GoAways[^1].LastStreamId >= crossing.Id);
    }

    [Fact]
    public async Task Stop_CallerThatHasOnlyConnected_IsServedWhatItCameFor()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Greet = false, AnswerSettings = false });
        await bed.AssertOthersAreServedAsync();
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await Assert.ThrowsAnyAsync<SocketException>(async () =>
        {
            // Until the stop has begun.
            while (true)
            {
                await (await RawConnection.ConnectAsync(bed.CallerPath)).DisposeAsync();
            }
        });

        await caller.WriteRawAsync(Frame.Preface.ToArray());
        await caller.SendSettingsAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        await stopping.Bounded();
    }

    /// <summary>On a node under load a caller may take seconds between its connect and its greeting; the grace is there for that, too.</summary>
    [Fact]
    public async Task Stop_CallerThatGreetsLate_IsServedWithinTheGrace()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection late = await bed.ConnectAsync(new RawConnectionOptions { Greet = false, AnswerSettings = false });
        await bed.AssertOthersAreServedAsync();
        // One that has greeted, and says nothing to the goodbye: it is told for good when a live caller's time for an answer is up.
        RawConnection mute = await bed.ConnectAsync(new RawConnectionOptions { AnswerPings = false });
        RawStream before = await mute.SendCallAsync(TestBed.Version, [1]);
        await before.EndedAsync();
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await mute.UntilAsync(() => mute.GoAways.Count > 1, "GOAWAY, and the last one");

        await late.WriteRawAsync(Frame.Preface.ToArray());
        await late.SendSettingsAsync();
        RawStream call = await late.SendCallAsync(TestBed.Version, [1]);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        await late.DisposeAsync();
        await stopping.Bounded();
    }

    /// <summary>One whose write fails throws away what it has not read yet, be it the answer.</summary>
    [Fact]
    public async Task Stop_CallerThatStillWritesWhenItsLastCallIsAnswered_ClosesWhenItWants()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Version));
        await call.SendBodyAsync(GrpcWire.Message([1]));
        RawStream asked = await (await bed.Raw.AcceptAsync()).NextStreamAsync();
        await asked.BodyLengthAsync(6);
        Task stopping = bed.Proxy!.StopAsync(LongGrace);
        await caller.UntilAsync(() => caller.GoAways.Count > 1, "GOAWAY, and the last one");

        // As containerd does that has the whole message: it has no use for the end of the request.
        await asked.RespondAsync(GrpcWire.Message([2]));
        await asked.ResetAsync(Http2Code.NoError);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        await call.SendBodyAsync(ReadOnlyMemory<byte>.Empty, endStream: true);
        await caller.PingAsync();
        await caller.DisposeAsync();
        await stopping.Bounded();
    }

    [Fact]
    public async Task Stop_CallerThatNeverReads_DoesNotHoldItUpForever()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            while (!call.Cancelled.IsCompleted)
            {
                await call.SendAsync(new byte[65536]);
            }
        });
        RawConnection deaf = await bed.ConnectAsync(new RawConnectionOptions { Read = false });
        await deaf.SendCallAsync(TestBed.Events, []);
        await bed.Fake.NextCallAsync();
        await bed.AssertOthersAreServedAsync();

        await bed.Proxy!.StopAsync(TimeSpan.FromMilliseconds(50)).Bounded();
    }

    [Fact]
    public async Task Stop_BackendAbsentOrSilent_Completes()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        using Socket silent = await bed.Raw.AcceptSocketAsync();

        await bed.Proxy!.StopAsync(TimeSpan.FromMilliseconds(50)).Bounded();

        await call.EndedAsync();
        Assert.Equal("14", call.Status);
    }

    [Fact]
    public async Task Ping_WhileServing_Completes()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy, present: false);
        for (int i = 0; i < 100; i++)
        {
            await bed.Proxy!.PingAsync(CancellationToken.None).Bounded();
        }
    }

    [Fact]
    public async Task Ping_AfterTheEnd_DoesNotPretendLife()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        await bed.Proxy!.StopAsync(TimeSpan.Zero).Bounded();
        using var cancelled = new CancellationTokenSource();

        Task ping = bed.Proxy.PingAsync(cancelled.Token);
        await cancelled.CancelAsync();

        await Assert.ThrowsAnyAsync<Exception>(() => ping.Bounded());
    }
}
