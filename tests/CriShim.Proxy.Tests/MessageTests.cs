using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;

namespace CriShim.Proxy.Tests;

/// <summary>Messages of every size and in every cut.</summary>
public sealed class MessageTests
{
    [Theory]
    [InlineData(Route.Bare, 20)]
    [InlineData(Route.Proxy, 20)]
    [InlineData(Route.Bare, 64)]
    [InlineData(Route.Proxy, 64)]
    [InlineData(Route.Looking, 20)]
    public async Task Call_LargeMessages_PassBothWays(Route route, int mebibytes)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        byte[] message = GrpcWire.Message(Octets.Varied(mebibytes << 20));

        RawStream stream = await caller.CallAsync("/runtime.v1.RuntimeService/CreateContainer", message);

        Assert.Equal("0", stream.Status);
        Octets.AssertEqual(message, bed.Fake.Calls[0].Body, "the request");
        Octets.AssertEqual(message, stream.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Call_LargeMessageThroughGrpcLibrary_PassesBothWays(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        var runtime = new RuntimeService.RuntimeServiceClient(bed.Http().Channel());
        byte[] output = Octets.Varied(20 << 20);

        // Field 1 of both is a length-delimited one, so an echoed request reads as a response.
        ExecSyncResponse response = await runtime
            .ExecSyncAsync(new ExecSyncRequest { ContainerId = new string('c', 20 << 20) }).ResponseAsync.Bounded();

        Assert.Equal(20 << 20, response.Stdout.Length);
        Assert.True(response.Stdout.Span.IndexOfAnyExcept((byte)'c') < 0);
        Assert.NotEqual(ByteString.CopyFrom(output), response.Stdout);
    }

    [Theory]
    [InlineData(Route.Bare, 1)]
    [InlineData(Route.Proxy, 1)]
    [InlineData(Route.Bare, 7)]
    [InlineData(Route.Proxy, 7)]
    [InlineData(Route.Bare, 16384)]
    [InlineData(Route.Proxy, 16384)]
    public async Task Call_MessageSplitInManyFrames_ArrivesWhole(Route route, int frameLength)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        byte[] message = GrpcWire.Message(Octets.Varied(frameLength * 300));
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));
        Task sending = SendInFramesAsync(call, message, frameLength);

        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await sending;
        await call.SendBodyAsync(ReadOnlyMemory<byte>.Empty, endStream: true);
        await served.EndedAsync();
        Octets.AssertEqual(message, served.Body, "the request");

        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        await SendInFramesAsync(served, message, frameLength);
        await served.SendHeadersAsync(GrpcWire.Trailers(0), endStream: true);
        await call.EndedAsync();
        Octets.AssertEqual(message, call.Body, "the answer");
        Assert.Equal("0", call.Status);
    }

    [Theory]
    [EveryRoute]
    public async Task Call_PaddedFrames_ArriveWithoutPaddingAndWindowsComeBack(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        byte[] block = caller.Encoder.Encode(GrpcWire.Request(TestBed.Unary));
        await caller.WriteAsync(Frame.Headers(call.Id, block, padding: 200));
        byte[] message = Octets.Varied(40_000);

        // One octet of data to 256 of window: padding that is not given back would end this before its end.
        Task sending = SendAllPaddedAsync(call, message);
        RawConnection backend = await bed.Raw.AcceptAsync();
        await sending;
        await caller.WriteAsync(Frame.Data(call.Id, [], endStream: true, padding: 0));
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        Octets.AssertEqual(message, served.Body, "the request");

        await backend.WriteAsync(Frame.Headers(served.Id, backend.Encoder.Encode(GrpcWire.ResponseHead()), padding: 255));
        await SendAllPaddedAsync(served, message);

        await backend.WriteAsync(
            Frame.Headers(served.Id, backend.Encoder.Encode(GrpcWire.Trailers(0)), endStream: true, padding: 0));
        await call.EndedAsync();
        Octets.AssertEqual(message, call.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Call_HeaderBlocksCutIntoContinuations_ArriveWhole(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await SendCutAsync(caller, call.Id, GrpcWire.Request(TestBed.Unary, ("x-a", "1")), endStream: true, piece: 3);

        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        Assert.Equal("1", served["x-a"]);

        await SendCutAsync(backend, served.Id, GrpcWire.ResponseHead(("x-b", "2")), endStream: false, piece: 1);
        await backend.WriteAsync(Frame.Data(served.Id, [5]));
        await SendCutAsync(backend, served.Id, GrpcWire.Trailers(0, ("x-c", "3")), endStream: true, piece: 2);
        await call.EndedAsync();
        Assert.Equal("2", call["x-b"]);
        Assert.Equal("3", call.Trailers.ValueOf("x-c"));
        Octets.AssertEqual([5], call.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Call_FramesDribbleOctetByOctet_ArriveWhole(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever();
        RawConnection caller = await bed.ConnectAsync();

        // The acknowledgement of SETTINGS must be out before, or it would land between two octets.
        await caller.PingAsync();
        RawStream call = caller.OpenStream();
        byte[] wire =
        [
            .. Frame.Headers(call.Id, caller.Encoder.Encode(GrpcWire.Request(TestBed.Unary))).ToArray(),
            .. Frame.Data(call.Id, [1, 2, 3], endStream: true).ToArray(),
        ];

        foreach (byte octet in wire)
        {
            await caller.WriteRawAsync(new[] { octet });
        }

        await call.EndedAsync();
        Octets.AssertEqual([1, 2, 3], call.Body, "the answer");
    }

    [Theory]
    [EveryRoute]
    public async Task Call_ManySmallMessages_ArriveInOrder(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Events, async call =>
        {
            await call.ReadBodyAsync();
            await call.SendHeadersAsync();
            for (int i = 0; i < 5000; i++)
            {
                await call.SendAsync(GrpcWire.Message(BitConverter.GetBytes(i)));
            }

            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();

        RawStream call = await caller.CallAsync(TestBed.Events, GrpcWire.Message([]));

        Assert.Equal("0", call.Status);
        byte[] expected = [.. Enumerable.Range(0, 5000).SelectMany(i => GrpcWire.Message(BitConverter.GetBytes(i)))];
        Octets.AssertEqual(expected, call.Body, "the stream");
    }

    [Theory]
    [EveryRoute]
    public async Task Call_BodyEndsOnAnEmptyDataFrame_EndsBothWays(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));
        await caller.WriteAsync(
            Frame.Data(call.Id, []), Frame.Data(call.Id, [7]), Frame.Data(call.Id, []), Frame.Data(call.Id, [], endStream: true));

        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        Octets.AssertEqual([7], served.Body, "the request");
        await served.SendHeadersAsync(GrpcWire.ResponseHead());
        await backend.WriteAsync(
            Frame.Data(served.Id, []), Frame.Data(served.Id, [8]), Frame.Data(served.Id, [], endStream: true));
        await call.EndedAsync();
        Octets.AssertEqual([8], call.Body, "the answer");
        Assert.True(call.EndStreamOnData);
    }

    private static async Task SendInFramesAsync(RawStream stream, byte[] body, int frameLength)
    {
        foreach (byte[] part in body.Chunk(frameLength))
        {
            await stream.SendBodyAsync(part);
        }
    }

    private static async Task SendAllPaddedAsync(RawStream stream, byte[] body)
    {
        foreach (byte[] part in body.Chunk(20))
        {
            await SendPaddedAsync(stream, part);
        }
    }

    private static async Task SendPaddedAsync(RawStream stream, byte[] part)
    {
        const int padding = 235;
        int charged = 1 + part.Length + padding;
        int taken = 0;
        await stream.Connection.UntilAsync(
            () => (taken += stream.Connection.TakeSendWindow(stream, charged - taken)) == charged, "window for a padded frame");
        await stream.Connection.WriteAsync(Frame.Data(stream.Id, part, padding: padding));
    }

    private static Task SendCutAsync(
        RawConnection connection, int streamId, IEnumerable<HeaderField> fields, bool endStream, int piece)
    {
        byte[][] pieces = [.. connection.Encoder.Encode(fields).Chunk(piece)];
        Frame[] frames =
        [
            Frame.Headers(streamId, pieces[0], endStream, endHeaders: false, padding: 3),
            .. pieces[1..].Select((part, i) => Frame.Continuation(streamId, part, endHeaders: i == pieces.Length - 2)),
        ];
        return connection.WriteAsync(frames);
    }
}
