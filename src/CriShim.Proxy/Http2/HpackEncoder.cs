namespace CriShim.Proxy.Http2;

/// <summary>
/// Encodes header fields as literals that touch no table, so that a block means the same whenever it is sent: blocks can be
/// made ahead, kept and dropped.
/// </summary>
internal static class HpackEncoder
{
    /// <summary>A dynamic table size update to zero: this side uses no table.</summary>
    public const byte EmptyTable = 0x20;

    /// <summary>An upper bound of what one field takes.</summary>
    public static int MaxLength(int nameLength, int valueLength) => 1 + 5 + nameLength + 5 + valueLength;

    /// <summary>Writes one field.</summary>
    /// <returns>The number of bytes written.</returns>
    public static int Encode(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool neverIndexed, Span<byte> output)
    {
        if (!neverIndexed && name[0] == (byte)':')
        {
            int index = WellKnown(name, value);
            if (index != 0)
            {
                output[0] = (byte)(0x80 | index);
                return 1;
            }
        }

        output[0] = neverIndexed ? (byte)0x10 : (byte)0x00;
        int at = 1;
        at += WriteString(name, output[at..]);
        at += WriteString(value, output[at..]);
        return at;
    }

    private static int WellKnown(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (name.SequenceEqual(":status"u8))
        {
            return value.SequenceEqual("200"u8) ? 8 : 0;
        }

        if (name.SequenceEqual(":method"u8))
        {
            return value.SequenceEqual("POST"u8) ? 3 : 0;
        }

        return name.SequenceEqual(":scheme"u8) && value.SequenceEqual("http"u8) ? 6 : 0;
    }

    private static int WriteString(ReadOnlySpan<byte> text, Span<byte> output)
    {
        int at = WriteInteger(text.Length, 7, output);
        text.CopyTo(output[at..]);
        return at + text.Length;
    }

    private static int WriteInteger(int value, int prefixBits, Span<byte> output)
    {
        int mask = (1 << prefixBits) - 1;
        if (value < mask)
        {
            output[0] = (byte)value;
            return 1;
        }

        output[0] = (byte)mask;
        value -= mask;
        int at = 1;
        while (value >= 0x80)
        {
            output[at++] = (byte)(0x80 | (value & 0x7f));
            value >>= 7;
        }

        output[at++] = (byte)value;
        return at;
    }
}
