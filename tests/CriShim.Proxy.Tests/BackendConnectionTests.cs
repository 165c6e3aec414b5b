using System.Net.Sockets;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Everything RFC 9113 lets a backend do to a connection.</summary>
public sealed class BackendConnectionTests
{
    [Fact]
    public async Task GoAway_WithCallsAboveItsLastId_ThoseBelowFinishAndNewCallsGoElsewhere()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream below = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream servedBelow = await backend.NextStreamAsync();
        RawStream above = await caller.SendCallAsync(TestBed.Unary, [2]);
        RawStream servedAbove = await backend.NextStreamAsync();
        await servedAbove.EndedAsync();
        bed.Raw.EchoForever();

        await backend.WriteAsync(Frame.GoAway(servedBelow.Id, Http2Code.NoError));

        await above.ClosedAsync();
        Assert.True(
            above.ResetCode == Http2Code.RefusedStream || above.Status is "14" or "0",
            $"the backend has not begun it, so it may be tried again: {above.ResetCode} {above.Status}");
        Assert.False(below.Closed);
        RawStream next = await caller.CallAsync(TestBed.Unary, [3]);
        Assert.Equal("0", next.Status);
        Assert.Equal(2, bed.Raw.ConnectionsAccepted);
        await servedBelow.RespondAsync([9]);
        await below.EndedAsync();
        Octets.AssertEqual([9], below.Body, "the answer of the connection that ends");
        Assert.Empty(backend.Violations);
    }

    [Fact]
    public async Task GoAway_GracefulWithHighestId_CallsFinishAndNewOnesGoElsewhere()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        bed.Raw.EchoForever();

        // As grpc-go's GracefulStop does: the highest id first, then a PING, then the real last id.
        await backend.WriteAsync(Frame.GoAway(int.MaxValue, Http2Code.NoError));
        await backend.PingAsync();
        await backend.WriteAsync(Frame.GoAway(served.Id, Http2Code.NoError));

        Assert.Equal("0", (await caller.CallAsync(TestBed.Unary, [2])).Status);
        Assert.Equal(1, backend.StreamsArrived);
        await served.RespondAsync([7]);
        await running.EndedAsync();
        Assert.Equal("0", running.Status);
        await backend.EndAsync();
    }

    [Fact]
    public async Task GoAway_WithErrorAndClose_CallsGetUnavailableAndTheNextWorks()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream running = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await backend.WriteAsync(Frame.GoAway(served.Id, Http2Code.EnhanceYourCalm));
        backend.Kill();

        await running.ClosedAsync();
        Assert.Equal("14", running.Status);
        bed.Raw.EchoForever();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Unary, [2])).Status);
    }

    [Fact]
    public async Task MaxConcurrentStreams_One_CallsWaitOrGoElsewhereAndAllAreAnswered()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        bed.Raw.EchoForever(new RawConnectionOptions { Settings = [(Setting.MaxConcurrentStreams, 1)] });
        RawConnection caller = await bed.ConnectAsync();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [0])).Status);
        var calls = new List<RawStream>();
        for (int i = 0; i < 30; i++)
        {
            calls.Add(await caller.SendCallAsync(TestBed.Unary, [(byte)i]));
        }

        await caller.UntilAsync(() => calls.All(call => call.Closed), "all answers");

        Assert.All(calls, call => Assert.Equal("0", call.Status));
        Assert.All(bed.Raw.Connections, connection => Assert.Empty(connection.Violations));
    }

    [Fact]
    public async Task MaxConcurrentStreams_LoweredWhileHeld_IsKeptAndWaitersCanCancel()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream held = await caller.SendCallAsync(TestBed.Unary, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await backend.SendSettingsAsync((Setting.MaxConcurrentStreams, 1));
        await backend.UntilAsync(() => backend.SettingsAcknowledged == 2, "the acknowledgement");
        bed.Raw.EchoForever();

        RawStream impatient = await caller.SendCallAsync(TestBed.Unary, [2]);
        await impatient.ResetAsync(Http2Code.Cancel);
        RawStream waiting = await caller.SendCallAsync(TestBed.Unary, [3]);
        await caller.PingAsync();
        await served.RespondAsync([8]);
        RawBackend.EchoForever(backend);

        await held.EndedAsync();
        await waiting.ClosedAsync();
        Octets.AssertEqual([3], waiting.Body, "the answer to the one that waited");
        Assert.Empty(backend.Violations);
    }

    [Theory]
    [EveryRoute]
    public async Task HeaderTableSize_BackendChangesItInMidConnection_RequestsStayReadable(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        caller.Encoder.Compress = true;
        RawStream first = await caller.SendCallAsync(TestBed.Version, [1], ("x-same", "value"));
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawBackend.EchoForever(backend);
        await first.EndedAsync();
        int acknowledged = 1;
        foreach (uint size in new uint[] { 0, 100, 65536, 0, 4096 })
        {
            await backend.SendSettingsAsync((Setting.HeaderTableSize, size));
            acknowledged++;
            await backend.UntilAsync(() => backend.SettingsAcknowledged == acknowledged, "the acknowledgement");
            for (int i = 0; i < 5; i++)
            {
                RawStream call = await caller.CallAsync(TestBed.Version, [2], ("x-same", "value"), ("x-other", $"{size}-{i}"));
                Assert.Equal("0", call.Status);
            }
        }

        Assert.Empty(backend.Violations);
        Assert.Equal("4096-4", backend.Stream(1 + 2 * 25)["x-other"]);
    }

    [Theory]
    [EveryRoute]
    public async Task HeaderTableSize_CallerChangesItInMidConnection_AnswersStayReadable(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever();
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Settings = [(Setting.HeaderTableSize, 0)] });
        int acknowledged = 1;
        foreach (uint size in new uint[] { 200, 65536, 0, 4096 })
        {
            for (int i = 0; i < 3; i++)
            {
                Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
            }

            await caller.SendSettingsAsync((Setting.HeaderTableSize, size));
            acknowledged++;
            await caller.UntilAsync(() => caller.SettingsAcknowledged == acknowledged, "the acknowledgement");
        }

        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1])).Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Answers_HuffmanAndDynamicTable_AreRead(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawConnection? backend = null;
        for (int i = 0; i < 60; i++)
        {
            RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
            backend ??= await bed.Raw.AcceptAsync();
            (backend.Encoder.Compress, backend.Encoder.Huffman) = (true, true);
            RawStream served = await backend.NextStreamAsync();

            // Long enough that the table evicts old entries all the time.
            HeaderField[] extra = [("x-turn", $"{i}"), ("x-long", new string((char)('a' + i % 26), 900)), ("x-same", "constant")];
            await served.SendHeadersAsync(GrpcWire.ResponseHead(extra));
            await served.SendHeadersAsync(GrpcWire.Trailers(0, extra), endStream: true);
            await call.EndedAsync();
            Octets.AssertSameFields(extra, call.Head.Where(field => field.Name.StartsWith('x')), "the head");
            Octets.AssertSameFields(extra, call.Trailers.Where(field => field.Name.StartsWith('x')), "the trailers");
        }
    }

    [Theory]
    [EveryRoute]
    public async Task InformationalHeads_BeforeTheAnswer_DoNotEndIt(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.SendHeadersAsync([(":status", "103"), ("link", "x")]);
        await served.RespondAsync([4]);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        Octets.AssertEqual([4], call.Body, "the answer");
        Assert.Contains(call.Blocks, block => block.ValueOf(":status") == "200");
    }

    [Fact]
    public async Task UnknownFramesSettingsAndPings_FromTheBackend_AreTakenInStride()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await backend.WriteAsync(
            new Frame((FrameType)0x42, (FrameFlags)0xff, served.Id, [1, 2, 3]),
            new Frame((FrameType)0xfe, FrameFlags.None, 0, new byte[100]),
            new Frame(FrameType.Priority, FrameFlags.None, served.Id, [0, 0, 0, 0, 16]),
            Frame.Settings(((Setting)0x77, 5u), (Setting.MaxFrameSize, 1u << 20)));
        await backend.PingAsync();
        await served.RespondAsync([5]);

        await call.EndedAsync();
        Assert.Equal("0", call.Status);
        await backend.UntilAsync(() => backend.SettingsAcknowledged == 2, "the acknowledgement");
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")]
    [InlineData("\u0015\u0003\u0001\u0000\u0002\u0002\u0016")]
    [InlineData("garbage garbage garbage garbage garbage garbage garbage garbage")]
    [InlineData("\u0000\u0000\u0006\u0004\u0000\u0000")]
    [InlineData("")]
    public async Task Garbage_FromTheBackend_IsUnavailableAndTheNextConnectionWorks(string says)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        bed.Log.Expected = "broke HTTP/2";
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        Socket backend = await bed.Raw.AcceptSocketAsync();
        await backend.SendAsync(System.Text.Encoding.Latin1.GetBytes(says));
        backend.Dispose();
        bed.Raw.EchoForever();

        await call.ClosedAsync();

        // A request that the backend cannot have begun may as well be tried again.
        Assert.True(call.Status is "14" or "0", $"{call.ResetCode} {call.Status}");
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
    }

    [Fact]
    public async Task Garbage_FromTheBackendThatStaysConnected_IsUnavailable()
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        bed.Log.Expected = "broke HTTP/2";
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        Socket backend = await bed.Raw.AcceptSocketAsync();
        bed.Raw.EchoForever();

        await backend.SendAsync("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"u8.ToArray());

        await call.ClosedAsync();
        Assert.True(call.Status is "14" or "0", $"{call.ResetCode} {call.Status}");
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
    }

    private static readonly Dictionary<string, byte[]> BrokenAnswers = new()
    {
        ["HPACK index out of range"] = Frame.Headers(1, [0xff, 0x7f], endStream: true).ToArray(),
        ["a frame too large"] = new Frame(FrameType.Data, FrameFlags.None, 1, new byte[(1 << 24) - 1]).ToArray(),
        ["DATA on stream 0"] = Frame.Data(0, [1]).ToArray(),
        ["an answer on an idle stream"] = Frame.Headers(99, [0x88]).ToArray(),
        ["a CONTINUATION alone"] = Frame.Continuation(1, [0x88], true).ToArray(),
        ["a PUSH_PROMISE"] = new Frame(FrameType.PushPromise, FrameFlags.EndHeaders, 1, [0, 0, 0, 2, 0x88]).ToArray(),
        ["a window overflow"] = Frame.WindowUpdate(0, int.MaxValue).ToArray(),
        ["SETTINGS of 5 octets"] = new Frame(FrameType.Settings, FrameFlags.None, 0, new byte[5]).ToArray(),
    };

    public static TheoryData<string> BrokenAnswerNames() => [.. BrokenAnswers.Keys];

    [Theory]
    [MemberData(nameof(BrokenAnswerNames))]
    public async Task BrokenConnection_FromTheBackend_IsNoSuccessAndTheNextConnectionWorks(string what)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        bed.Log.Expected = "broke HTTP/2";
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        await (await backend.NextStreamAsync()).EndedAsync();
        bed.Raw.EchoForever();

        await backend.WriteRawAsync(BrokenAnswers[what]);

        await call.ClosedAsync();
        Assert.True(call.Status == "14" || call.ResetCode is not null, $"{what}: {call.ResetCode} {call.Status}");
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
        await backend.EndAsync();
    }

    private static readonly Dictionary<string, HeaderField[]> MalformedHeads = new()
    {
        ["no status"] = [("content-type", "application/grpc")],
        ["two statuses"] = [(":status", "200"), (":status", "200")],
        ["an upper-case name"] = [(":status", "200"), ("X-Upper", "1")],
        ["a line feed"] = [(":status", "200"), ("x-a", "1\nx-b: 2")],
        ["a NUL"] = [(":status", "200"), ("x-a", "1\02")],
        ["a pseudo field of requests"] = [(":status", "200"), (":path", "/")],
        ["a pseudo field after others"] = [("x-a", "1"), (":status", "200")],
        ["a connection field"] = [(":status", "200"), ("connection", "close")],
    };

    public static TheoryData<string> MalformedHeadNames() => [.. MalformedHeads.Keys];

    [Theory]
    [MemberData(nameof(MalformedHeadNames))]
    public async Task MalformedHead_FromTheBackend_NeverReachesTheCaller(string what)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.SendHeadersAsync(MalformedHeads[what]);
        await backend.WriteAsync(Frame.Headers(served.Id, backend.Encoder.Encode(GrpcWire.Trailers(0)), endStream: true));

        await call.ClosedAsync();
        Assert.True(call.ResetCode is not null || call.Status is not ("0" or null), $"{what}: {caller.DescribeLog()}");
        RawBackend.EchoForever(backend);
        bed.Raw.EchoForever();
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
    }
}
