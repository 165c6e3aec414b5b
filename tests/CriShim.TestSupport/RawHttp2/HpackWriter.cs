namespace CriShim.TestSupport.RawHttp2;

/// <summary>Writes single HPACK representations, right or wrong ones: it checks nothing.</summary>
public sealed class HpackWriter
{
    private readonly List<byte> _block = [];

    public byte[] ToArray() => [.. _block];

    public HpackWriter Raw(params ReadOnlySpan<byte> octets)
    {
        _block.AddRange(octets);
        return this;
    }

    public HpackWriter Indexed(int index) => Integer(0x80, 7, index);

    public HpackWriter TableSizeUpdate(int size) => Integer(0x20, 5, size);

    public HpackWriter Literal(
        HeaderField field, FieldForm form = FieldForm.WithoutIndexing, bool huffman = false, int nameIndex = 0)
    {
        (byte pattern, int bits) = form switch
        {
            FieldForm.WithIndexing => ((byte)0x40, 6),
            FieldForm.NeverIndexed => ((byte)0x10, 4),
            _ => ((byte)0x00, 4),
        };
        Integer(pattern, bits, nameIndex);
        if (nameIndex == 0)
        {
            Text(field.NameBytes, huffman);
        }

        return Text(field.ValueBytes, huffman);
    }

    public HpackWriter Text(ReadOnlySpan<byte> octets, bool huffman)
    {
        ReadOnlySpan<byte> coded = huffman ? HuffmanCode.Encode(octets) : octets;
        Integer(huffman ? (byte)0x80 : (byte)0, 7, coded.Length);
        return Raw(coded);
    }

    public HpackWriter Integer(byte pattern, int prefixBits, int value)
    {
        int limit = (1 << prefixBits) - 1;
        if (value < limit)
        {
            _block.Add((byte)(pattern | value));
            return this;
        }

        _block.Add((byte)(pattern | limit));
        for (value -= limit; value >= 0x80; value >>= 7)
        {
            _block.Add((byte)(value & 0x7F | 0x80));
        }

        _block.Add((byte)value);
        return this;
    }
}

/// <summary>How a literal field stands in a block.</summary>
public enum FieldForm
{
    WithoutIndexing,
    WithIndexing,
    NeverIndexed,
}
