using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;
using CriShim.TestSupport.Transcripts;
using Google.Protobuf;

namespace CriShim.Proxy.Tests.Fuzz;

/// <summary>Good connections to begin from: kubelets' own calls, as frames.</summary>
internal static class WireSeeds
{
    /// <summary>Longer messages only make the fuzzer slower.</summary>
    private const int MaxMessage = 4096;

    private static readonly TranscriptCall[] Calls =
    [
        .. Transcript.Calls.Where(call => call.Request.CalculateSize() <= MaxMessage)
            .GroupBy(call => call.Path).SelectMany(calls => calls.DistinctBy(call => call.Request).Take(40)),
    ];

    /// <summary>What a caller sends after the preface: SETTINGS, then one to six calls, their DATA in one or more frames, as often as not interleaved.</summary>
    public static List<Frame> Connection(Random random)
    {
        var encoder = new HpackEncoder { Compress = random.Next(4) > 0, Huffman = random.Next(2) == 0 };
        var frames = new List<Frame> { Frame.Settings((Setting.InitialWindowSize, (uint)random.Next(0, 1 << 20))) };
        if (random.Next(2) == 0)
        {
            frames.Add(Frame.WindowUpdate(0, (uint)random.Next(1, 1 << 24)));
        }

        var held = new List<Frame>();
        int calls = random.Next(1, 7);
        for (int i = 0; i < calls; i++)
        {
            TranscriptCall call = Calls[random.Next(Calls.Length)];
            int id = 1 + (2 * i);
            IEnumerable<HeaderField> fields = GrpcWire.Request(call.Path, ("grpc-timeout", "119999826u"), ("x-n", $"{random.Next(50)}"))
                .Select(field => field.Name == ":authority" ? new HeaderField(":authority", call.Authority) : field);
            byte[] block = encoder.Encode(fields);
            int cut = random.Next(3) == 0 ? random.Next(block.Length) : block.Length;
            frames.Add(Frame.Headers(id, block.AsSpan(0, cut), endHeaders: cut == block.Length));
            if (cut < block.Length)
            {
                frames.Add(Frame.Continuation(id, block.AsSpan(cut), endHeaders: true));
            }

            byte[] body = GrpcWire.Message(call.Request.ToByteArray());
            int split = random.Next(3) == 0 ? random.Next(body.Length) : body.Length;
            frames.Add(Frame.Data(id, body.AsSpan(0, split), endStream: split == body.Length));
            if (split < body.Length)
            {
                (random.Next(2) == 0 ? frames : held).Add(Frame.Data(id, body.AsSpan(split), endStream: true, padding: random.Next(2) == 0 ? null : 7));
            }
        }

        frames.AddRange(held);
        return frames;
    }

    /// <summary>What a backend sends: SETTINGS, then the answers to calls on streams 1, 3, 5.</summary>
    public static List<Frame> Answers(Random random)
    {
        var encoder = new HpackEncoder { Compress = true, Huffman = random.Next(2) == 0 };
        var frames = new List<Frame> { Frame.Settings((Setting.MaxConcurrentStreams, (uint)random.Next(1, 200))), Frame.SettingsAck() };
        for (int id = 1; id <= 5; id += 2)
        {
            TranscriptCall call = Calls[random.Next(Calls.Length)];
            byte[] body = GrpcWire.Message(call.Response?.ToByteArray() ?? []);
            body = body.Length > MaxMessage ? GrpcWire.Message([]) : body;
            frames.Add(Frame.Headers(id, encoder.Encode(GrpcWire.ResponseHead())));
            frames.Add(Frame.Data(id, body));
            frames.Add(Frame.Headers(id, encoder.Encode(GrpcWire.Trailers(random.Next(3) == 0 ? 5 : 0)), endStream: true));
        }

        return frames;
    }
}
