using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Malformed requests (RFC 9113 8.1.1) are refused and never reach the backend in any shape.</summary>
public sealed class HostileHeadersTests
{
    private static readonly HeaderField Method = (":method", "POST");
    private static readonly HeaderField Scheme = (":scheme", "http");
    private static readonly HeaderField Path = (":path", TestBed.Version);
    private static readonly HeaderField Authority = (":authority", "localhost");

    public static TheoryData<Route, string> Malformed()
    {
        var rows = new TheoryData<Route, string>();
        foreach (string what in Blocks.Keys)
        {
            rows.Add(Route.Proxy, what);
            if (!KestrelIsLenient.Contains(what))
            {
                rows.Add(Route.Bare, what);
            }
        }

        return rows;
    }

    private static readonly string[] KestrelIsLenient =
    [
        "a space in a name", "a line feed in a name", "connection naming a field", "keep-alive", "proxy-connection",
        "transfer-encoding", "upgrade", "te with something else", "an empty name", "a colon inside a name", "a path without its slash", "an empty path",
    ];

    private static readonly Dictionary<string, HeaderField[]> Blocks = new()
    {
        ["an upper-case name"] = With(("X-Upper", "1")),
        ["one upper-case letter"] = With(("x-uppeR", "1")),
        ["an upper-case pseudo name"] = [Method, Scheme, Path, Authority, (":Path", "/")],
        ["a space in a name"] = With(("x a", "1")),
        ["an empty name"] = With(("", "1")),
        ["a colon inside a name"] = With(("x:a", "1")),
        ["a NUL in a name"] = With(("x\0a", "1")),
        ["a line feed in a name"] = With(("x\na", "1")),
        ["a high octet in a name"] = With(("x-\u00e9", "1")),
        ["CR LF in a value"] = With(("x-a", "1\r\nx-b: 2")),
        ["a bare CR in a value"] = With(("x-a", "1\r2")),
        ["a bare LF in a value"] = With(("x-a", "1\n2")),
        ["a NUL in a value"] = With(("x-a", "1\02")),
        ["a line feed in the path"] = [Method, Scheme, (":path", TestBed.Version + "\n"), Authority],
        ["a NUL in the authority"] = [Method, Scheme, Path, (":authority", "local\0host")],
        ["two paths"] = [Method, Scheme, Path, Path, Authority],
        ["two different paths"] = [Method, Scheme, (":path", "/containerd.services.version.v1.Version/Version"), Path, Authority],
        ["two methods"] = [Method, Method, Scheme, Path, Authority],
        ["two schemes"] = [Method, Scheme, Scheme, Path, Authority],
        ["two authorities"] = [Method, Scheme, Path, Authority, Authority],
        ["a pseudo field after a regular one"] = [Method, Scheme, Authority, ("te", "trailers"), Path],
        ["an unknown pseudo field"] = [Method, Scheme, Path, Authority, (":unknown", "1")],
        ["extended CONNECT's pseudo field"] = [Method, Scheme, Path, Authority, (":protocol", "websocket")],
        ["a pseudo field of responses"] = [Method, Scheme, Path, Authority, (":status", "200")],
        ["no path"] = [Method, Scheme, Authority],
        ["no method"] = [Scheme, Path, Authority],
        ["no scheme"] = [Method, Path, Authority],
        ["no pseudo fields"] = [("te", "trailers")],
        ["an empty path"] = [Method, Scheme, (":path", ""), Authority],
        ["a path without its slash"] = [Method, Scheme, (":path", "runtime.v1.RuntimeService/Version"), Authority],
        ["connection"] = With(("connection", "close")),
        ["connection naming a field"] = With(("connection", "x-a"), ("x-a", "1")),
        ["keep-alive"] = With(("keep-alive", "1")),
        ["proxy-connection"] = With(("proxy-connection", "keep-alive")),
        ["transfer-encoding"] = With(("transfer-encoding", "chunked")),
        ["upgrade"] = With(("upgrade", "h2c")),
        ["te with something else"] = With(("te", "gzip")),
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task Request_Malformed_IsRefusedAndNeverReachesTheBackend(Route route, string what)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();

        await stream.SendHeadersAsync(Blocks[what], endStream: true);

        await Verdict.AssertRejectedAsync(caller, stream, Http2Code.ProtocolError);
        await bed.AssertOthersAreServedAsync();
        Assert.Equal(TestBed.Brandnew, Assert.Single(bed.Fake.Calls).Path);
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task Request_MalformedAmongIndexedOnes_LeavesTheTablesInStep(Route route, string what)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        caller.Encoder.Compress = true;
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1], ("x-first", "1"))).Status);
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(Blocks[what].Append(("x-second", "2")), endStream: true);
        await Verdict.AssertRejectedAsync(caller, stream, Http2Code.ProtocolError);
        if (caller.GoAways.Count > 0)
        {
            return;
        }

        RawStream next = await caller.CallAsync(TestBed.Version, [1], ("x-first", "1"), ("x-second", "2"));

        Assert.Equal("0", next.Status);
        Assert.Equal("2", bed.Fake.Calls[^1].Header("x-second"));
    }

    [Theory]
    [InlineData(5, 3)]
    [InlineData(5, 8)]
    public async Task Request_ContentLengthThatLies_IsNoCompleteRequestAtTheBackend(int declared, int sent)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew, ("content-length", $"{declared}")));
        await caller.WriteAsync(Frame.Data(stream.Id, new byte[sent], endStream: true));

        await Verdict.AssertRejectedAsync(caller, stream, Http2Code.ProtocolError);

        bed.Raw.EchoForever();
        await bed.AssertOthersAreServedAsync();
        foreach (RawConnection backend in bed.Raw.Connections)
        {
            RawStream[] complete =
            [
                .. Enumerable.Range(0, backend.StreamsArrived).Select(i => backend.Stream(1 + 2 * i))
                    .Where(seen => seen.EndStream && seen["content-length"] is not null),
            ];
            Assert.Empty(complete);
        }
    }

    [Theory]
    [EveryRoute]
    public async Task Trailers_WithPseudoField_AreRefused(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));

        await stream.SendHeadersAsync([(":path", "/x")], endStream: true);

        await Verdict.AssertRejectedAsync(caller, stream, Http2Code.ProtocolError);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Trailers_WithoutEndStream_AreRefused(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request(TestBed.Unary));

        await stream.SendHeadersAsync([("x-a", "1")], endStream: false);

        await Verdict.AssertRejectedAsync(caller, stream, Http2Code.ProtocolError);
        await bed.AssertOthersAreServedAsync();
    }

    [Theory]
    [InlineData("POST /runtime.v1.RuntimeService/Version HTTP/1.1\r\nHost: x\r\n\r\n")]
    [InlineData("GET / HTTP/1.0\r\n\r\n")]
    [InlineData("\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003 a TLS hello, more or less, padded on")]
    [InlineData("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX and something behind it that is long enough")]
    [InlineData("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")]
    public async Task Connection_OtherProtocol_IsClosed(string says)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Greet = false });

        await caller.WriteRawAsync(System.Text.Encoding.Latin1.GetBytes(says));

        await caller.EndAsync();
        await bed.AssertOthersAreServedAsync();
        Assert.Single(bed.Fake.Calls);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    [InlineData(24)]
    [InlineData(30)]
    [InlineData(36)]
    [InlineData(60)]
    public async Task Connection_EndsAfterAnyPrefixOfACall_IsForgotten(int length)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync(new RawConnectionOptions { Greet = false });
        byte[] wire =
        [
            .. Frame.Preface,
            .. Frame.Settings().ToArray(),
            .. Frame.Headers(1, new HpackEncoder().Encode(GrpcWire.Request(TestBed.Version)), endStream: true).ToArray(),
        ];

        await caller.WriteRawAsync(wire.AsMemory(0, length));
        await caller.ShutdownSendAsync();

        await caller.EndAsync();
        await bed.AssertOthersAreServedAsync();
        Assert.Equal(TestBed.Brandnew, Assert.Single(bed.Fake.Calls).Path);
    }

    private static HeaderField[] With(params HeaderField[] extra) => [Method, Scheme, Path, Authority, .. extra];
}
