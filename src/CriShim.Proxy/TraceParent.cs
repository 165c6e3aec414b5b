using System.Buffers.Binary;

namespace CriShim.Proxy;

/// <summary>Where a call belongs in its caller's trace: W3C Trace Context's <c>traceparent</c>, of a trace that is recorded.</summary>
/// <param name="TraceHigh">The trace id's first 8 bytes.</param>
/// <param name="TraceLow">The trace id's last 8 bytes.</param>
/// <param name="SpanId">The caller's span.</param>
public readonly record struct TraceParent(ulong TraceHigh, ulong TraceLow, ulong SpanId)
{
    // 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    private const int Length = 55;

    /// <summary>Reads the field; false where it is none, or the trace is not recorded.</summary>
    public static bool TryParse(ReadOnlySpan<byte> field, out TraceParent parent)
    {
        parent = default;
        if (field.Length < Length || field[2] != '-' || field[35] != '-' || field[52] != '-'
            || (field.Length > Length && (field.StartsWith("00"u8) || field[Length] != '-')))
        {
            // Later versions may have more behind, after another hyphen.
            return false;
        }

        Span<byte> bytes = stackalloc byte[26];
        if (!TryReadHex(field[..2], bytes) || !TryReadHex(field[3..35], bytes[1..]) || !TryReadHex(field[36..52], bytes[17..])
            || !TryReadHex(field[53..55], bytes[25..]) || bytes[0] == 0xff || (bytes[25] & 1) == 0)
        {
            return false;
        }

        parent = new TraceParent(
            BinaryPrimitives.ReadUInt64BigEndian(bytes[1..]), BinaryPrimitives.ReadUInt64BigEndian(bytes[9..]),
            BinaryPrimitives.ReadUInt64BigEndian(bytes[17..]));
        return (parent.TraceHigh | parent.TraceLow) != 0 && parent.SpanId != 0;
    }

    /// <summary>Lower case alone, as the specification has it.</summary>
    private static bool TryReadHex(ReadOnlySpan<byte> text, Span<byte> bytes)
    {
        for (int i = 0; i < text.Length; i++)
        {
            int digit = text[i] switch
            {
                >= (byte)'0' and <= (byte)'9' => text[i] - '0',
                >= (byte)'a' and <= (byte)'f' => text[i] - 'a' + 10,
                _ => -1,
            };
            if (digit < 0)
            {
                return false;
            }

            bytes[i / 2] = (byte)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
        }

        return true;
    }
}
