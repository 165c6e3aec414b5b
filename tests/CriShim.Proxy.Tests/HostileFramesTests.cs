using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Offences against RFC 9113 and 7541, each with the code that it earns.</summary>
public sealed class HostileFramesTests
{
    private static readonly Http2Code[] Protocol = [Http2Code.ProtocolError];
    private static readonly Http2Code[] FrameSize = [Http2Code.FrameSizeError];
    private static readonly Http2Code[] FlowControl = [Http2Code.FlowControlError];
    private static readonly Http2Code[] Compression = [Http2Code.CompressionError];
    private static readonly Http2Code[] Closed = [Http2Code.StreamClosed];
    private static readonly Http2Code[] ClosedOrProtocol = [Http2Code.StreamClosed, Http2Code.ProtocolError];
    private static readonly Http2Code[] FrameSizeOrProtocol = [Http2Code.FrameSizeError, Http2Code.ProtocolError];

    private static readonly byte[] Call = new HpackEncoder().Encode(GrpcWire.Request(TestBed.Version));
    private static readonly byte[] Held = new HpackEncoder().Encode(GrpcWire.Request(TestBed.Unary));

    /// <summary>
    /// What is sent once a call on stream 1 is held open from both ends, and whether stream 1 alone may pay for it.
    /// </summary>
    private static readonly Dictionary<string, (Frame[] Frames, bool StreamOnly, Http2Code[] Codes)> Offences = new()
    {
        ["HEADERS on stream 0"] = ([Frame.Headers(0, Call, endStream: true)], false, Protocol),
        ["HEADERS on an even stream"] = ([Frame.Headers(2, Call, endStream: true)], false, Protocol),
        ["an id that goes down"] =
            ([Frame.Headers(9, Call, endStream: true), Frame.Headers(5, Call, endStream: true)], false, ClosedOrProtocol),
        ["DATA on stream 0"] = ([Frame.Data(0, [1])], false, Protocol),
        ["DATA on an idle stream"] = ([Frame.Data(7, [1])], false, Protocol),
        ["DATA on an even stream"] = ([Frame.Data(4, [1])], false, Protocol),
        ["RST_STREAM on stream 0"] = ([Frame.RstStream(0, Http2Code.Cancel)], false, Protocol),
        ["RST_STREAM on an idle stream"] = ([Frame.RstStream(7, Http2Code.Cancel)], false, Protocol),
        ["RST_STREAM of 3 octets"] = ([new Frame(FrameType.RstStream, 0, 1, new byte[3])], false, FrameSize),
        ["WINDOW_UPDATE 0 on the connection"] = ([Frame.WindowUpdate(0, 0)], false, Protocol),
        ["WINDOW_UPDATE 0 on a stream"] = ([Frame.WindowUpdate(1, 0)], true, Protocol),
        ["WINDOW_UPDATE on an idle stream"] = ([Frame.WindowUpdate(7, 1)], false, Protocol),
        ["WINDOW_UPDATE of 3 octets"] = ([new Frame(FrameType.WindowUpdate, 0, 0, new byte[3])], false, FrameSize),
        ["a connection window above 2^31-1"] = ([Frame.WindowUpdate(0, int.MaxValue)], false, FlowControl),
        ["a stream window above 2^31-1"] = ([Frame.WindowUpdate(1, int.MaxValue)], true, FlowControl),
        ["SETTINGS of 5 octets"] = ([new Frame(FrameType.Settings, 0, 0, new byte[5])], false, FrameSize),
        ["SETTINGS on a stream"] = ([new Frame(FrameType.Settings, 0, 1, [])], false, Protocol),
        ["SETTINGS ACK with a payload"] = ([new Frame(FrameType.Settings, FrameFlags.Ack, 0, new byte[6])], false, FrameSize),
        ["an initial window above 2^31-1"] = ([Frame.Settings((Setting.InitialWindowSize, 0x80000000u))], false, FlowControl),
        ["an initial window that overflows a stream"] =
            ([Frame.WindowUpdate(1, 0x7f000000 - RawConnectionOptions.LargeWindow), Frame.Settings((Setting.InitialWindowSize, 0x7fffffffu))], false, FlowControl),
        ["a frame size below the least"] = ([Frame.Settings((Setting.MaxFrameSize, 16383u))], false, Protocol),
        ["a frame size above the most"] = ([Frame.Settings((Setting.MaxFrameSize, 1u << 24))], false, Protocol),
        ["ENABLE_PUSH 2"] = ([Frame.Settings((Setting.EnablePush, 2u))], false, Protocol),
        ["PING of 7 octets"] = ([new Frame(FrameType.Ping, 0, 0, new byte[7])], false, FrameSize),
        ["PING on a stream"] = ([new Frame(FrameType.Ping, 0, 1, new byte[8])], false, Protocol),
        ["GOAWAY on a stream"] = ([new Frame(FrameType.GoAway, 0, 1, new byte[8])], false, Protocol),
        ["GOAWAY of 7 octets"] = ([new Frame(FrameType.GoAway, 0, 0, new byte[7])], false, FrameSize),
        ["PRIORITY on stream 0"] = ([new Frame(FrameType.Priority, 0, 0, new byte[5])], false, Protocol),
        ["PRIORITY of 4 octets"] = ([new Frame(FrameType.Priority, 0, 1, new byte[4])], true, FrameSize),
        ["PUSH_PROMISE from a caller"] =
            ([new Frame(FrameType.PushPromise, FrameFlags.EndHeaders, 1, [0, 0, 0, 2, 0x88])], false, Protocol),
        ["a CONTINUATION alone"] = ([Frame.Continuation(1, [0x88], endHeaders: true)], false, Protocol),
        ["DATA inside a header block"] =
            ([Frame.Headers(3, Call, endHeaders: false), Frame.Data(1, [1])], false, Protocol),
        ["PING inside a header block"] = ([Frame.Headers(3, Call, endHeaders: false), Frame.Ping(1)], false, Protocol),
        ["an unknown frame inside a header block"] =
            ([Frame.Headers(3, Call, endHeaders: false), new Frame((FrameType)0x99, 0, 3, [1])], false, Protocol),
        ["a CONTINUATION on another stream"] =
            ([Frame.Headers(3, Call, endHeaders: false), Frame.Continuation(5, [], endHeaders: true)], false, Protocol),
        ["padding as long as DATA"] = ([new Frame(FrameType.Data, FrameFlags.Padded, 1, [4, 0, 0, 0])], false, Protocol),
        ["padding longer than DATA"] = ([new Frame(FrameType.Data, FrameFlags.Padded, 1, [200, 0])], false, Protocol),
        ["padded DATA without its length"] =
            ([new Frame(FrameType.Data, FrameFlags.Padded, 1, [])], false, FrameSizeOrProtocol),
        ["padding longer than HEADERS"] =
            ([new Frame(FrameType.Headers, FrameFlags.Padded | FrameFlags.EndHeaders, 3, [200, .. Call])], false, Protocol),
        ["HEADERS too short for its priority"] =
            ([new Frame(FrameType.Headers, FrameFlags.Priority | FrameFlags.EndHeaders, 3, [1, 2])], false, FrameSizeOrProtocol),
        ["a frame above the size allowed"] =
            ([new Frame((FrameType)0x33, 0, 0, new byte[(1 << 24) - 1])], false, FrameSize),
        ["HPACK index 0"] = (Block(0x80), false, Compression),
        ["HPACK index beyond the tables"] = (Block(0xbe), false, Compression),
        ["HPACK name index beyond the tables"] = (Block(0x7f, 0x10, 0x01, 0x61), false, Compression),
        ["an HPACK integer without an end"] =
            (Block(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), false, Compression),
        ["an HPACK integer that wraps"] = (Block(0xff, 0xff, 0xff, 0xff, 0xff, 0x1f), false, Compression),
        ["an HPACK integer cut short"] = (Block(0xff), false, Compression),
        ["an HPACK table above the size allowed"] =
            ([Frame.Headers(3, new HpackWriter().TableSizeUpdate(1 << 30).Raw(Call).ToArray())], false, Compression),
        ["an HPACK table update after a field"] =
            ([Frame.Headers(3, new HpackWriter().Raw(Call).TableSizeUpdate(0).ToArray())], false, Compression),
        ["an HPACK string beyond its block"] = (Block(0x00, 0x01, 0x61, 0x7f, 0x10, 0x61), false, Compression),
        ["Huffman end-of-string"] = (Block(0x00, 0x01, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff), false, Compression),
        ["Huffman padding of zeros"] = (Block(0x00, 0x01, 0x61, 0x81, 0x18), false, Compression),
        ["Huffman padding of eight bits"] = (Block(0x00, 0x01, 0x61, 0x82, 0x1f, 0xff), false, Compression),
    };

    private static readonly string[] KestrelDiffers =
    [
        // Other codes than RFC 7540 and 9113 ask for, or none.
        "HPACK index 0",
        "RST_STREAM on an idle stream",
        "WINDOW_UPDATE on an idle stream",
        "padded DATA without its length",
        "an initial window that overflows a stream",
    ];

    public static TheoryData<Route, string> AllOffences()
    {
        var rows = new TheoryData<Route, string>();
        foreach (string what in Offences.Keys)
        {
            rows.Add(Route.Proxy, what);
            if (!KestrelDiffers.Contains(what))
            {
                rows.Add(Route.Bare, what);
            }
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(AllOffences))]
    public async Task Offence_WhileACallIsOpen_EarnsItsCode(Route route, string what)
    {
        (Frame[] frames, bool streamOnly, Http2Code[] codes) = Offences[what];
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call =>
        {
            await call.SendHeadersAsync();
            await call.Cancelled;
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream held = caller.OpenStream();
        await caller.WriteAsync(Frame.Headers(held.Id, Held));
        await held.HeadAsync();

        await caller.WriteAsync(frames);

        await Verdict.AssertRejectedAsync(caller, streamOnly ? held : null, codes);
        await (await bed.Fake.NextCallAsync()).Cancelled.Bounded("the held call's end at the backend");
        await bed.AssertOthersAreServedAsync();
        Assert.DoesNotContain(bed.Fake.Calls, call => call.Path == TestBed.Version && what != "an id that goes down");
    }

    [Theory]
    [EveryRoute]
    public async Task Data_AfterEndStream_IsStreamClosed(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = await caller.SendCallAsync(TestBed.Unary, body: null);
        await bed.Fake.NextCallAsync();

        await caller.WriteAsync(Frame.Data(stream.Id, [1]));

        await Verdict.AssertRejectedAsync(caller, stream, Closed);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Headers_AfterEndStream_AreStreamClosed(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = await caller.SendCallAsync(TestBed.Unary, body: null);
        await bed.Fake.NextCallAsync();

        await stream.SendHeadersAsync([("x-a", "1")], endStream: true);

        await Verdict.AssertRejectedAsync(caller, stream, ClosedOrProtocol);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Data_BeyondTheWindow_IsAFlowControlError(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Unary, async call => await call.Cancelled);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await caller.WriteAsync(Frame.Headers(stream.Id, Held));
        await bed.Fake.NextCallAsync();

        // Nobody reads this call: whatever the windows are, they end.
        for (int sent = 0; sent < 128 << 20 && stream.ResetCode is null && !caller.Ended; sent += 16384)
        {
            await caller.WriteAsync(Frame.Data(stream.Id, new byte[16384]));
        }

        await Verdict.AssertRejectedAsync(caller, stream, FlowControl);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task LateFrames_OnClosedStreams_AreIgnored(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream answered = await caller.CallAsync(TestBed.Version, [1]);
        RawStream cancelled = await caller.SendCallAsync(TestBed.Version, [1]);
        await cancelled.ResetAsync(Http2Code.Cancel);

        // WINDOW_UPDATE, RST_STREAM and PRIORITY may cross the end of a stream on the wire (RFC 9113 5.1).
        await caller.WriteAsync(
            Frame.WindowUpdate(answered.Id, 100),
            Frame.WindowUpdate(cancelled.Id, 100),
            Frame.RstStream(answered.Id, Http2Code.Cancel),
            new Frame(FrameType.Priority, 0, answered.Id, [0, 0, 0, 0, 5]));

        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [2])).Status);
        Assert.Empty(caller.GoAways);
    }

    [Theory]
    [EveryRoute]
    public async Task UnknownFramesSettingsAndFlags_AreIgnored(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();

        await caller.WriteAsync(
            new Frame((FrameType)0x42, (FrameFlags)0xff, 1, [1, 2, 3]),
            new Frame((FrameType)0xfe, 0, 0, new byte[1000]),
            Frame.Settings(((Setting)0x99, 7u), ((Setting)0, 1u)),
            new Frame(FrameType.Priority, 0, 77, [0, 0, 0, 0, 16]),
            new Frame(FrameType.Ping, (FrameFlags)0xfe, 0, new byte[8]));

        RawStream stream = caller.OpenStream();
        await caller.WriteAsync(
            new Frame(FrameType.Headers, (FrameFlags)(0x4 | 0x1 | 0xc2), stream.Id, Call));
        await stream.EndedAsync();
        Assert.Equal("0", stream.Status);
    }

    [Theory]
    [EveryRoute]
    public async Task ReservedBit_InStreamIds_IsIgnored(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();

        await caller.WriteAsync(Frame.Headers(stream.Id | int.MinValue, Call, endStream: true));

        await stream.EndedAsync();
        Assert.Equal("0", stream.Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Headers_WithPriority_AreServed(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();

        await caller.WriteAsync(new Frame(
            FrameType.Headers,
            FrameFlags.Padded | FrameFlags.Priority | FrameFlags.EndHeaders | FrameFlags.EndStream,
            stream.Id,
            [2, 0x80, 0, 0, 0, 15, .. Call, 0, 0]));

        await stream.EndedAsync();
        Assert.Equal("0", stream.Status);
    }

    [Fact]
    public async Task FirstFrame_NotSettings_IsAProtocolError()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Greet = false });

        await caller.WriteRawAsync(Frame.Preface.ToArray());
        await caller.WriteAsync(Frame.Ping(1));

        await caller.EndAsync();
        Assert.All(caller.GoAways, goAway => Assert.Equal(Http2Code.ProtocolError, goAway.Code));
        await bed.AssertOthersAreServedAsync();
    }

    private static Frame[] Block(params byte[] block) => [Frame.Headers(3, block, endStream: true)];
}
