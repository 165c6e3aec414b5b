using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Proofs;
using CriShim.TestSupport.RawHttp2;
using CsCheck;

namespace CriShim.Proxy.Tests;

/// <summary>Every method of package <c>runtime.*</c>, known or not, passes octet for octet.</summary>
public sealed class MethodForwardingTests
{
    private static readonly string[] Unknown =
    [
        "/runtime.v1.RuntimeService/Brandnew",
        "/runtime.v2.RuntimeService/X",
        "/runtime.v1alpha2.ImageService/Y",
        "/runtime.v1.SnapshotService/Z",
    ];

    public static TheoryData<Route, string> EveryMethod()
    {
        var rows = new TheoryData<Route, string>();
        foreach (Route route in Enum.GetValues<Route>())
        {
            foreach (string path in KnownMethods().Concat(Unknown))
            {
                rows.Add(route, path);
            }
        }

        return rows;
    }

    public static TheoryData<Route, string, string> OddBodies()
    {
        var rows = new TheoryData<Route, string, string>();
        foreach (Route route in Enum.GetValues<Route>())
        {
            rows.Add(route, "no message at all", "");
            rows.Add(route, "an empty message", "0000000000");
            rows.Add(route, "field 1 with a varint longer than needed", "00000000080a86808080000a0100");
            rows.Add(route, "a field twice, the last one first", "000000000812026262080112016108");
            rows.Add(route, "fields unknown to everybody", "000000000cfaffffff0f03010203f8ff07");
            rows.Add(route, "a group that never ends", "0000000003131b23");
            rows.Add(route, "no protobuf", "000000000affffffffffffffffffff");
            rows.Add(route, "a prefix with an unknown flag", "8000000003010203");
            rows.Add(route, "several messages", "00000000010a" + "0000000000" + "0000000002" + "0b0c");
            rows.Add(route, "a prefix cut short", "000000");
            rows.Add(route, "a length beyond the end", "00000000ff0102");
            rows.Add(route, "compressed", "0100000014" + "1f8b0800000000000003" + "00112233445566778899");
        }

        return rows;
    }

    [Theory]
    [MemberData(nameof(EveryMethod))]
    public async Task Call_AnyRuntimeMethod_PassesBothWays(Route route, string path)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        byte[] request = GrpcWire.Message(Encoding.ASCII.GetBytes("\x0a\x03abc\x7a\x04late" + path));
        byte[] answer = GrpcWire.Message(Encoding.ASCII.GetBytes("\x12\x02yz" + path));
        bed.Fake.Otherwise = async call =>
        {
            await call.ReadBodyAsync();
            await call.SendHeadersAsync();
            await call.SendAsync(answer);
            await call.EndAsync();
        };
        RawConnection caller = await bed.ConnectAsync();

        RawStream stream = await caller.CallAsync(path, request);

        Assert.Equal("0", stream.Status);
        Octets.AssertEqual(answer, stream.Body, "the answer");
        FakeCall seen = Assert.Single(bed.Fake.Calls);
        Assert.Equal(path, seen.Path);
        Octets.AssertEqual(request, seen.Body, "the request");
    }

    [Theory]
    [MemberData(nameof(OddBodies))]
    public async Task Call_OddBody_PassesBothWaysOnEveryMethod(Route route, string kind, string hex)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        byte[] body = Convert.FromHexString(hex);
        RawConnection caller = await bed.ConnectAsync();
        foreach (string path in KnownMethods().Concat(Unknown))
        {
            RawStream stream = await caller.CallAsync(path, body);

            Assert.Equal("0", stream.Status);
            Octets.AssertEqual(body, stream.Body, $"the answer with {kind} on {path}");
            Octets.AssertEqual(body, bed.Fake.Calls[^1].Body, $"the request with {kind} on {path}");
        }
    }

    [Theory]
    [EveryRoute]
    public async Task Call_EndedByItsHead_HasNoBodyAtTheBackend(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();

        RawStream stream = await caller.CallAsync(TestBed.Version, body: null);

        Assert.Equal("0", stream.Status);
        Assert.Empty(bed.Fake.Calls[0].Body);
    }

    [Fact]
    public async Task Call_BodyNobodyCanRead_IsNoErrorOfTheProxy()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();

        await caller.CallAsync("/runtime.v1.RuntimeService/StopContainer", GrpcWire.Message([0xff]));

        // What a caller sends must not fill the node's journal with stack traces.
        Assert.Empty(bed.Log.Unread);
    }

    [Theory]
    [EveryRoute]
    public async Task Call_RandomBodies_PassBothWays(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        RawConnection caller = await bed.ConnectAsync();
        string[] paths = [.. KnownMethods().Concat(Unknown)];
        await Gen.Select(Gen.Int[0, paths.Length - 1].Select(i => paths[i]), Gen.Byte.Array[0, 3000]).CheckFixedAsync(
            async call =>
            {
                (string path, byte[] body) = call;
                RawStream stream = await caller.CallAsync(path, body);
                Assert.Equal("0", stream.Status);
                Octets.AssertEqual(body, stream.Body, path);
            },
            200);
    }

    [Theory]
    [EveryRoute]
    public async Task Call_CallerStreaming_EachMessageArrivesBeforeTheNextExists(Route route)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(route);
        bed.Fake.On(TestBed.Brandnew, async call =>
        {
            while (await call.ReadMessageAsync() is { } message)
            {
                await call.SendAsync(message);
            }

            await call.EndAsync();
        });
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request(TestBed.Brandnew));

        var sent = new List<byte>();
        for (int i = 0; i < 20; i++)
        {
            byte[] message = GrpcWire.Message(Octets.Varied(i * 37, seed: i));
            await stream.SendBodyAsync(message);
            sent.AddRange(message);
            await stream.BodyLengthAsync(sent.Count);
        }

        await stream.SendBodyAsync(ReadOnlyMemory<byte>.Empty, endStream: true);
        await stream.EndedAsync();
        Assert.Equal("0", stream.Status);
        Octets.AssertEqual(sent.ToArray(), stream.Body, "the echoed messages");
    }

    private static IEnumerable<string> KnownMethods() =>
        new[] { RuntimeService.Descriptor, ImageService.Descriptor }
            .SelectMany(service => service.Methods.Select(method => $"/{service.FullName}/{method.Name}"));
}
