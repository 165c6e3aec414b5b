namespace CriShim.TestSupport.RawHttp2;

/// <summary>
/// The Huffman code of RFC 7541 appendix B. It is canonical (codes ascend by length, then by symbol), so the lengths say it all.
/// </summary>
public static class HuffmanCode
{
    private const int EndOfString = 256;

    private static readonly byte[] Lengths =
    [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, // 0x00
        28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, // 0x10
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, // 0x20
        5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, // 0x30
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, // 0x40
        7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, // 0x50
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, // 0x60
        6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, // 0x70
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, // 0x80
        24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, // 0x90
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, // 0xa0
        21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, // 0xb0
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, // 0xc0
        19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, // 0xd0
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, // 0xe0
        26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, // 0xf0
        30,
    ];

    private static readonly uint[] Codes = AssignCodes();
    private static readonly Dictionary<(int Length, uint Code), int> Symbols = IndexSymbols();

    public static byte[] Encode(ReadOnlySpan<byte> text)
    {
        var output = new List<byte>(text.Length);
        ulong pending = 0;
        int bits = 0;
        foreach (byte symbol in text)
        {
            pending = (pending << Lengths[symbol]) | Codes[symbol];
            bits += Lengths[symbol];
            while (bits >= 8)
            {
                bits -= 8;
                output.Add((byte)(pending >> bits));
            }

            pending &= (1UL << bits) - 1;
        }

        if (bits > 0)
        {
            output.Add((byte)((pending << (8 - bits)) | (0xFFu >> bits)));
        }

        return [.. output];
    }

    public static byte[] Decode(ReadOnlySpan<byte> coded)
    {
        var output = new List<byte>(coded.Length * 2);
        uint code = 0;
        int length = 0;
        foreach (byte octet in coded)
        {
            for (int bit = 7; bit >= 0; bit--)
            {
                code = (code << 1) | ((uint)octet >> bit & 1);
                length++;
                if (Symbols.TryGetValue((length, code), out int symbol))
                {
                    if (symbol == EndOfString)
                    {
                        throw new HpackException("the end-of-string symbol inside a Huffman string");
                    }

                    output.Add((byte)symbol);
                    code = 0;
                    length = 0;
                }
                else if (length > 30)
                {
                    throw new HpackException("no symbol has this Huffman code");
                }
            }
        }

        if (length > 7 || code != (1u << length) - 1)
        {
            throw new HpackException("Huffman padding that is no prefix of the end-of-string code");
        }

        return [.. output];
    }

    private static uint[] AssignCodes()
    {
        var codes = new uint[Lengths.Length];
        uint next = 0;
        int previous = 0;
        foreach (int symbol in Enumerable.Range(0, Lengths.Length).OrderBy(s => Lengths[s]).ThenBy(s => s))
        {
            next <<= Lengths[symbol] - previous;
            previous = Lengths[symbol];
            codes[symbol] = next++;
        }

        return codes;
    }

    private static Dictionary<(int Length, uint Code), int> IndexSymbols()
    {
        var symbols = new Dictionary<(int Length, uint Code), int>();
        for (int symbol = 0; symbol < Lengths.Length; symbol++)
        {
            symbols.Add((Lengths[symbol], Codes[symbol]), symbol);
        }

        return symbols;
    }
}
