using System.Net.Sockets;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>A backend that is not there is UNAVAILABLE, never an empty success; the moment it is back, calls work.</summary>
public sealed class BackendLossTests
{
    [Fact]
    public async Task Call_BackendAbsent_IsUnavailableAndWorksOnceItAppears()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy, present: false);
        RawConnection caller = await bed.ConnectAsync();
        for (int i = 0; i < 5; i++)
        {
            RawStream failed = await caller.CallAsync(TestBed.Version, GrpcWire.Message([]));
            AssertUnavailable(failed);
            Assert.True(failed.TrailersOnly);
        }

        await bed.Fake.AppearAsync();

        RawStream call = await caller.CallAsync(TestBed.Version, [1]);
        Assert.Equal("0", call.Status);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Call_BackendKilledAndBack_FailsMeanwhileAndWorksAtOnceAfter(bool leaveSocketFile)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
            await bed.Fake.DieAsync(leaveSocketFile);
            AssertUnavailable(await caller.CallAsync(TestBed.Version, [1]));
            await bed.Fake.AppearAsync();
        }

        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Fact]
    public async Task Call_BackendRestartedMeanwhile_WorksAtOnce()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        for (int i = 0; i < 20; i++)
        {
            Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
            await bed.Fake.DieAsync();
            await bed.Fake.AppearAsync();
        }

        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Fact]
    public async Task HeldCalls_BackendKilled_AllGetUnavailableTrailers()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        var calls = new List<RawStream>();
        for (int i = 0; i < 50; i++)
        {
            calls.Add(await caller.SendCallAsync(TestBed.Unary, [1]));
            await bed.Fake.NextCallAsync();
        }

        RawStream unfinished = caller.OpenStream();
        await unfinished.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));
        await bed.Fake.NextCallAsync();
        calls.Add(unfinished);

        await bed.Fake.DieAsync();

        await caller.UntilAsync(() => calls.All(call => call.Closed), "all failures");
        Assert.All(calls, AssertUnavailable);
        Assert.Empty(caller.GoAways);
        await bed.Fake.AppearAsync();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(15)]
    [InlineData(17)]
    public async Task Stream_BackendKilledAfterSomeOctets_EndsInAnErrorBehindWhatCame(int octets)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        byte[] body = GrpcWire.Message(Octets.Varied(10)).Concat(GrpcWire.Message(Octets.Varied(10))).Take(octets).ToArray();
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync();
            if (octets > 0)
            {
                await call.SendAsync(body);
            }

            await call.Cancelled;
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Events, [1]);
        await call.HeadAsync();
        await call.BodyLengthAsync(octets);

        await bed.Fake.DieAsync();

        await call.ClosedAsync();
        Octets.AssertEqual(body, call.Body, "what came before");
        if (octets is 0 or 15)
        {
            AssertUnavailable(call);
        }
        else
        {
            // gRPC libraries make a message cut short an error of their own; what must not be is an end that reads as success.
            Assert.True(call.Status == "14" || call.ResetCode is not null, $"{call.ResetCode} {call.Status}");
        }
    }

    [Fact]
    public async Task Answer_BackendDiesWithTheAnswerStillInItsSocket_CallerGetsTheAnswer()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();

        await served.RespondAsync([1, 2, 3]);
        await backend.ShutdownSendAsync();

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        Octets.AssertEqual([1, 2, 3], call.Body, "the answer");
    }

    [Fact]
    public async Task Call_BackendEndsStreamWithoutTrailers_IsNotMadeASuccess()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        await backend.WriteAsync(Frame.Data(served.Id, GrpcWire.Message([]), endStream: true));

        await call.ClosedAsync();
        Assert.NotEqual("0", call.Status);
    }

    [Fact]
    public async Task Call_BackendSilent_CanBeCancelledAndTheProxyLives()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        Socket silent = await bed.Raw.AcceptSocketAsync();
        await bed.Proxy!.PingAsync(CancellationToken.None).Bounded();

        await call.ResetAsync(Http2Code.Cancel);

        await caller.PingAsync();
        Assert.False(call.EndStream, "an answer that nobody gave");
        RawStream other = await caller.CallAsync("/grpc.health.v1.Health/Check", []);
        Assert.Equal("12", other.Status);
        silent.Dispose();
        bed.Raw.EchoForever();
    }

    [Fact]
    public async Task Call_BackendNeverGreets_IsSentAllTheSame()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection late = await bed.Raw.AcceptAsync(
            new RawConnectionOptions
            {
                Greet = false,
                AnswerSettings = false,
                GrantConnectionWindow = false,
                GrantStreamWindows = false,
            });

        // A backend may take the request before it has said anything itself; then its SETTINGS come first (RFC 9113 3.4).
        await late.UntilAsync(() => late.StreamsArrived == 1, "the request, before a word from the backend");
        await late.WriteAsync(Frame.Settings(), Frame.SettingsAck());
        RawStream served = await late.NextStreamAsync();
        await served.RespondAsync([2]);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
    }

    [Fact]
    public async Task Calls_BackendFlapsUnderLoad_EachIsAnsweredOrUnavailable()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        var flapping = new Gate();
        Task flap = Task.Run(async () =>
        {
            for (int i = 0; i < 10; i++)
            {
                await bed.Fake.NextCallAsync();
                await bed.Fake.DieAsync();
                await bed.Fake.AppearAsync();
            }

            flapping.Open();
        });
        int good = 0;
        for (int i = 0; !flapping.IsOpen || good == 0; i++)
        {
            byte[] body = GrpcWire.Message(BitConverter.GetBytes(i));
            RawStream call = await caller.CallAsync(TestBed.Unary, body);
            if (call.Status == "0")
            {
                Octets.AssertEqual(body, call.Body, $"answer {i}");
                good++;
            }
            else
            {
                Assert.True(call.Status == "14" || call.ResetCode is not null, $"{call.Status}");
            }
        }

        await flap.Bounded();
    }

    private static void AssertUnavailable(RawStream call)
    {
        Assert.True(call.Status == "14", $"status {call.Status}, RST_STREAM {call.ResetCode}\n{call.Connection.DescribeLog()}");
        Assert.False(string.IsNullOrEmpty(call.Trailers.ValueOf("grpc-message")), "an operator wants to read why");
    }
}
