using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests.Fuzz;

/// <summary>Breaks good frames: one or a few offences at any place, from a single bit to whole frames out of order.</summary>
internal static class WireMutation
{
    private static readonly byte[] Edges = [0, 1, 0x7f, 0x80, 0xff, 0x20, 0x3f, 0x40];

    public static byte[] Apply(Random random, List<Frame> frames, List<Frame> others)
    {
        int offences = 1 + random.Next(3);
        for (int i = 0; i < offences && frames.Count > 0; i++)
        {
            int at = random.Next(frames.Count);
            Frame frame = frames[at];
            switch (random.Next(11))
            {
                case 0:
                    frames[at] = frame with { Payload = Broken(random, frame.Payload) };
                    break;
                case 1:
                    frames[at] = frame with { Type = (FrameType)(random.Next(4) == 0 ? random.Next(256) : random.Next(11)) };
                    break;
                case 2:
                    frames[at] = frame with { Flags = (FrameFlags)random.Next(256) };
                    break;
                case 3:
                    frames[at] = frame with { StreamId = random.Next(4) == 0 ? random.Next() : random.Next(14) };
                    break;
                case 4:
                    frames.RemoveAt(at);
                    break;
                case 5:
                    frames.Insert(at, frames[random.Next(frames.Count)]);
                    break;
                case 6:
                    int other = random.Next(frames.Count);
                    (frames[at], frames[other]) = (frames[other], frame);
                    break;
                case 7 when others.Count > 0:
                    frames.Insert(at, others[random.Next(others.Count)]);
                    break;
                case 8:
                    frames.Insert(at, new Frame((FrameType)random.Next(11), (FrameFlags)random.Next(64), random.Next(12), Noise(random, 40)));
                    break;
                case 9:
                    int length = random.Next(frame.Payload.Length + 1);
                    frames[at] = frame with { Payload = frame.Payload[..length] };
                    break;
                default:
                    frames[at] = frame with { Payload = [.. frame.Payload, .. Noise(random, 30)] };
                    break;
            }
        }

        byte[] wire = [.. frames.SelectMany(frame => frame.ToArray())];
        return random.Next(6) switch
        {
            // Lengths, too, and what no frame boundary explains.
            0 => Broken(random, wire),
            1 => wire[..random.Next(wire.Length + 1)],
            _ => wire,
        };
    }

    /// <summary>One to four octets changed, taken out, or put in.</summary>
    public static byte[] Broken(Random random, byte[] octets)
    {
        if (octets.Length == 0)
        {
            return Noise(random, 8);
        }

        var broken = new List<byte>(octets);
        for (int i = random.Next(4); i >= 0 && broken.Count > 0; i--)
        {
            int at = random.Next(broken.Count);
            switch (random.Next(5))
            {
                case 0:
                    broken[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    broken[at] = Edges[random.Next(Edges.Length)];
                    break;
                case 2:
                    broken.RemoveAt(at);
                    break;
                case 3:
                    broken.Insert(at, (byte)random.Next(256));
                    break;
                default:
                    int from = random.Next(broken.Count);
                    broken.InsertRange(at, broken.GetRange(from, Math.Min(random.Next(16), broken.Count - from)));
                    break;
            }
        }

        return [.. broken];
    }

    private static byte[] Noise(Random random, int most)
    {
        var noise = new byte[random.Next(most + 1)];
        random.NextBytes(noise);
        return noise;
    }
}
