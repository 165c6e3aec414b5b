using CriShim.TestSupport;
using CriShim.TestSupport.Proofs;
using CriShim.TestSupport.RawHttp2;
using CsCheck;

namespace CriShim.Proxy.Tests;

/// <summary>Random offences: the proxy lives, its other callers are served, and its backend sees nothing but good HTTP/2.</summary>
public sealed class FuzzTests
{
    private static readonly Gen<Frame> AnyFrame = Gen.Select(
        Gen.Frequency((8, Gen.Byte[0, 9]), (1, Gen.Byte)),
        Gen.Byte,
        Gen.Frequency((6, Gen.Int[0, 9]), (1, Gen.Int)),
        Gen.Byte.Array[0, 64],
        (type, flags, stream, payload) => new Frame((FrameType)type, (FrameFlags)flags, stream, payload));

    /// <summary>Mostly good calls, some broken in one place: deeper into the engine than noise gets.</summary>
    private static readonly Gen<byte[]> AlmostCalls = Gen.Select(
        Gen.Int[0, 40],
        Gen.Int[0, 3000],
        Gen.Int[0, 400],
        Gen.Byte,
        (calls, bodyLength, at, octet) =>
        {
            var wire = new List<byte>();
            var encoder = new HpackEncoder { Compress = true, Huffman = octet % 2 == 0 };
            for (int i = 0; i < calls; i++)
            {
                int id = 1 + 2 * i;
                wire.AddRange(Frame.Headers(id, encoder.Encode(GrpcWire.Request(TestBed.Brandnew, ("x-i", $"{i}")))).ToArray());
                wire.AddRange(Frame.Data(id, Octets.Varied(bodyLength), endStream: true).ToArray());
            }

            if (at < wire.Count)
            {
                wire[at] ^= octet;
            }

            return wire.ToArray();
        });

    [Fact]
    public async Task Noise_InsteadOfHttp2_HarmsNobody() =>
        await RunAsync(Gen.Byte.Array[0, 400], greet: false, iterations: 200);

    [Fact]
    public async Task Noise_AfterThePreface_HarmsNobody() =>
        await RunAsync(Gen.Byte.Array[0, 400], greet: true, iterations: 200);

    [Fact]
    public async Task RandomFrames_HarmNobody() =>
        await RunAsync(
            AnyFrame.Array[1, 30].Select(frames => frames.SelectMany(frame => frame.ToArray()).ToArray()),
            greet: true,
            iterations: 400);

    [Fact]
    public async Task AlmostGoodCalls_HarmNobody() => await RunAsync(AlmostCalls, greet: true, iterations: 200);

    private static async Task RunAsync(Gen<byte[]> wires, bool greet, int iterations)
    {
        await using TestBed bed = TestBed.WithRaw(Route.Proxy);
        bed.Raw.EchoForever();
        await using RawConnection good = await RawConnection.ConnectAsync(bed.CallerPath);
        await wires.CheckFixedAsync(
            async wire =>
            {
                await using RawConnection bad = await RawConnection.ConnectAsync(bed.CallerPath, new RawConnectionOptions { Greet = greet });
                await bad.WriteRawAsync(wire);
                byte[] body = Octets.Varied(100);
                RawStream answer = await good.CallAsync(TestBed.Brandnew, body);
                Assert.Equal("0", answer.Status);
                Octets.AssertEqual(body, answer.Body, "the well-behaved caller's answer");
            },
            iterations,
            Convert.ToHexStringLower);

        Assert.All(bed.Raw.Connections, backend => Assert.Empty(backend.Violations));
        await bed.AssertOthersAreServedAsync();
    }
}
