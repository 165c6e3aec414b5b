using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.RawHttp2;
using Grpc.Core;

namespace CriShim.Proxy.Tests;

/// <summary>Header fields of requests, responses and trailers: nothing added, nothing dropped, nothing changed.</summary>
public sealed class MetadataTests
{
    private static readonly HeaderField[] ManyKinds =
    [
        ("grpc-timeout", "119999998u"),
        ("grpc-accept-encoding", "gzip,identity"),
        ("grpc-encoding", "identity"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "a=1,b=2"),
        ("x-repeated", "one"),
        ("x-other", "between"),
        ("x-repeated", "two"),
        ("x-repeated", "one"),
        ("x-repeated", ""),
        ("x-empty", ""),
        ("x-data-bin", "AAEC/w"),
        ("x-data-bin", "AAEC/w=="),
        ("x-data-bin", "AA,BB"),
        ("x-comma", "a, b,c"),
        ("x-percent", "%41%00%zz"),
        ("x-inner-space", "a  b\tc"),
        ("x-non-ascii", "gr\u00fc\u00df \u0080\u00ff"),
        ("x-punctuation!#$%&'*+-.^_`|~09", "\"quoted\" {json: [1]}"),
        ("cookie", "a=b"),
        ("cookie", "c=d; e=f"),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer abc"),
        ("content-language", "en"),
        ("via", "2 other"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("server", "x"),
        ("expect", "100-continue"),
        ("grpc-previous-rpc-attempts", "1"),
        ("grpc-tags-bin", "AAA"),
        ("lb-token", "z"),
    ];

    public static TheoryData<Route, bool, bool> Encodings()
    {
        var rows = new TheoryData<Route, bool, bool>();
        foreach (Route route in Enum.GetValues<Route>())
        {
            rows.Add(route, false, false);
            rows.Add(route, false, true);
            rows.Add(route, true, false);
            rows.Add(route, true, true);
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(Encodings))]
    public async Task Request_AnyMetadata_ArrivesUnchanged(Route route, bool compress, bool huffman)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever();
        RawConnection caller = await bed.ConnectAsync();
        (caller.Encoder.Compress, caller.Encoder.Huffman) = (compress, huffman);
        List<HeaderField> expected = GrpcWire.Request(TestBed.Version, ManyKinds);

        // The third time over, whatever was indexed on the way is used on both connections.
        for (int i = 0; i < 3; i++)
        {
            Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [1, 2, 3], ManyKinds)).Status);
            AssertSameMetadata(expected, bed.Raw.Connections.SelectMany(Heads).ElementAt(i), "request fields");
        }
    }

    [Theory]
    [MemberData(nameof(Encodings))]
    public async Task Response_AnyHeadAndTrailers_ArriveUnchanged(Route route, bool compress, bool huffman)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        List<HeaderField> head = GrpcWire.ResponseHead(ManyKinds);
        List<HeaderField> trailers = GrpcWire.Trailers(
            5,
            [
                ("grpc-message", "not%20found: %E2%82%AC \"x\""), ("grpc-status-details-bin", "CAUSA25vdA"),
                ("grpc-status-details-bin", "CAUSA25vdA=="), .. ManyKinds,
            ]);
        RawConnection? backend = null;
        for (int i = 0; i < 3; i++)
        {
            RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
            backend ??= await bed.Raw.AcceptAsync();
            (backend.Encoder.Compress, backend.Encoder.Huffman) = (compress, huffman);
            RawStream served = await backend.NextStreamAsync();
            await served.EndedAsync();
            await served.SendHeadersAsync(head);
            await served.SendBodyAsync(new byte[] { 9, 8, 7 });
            await served.SendHeadersAsync(trailers, endStream: true);
            await call.ClosedAsync();

            Assert.Equal(2, call.Blocks.Count);
            AssertSameMetadata(head, call.Head, "response head");
            AssertSameMetadata(trailers, call.Trailers, "trailers");
            Octets.AssertEqual([9, 8, 7], call.Body, "the body");
        }
    }

    [Theory]
    [EveryRoute]
    public async Task Response_TrailersOnly_StaysOneBlock(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        List<HeaderField> only =
            GrpcWire.ResponseHead([.. GrpcWire.Trailers(9, [("grpc-message", "no%0Aline"), ("grpc-status-details-bin", "CAk")])]);
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();

        await served.SendHeadersAsync(only, endStream: true);

        await call.ClosedAsync();
        Assert.True(call.TrailersOnly, caller.DescribeLog());
        AssertSameMetadata(only, call.Trailers, "the only block");
    }

    [Theory]
    [InlineData(Route.Bare, 503)]
    [InlineData(Route.Proxy, 503)]
    [InlineData(Route.Bare, 404)]
    [InlineData(Route.Proxy, 404)]
    public async Task Response_HttpStatusNot200_PassesWithItsBody(Route route, int status)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        HeaderField[] head = [(":status", $"{status}"), ("content-type", "text/plain"), ("content-length", "4")];
        RawStream call = await caller.SendCallAsync(TestBed.Version, [1]);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();

        await served.SendHeadersAsync(head);
        await served.SendBodyAsync("oops"u8.ToArray(), endStream: true);

        await call.ClosedAsync();
        AssertSameMetadata(head, call.Head, "the head");
        Octets.AssertEqual("oops"u8, call.Body, "the body");
        Assert.True(call.EndStreamOnData);
    }

    [Theory]
    [EveryRoute]
    public async Task Request_Trailers_ArriveUnchanged(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = caller.OpenStream();
        await call.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));
        await call.SendBodyAsync(new byte[] { 1, 2 });
        await call.SendHeadersAsync([("x-end", "1"), ("x-end", "2")], endStream: true);

        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();

        Octets.AssertSameFields([("x-end", "1"), ("x-end", "2")], served.Trailers, "request trailers");
        Octets.AssertEqual([1, 2], served.Body, "the body");
        await served.RespondAsync([]);
        await call.EndedAsync();
    }

    [Theory]
    [EveryRoute]
    public async Task Request_NeverIndexedField_StaysNeverIndexed(Route route)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        bed.Raw.EchoForever();
        RawConnection caller = await bed.ConnectAsync();
        caller.Encoder.Compress = true;

        await caller.CallAsync(
            TestBed.Version, [], new HeaderField("authorization", "secret", NeverIndexed: true), ("x-plain", "1"));

        IReadOnlyList<HeaderField> seen = Heads(bed.Raw.Connections[0]).First();
        Assert.True(seen.Single(field => field.Name == "authorization").NeverIndexed, "RFC 7541 6.2.3 binds intermediaries");
    }

    [Theory]
    [InlineData(Route.Bare, 1, 200_000)]
    [InlineData(Route.Proxy, 1, 200_000)]
    [InlineData(Route.Bare, 2_000, 20)]
    [InlineData(Route.Proxy, 2_000, 20)]
    [InlineData(Route.Bare, 40, 16_384)]
    [InlineData(Route.Proxy, 40, 16_384)]
    public async Task Metadata_MuchOfIt_PassesBothWays(Route route, int count, int length)
    {
        await using TestBed bed = TestBed.WithRaw(route);
        RawConnection caller = await bed.ConnectAsync();
        HeaderField[] much =
        [
            .. Enumerable.Range(0, count).Select(i => new HeaderField($"x-much-{i}", new string((char)('a' + i % 26), length))),
        ];

        // More than a socket holds: nobody would read it before somebody has accepted.
        Task<RawStream> sending = caller.SendCallAsync(TestBed.Version, [1], much);
        RawConnection backend = await bed.Raw.AcceptAsync();
        RawStream call = await sending;
        RawStream served = await backend.NextStreamAsync();
        await served.EndedAsync();
        AssertSameMetadata(GrpcWire.Request(TestBed.Version, much), served.Head, "request fields");

        await served.SendHeadersAsync(GrpcWire.ResponseHead(much));
        await served.SendHeadersAsync(GrpcWire.Trailers(0, much), endStream: true);

        await call.ClosedAsync();
        AssertSameMetadata(GrpcWire.ResponseHead(much), call.Head, "response head");
        AssertSameMetadata(GrpcWire.Trailers(0, much), call.Trailers, "trailers");
    }

    [Theory]
    [EveryRoute]
    public async Task Request_ThroughKestrelAndHttpHandler_CarriesTheSameFields(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.Otherwise = async call =>
        {
            byte[] body = await call.ReadBodyAsync();
            await call.SendHeadersAsync(("x-head", "1"), ("x-head", "2"), ("x-head-bin", "AAEC"));
            await call.SendAsync(body);
            await call.EndAsync(3, ("x-trailer", "1"), ("x-trailer", "2"), ("grpc-message", "a%20b"));
        };
        HttpAnswerOf(await bed.Http().CallAsync(TestBed.Version, [1, 2, 3], [("x-a", "1"), ("x-b-bin", "AA==")]));

        FakeCall seen = bed.Fake.Calls[0];
        Assert.Equal("1", seen.Header("x-a"));
        Assert.Equal("AA==", seen.Header("x-b-bin"));
        Assert.Equal("trailers", seen.Header("te"));
        Assert.Equal("localhost", seen.Header("host"));
        Assert.Equal(
            ["content-type", "host", "te", "x-a", "x-b-bin"],
            seen.RequestHeaders.Select(field => field.Name).Where(name => !name.StartsWith(':')).Order());

        static void HttpAnswerOf(TestSupport.Callers.HttpAnswer answer)
        {
            Octets.AssertEqual([1, 2, 3], answer.Body, "the body");
            Octets.AssertSameFields(
                [("x-head", "1"), ("x-head", "2"), ("x-head-bin", "AAEC")], answer.Headers.Without("Date", "date"), "the head");
            Octets.AssertSameFields(
                [("grpc-message", "a%20b"), ("grpc-status", "3"), ("x-trailer", "1"), ("x-trailer", "2")],
                answer.Trailers.OrderBy(field => field.Name, StringComparer.Ordinal),
                "the trailers");
        }
    }

    [Theory]
    [EveryRoute]
    public async Task Call_GrpcLibrary_GetsMessageStatusAndDetails(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Version, call => call.EchoAsync());
        bed.Fake.On("/runtime.v1.RuntimeService/ContainerStatus", async call =>
        {
            await call.ReadBodyAsync();
            await call.TrailersOnlyAsync(
                5, ("grpc-message", "no%20such%20container %E2%82%AC"), ("grpc-status-details-bin", "CAUSA25vdA"));
        });
        var runtime = new RuntimeService.RuntimeServiceClient(bed.Http().Channel());

        VersionResponse version = await runtime.VersionAsync(
            new VersionRequest { Version = "0.1.0" }, new Metadata { { "x-m", "v" } }, DateTime.UtcNow.AddMinutes(2));
        RpcException failure = await Assert.ThrowsAsync<RpcException>(async () =>
            await runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = "x" }));

        Assert.Equal("0.1.0", version.Version);
        Assert.Equal("v", bed.Fake.Calls[0].Header("x-m"));
        Assert.NotNull(bed.Fake.Calls[0].Header("grpc-timeout"));
        Assert.Equal(StatusCode.NotFound, failure.StatusCode);
        Assert.Equal("no such container \u20ac", failure.Status.Detail);
        Assert.Equal("not", System.Text.Encoding.ASCII.GetString(failure.Trailers.GetValueBytes("grpc-status-details-bin")![4..]));
    }

    private static IEnumerable<IReadOnlyList<HeaderField>> Heads(RawConnection backend) =>
        Enumerable.Range(0, backend.StreamsArrived).Select(i => backend.Stream(1 + 2 * i).Head);

    /// <summary>The order among different names means nothing (RFC 9110 5.3); among equal ones it does.</summary>
    private static void AssertSameMetadata(IEnumerable<HeaderField> expected, IEnumerable<HeaderField> actual, string what) =>
        Octets.AssertSameFields(
            expected.OrderBy(field => field.Name, StringComparer.Ordinal),
            actual.OrderBy(field => field.Name, StringComparer.Ordinal),
            what);
}
