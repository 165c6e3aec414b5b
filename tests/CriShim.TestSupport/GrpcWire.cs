using System.Buffers.Binary;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.TestSupport;

/// <summary>gRPC's shapes on the wire.</summary>
public static class GrpcWire
{
    public const int Ok = 0;
    public const int Cancelled = 1;
    public const int Unimplemented = 12;
    public const int Internal = 13;
    public const int Unavailable = 14;

    /// <summary>A length-prefixed message.</summary>
    public static byte[] Message(ReadOnlySpan<byte> payload, bool compressed = false)
    {
        var wire = new byte[5 + payload.Length];
        wire[0] = compressed ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt32BigEndian(wire.AsSpan(1), payload.Length);
        payload.CopyTo(wire.AsSpan(5));
        return wire;
    }

    /// <summary>The header block that grpc-go sends for a call, with <paramref name="extra"/> at its end.</summary>
    public static List<HeaderField> Request(string path, params IEnumerable<HeaderField> extra) =>
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.72.2"),
        ("te", "trailers"),
        .. extra,
    ];

    public static List<HeaderField> ResponseHead(params IEnumerable<HeaderField> extra) =>
        [(":status", "200"), ("content-type", "application/grpc"), .. extra];

    public static List<HeaderField> Trailers(int status, params IEnumerable<HeaderField> extra) =>
        [("grpc-status", $"{status}"), .. extra];
}
