using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Streams flow as they are written, and each direction ends by itself.</summary>
public sealed class StreamingTests
{
    [Theory]
    [EveryRoute]
    public async Task Stream_BackendWritesOneMessage_CallerHasItBeforeTheNextExists(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        Gate[] next = [.. Enumerable.Range(0, 10).Select(_ => new Gate())];
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.ReadBodyAsync();
            for (int i = 0; i < next.Length; i++)
            {
                await next[i].Opened;
                await call.SendAsync(GrpcWire.Message([(byte)i]));
            }

            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));
        for (int i = 0; i < next.Length; i++)
        {
            next[i].Open();
            await call.BodyLengthAsync(6 * (i + 1));
        }

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Stream_BackendSendsHeadOnly_CallerHasIt(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var end = new Gate();
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.SendHeadersAsync(("x-early", "1"));
            await end.Opened;
            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Events, GrpcWire.Message([]));

        await call.HeadAsync();

        Assert.Equal("1", call["x-early"]);
        end.Open();
        await call.EndedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Call_BackendAnswersBeforeTheRequestEnds_CallerHasTheAnswer(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        await call.SendBodyAsync(new byte[100]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.BodyLengthAsync(100);

        await served.SendHeadersAsync(GrpcWire.ResponseHead([.. GrpcWire.Trailers(8)]), endStream: true);
        await served.ResetAsync(Http2Code.NoError);

        await call.EndedAsync();
        Assert.Equal("8", call.Status);
        Assert.True(call.ResetCode is null or Http2Code.NoError, $"{call.ResetCode}");

        // What the caller had already sent must do no harm to its other calls.
        await caller.WriteAsync(Frame.Data(call.Id, new byte[100], endStream: true));
        RawBackend.EchoForever(backend);
        bed.Raw.EchoForever();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Call_BackendAnswersButReadsOn_RequestGoesOn(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        await call.HeadAsync();

        await call.SendBodyAsync(new byte[] { 1, 2, 3 }, endStream: true);
        await served.EndedAsync();

        Octets.AssertEqual([1, 2, 3], served.Body, "the request");
        await served.SendHeadersAsync(GrpcWire.Trailers(0), endStream: true);
        await call.EndedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Call_BackendAnswersOkWithHugeRequestStillComing_CallerGetsItAll(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.ReadAtLeastAsync(5);
            await call.TrailersOnlyAsync(7, ("grpc-message", "enough"));
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));

        Task sending = call.SendBodyAsync(new byte[32 << 20], endStream: true);
        await call.ClosedAsync();

        Assert.Equal("7", call.Blocks[0].ValueOf("grpc-status"));
        if (call.ResetCode is null)
        {
            // Whoever reads on may take it all; whoever does not must have said so.
            await caller.UntilAsync(() => sending.IsCompleted || call.ResetCode is not null, "the request's end or a RST_STREAM");
        }

        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Calls_ManyConnections_EachGetsItsOwnAnswers(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        await Task.WhenAll(Enumerable.Range(0, 40).Select(async i =>
        {
            RawConnection caller = await RawConnection.ConnectAsync(bed.CallerPath);
            await using (caller)
            {
                for (int j = 0; j < 25; j++)
                {
                    byte[] body = GrpcWire.Message(Octets.Varied(500 + j, seed: i * 100 + j));
                    RawStream call = await caller.CallAsync(TestBed.Brandnew, body);
                    Octets.AssertEqual(body, call.Body, $"answer {j} on connection {i}");
                }
            }
        })).Bounded();
    }

    [Theory]
    [EveryRoute]
    public async Task Calls_ThousandHeldOnOneConnection_AllGetTheirAnswers(Route route)
    {
        const int count = 1000;
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var release = new Gate();
        bed.Fake.Otherwise = async call =>
        {
            await call.ReadBodyAsync();
            await release.Opened;
            await call.EchoAsync();
        };
        RawConnection caller = await bed.ConnectAsync();
        var calls = new List<(RawStream Call, byte[] Body)>();
        for (int i = 0; i < count; i++)
        {
            byte[] body = GrpcWire.Message(BitConverter.GetBytes(i));
            calls.Add((await caller.SendCallAsync(TestBed.Unary, body), body));
        }

        for (int i = 0; i < count; i++)
        {
            await bed.Fake.NextCallAsync();
        }

        Assert.All(calls, call => Assert.False(call.Call.Closed));
        release.Open();
        await caller.UntilAsync(() => calls.All(call => call.Call.Closed), "all answers");
        Assert.All(calls, call =>
        {
            Assert.Equal("0", call.Call.Status);
            Octets.AssertEqual(call.Body, call.Call.Body, "an answer");
        });
    }

    [Theory]
    [EveryRoute]
    public async Task Calls_EndInAnyOrder_AnswersFindTheirStreams(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        var calls = new List<RawStream>();
        for (int i = 0; i < 50; i++)
        {
            calls.Add(await caller.SendCallAsync(TestBed.Unary, [(byte)i]));
        }

        RawConnection backend = await bed.Raw.AcceptAsync();
        var served = new List<RawStream>();
        for (int i = 0; i < 50; i++)
        {
            served.Add(await backend.NextStreamAsync());
            await served[^1].EndedAsync();
        }

        var random = new Random(7);
        foreach (RawStream stream in served.OrderBy(_ => random.Next()))
        {
            await stream.RespondAsync([.. stream.Body, 42], status: stream.Body[0]);
        }

        await caller.UntilAsync(() => calls.All(call => call.Closed), "all answers");
        for (int i = 0; i < 50; i++)
        {
            Octets.AssertEqual([(byte)i, 42], calls[i].Body, $"answer {i}");
            Assert.Equal($"{i}", calls[i].Status);
        }
    }
}
