using System.Text;

namespace CriShim.TestSupport.RawHttp2;

/// <summary>Decodes header blocks by RFC 7541, and is strict: it judges what the proxy encodes.</summary>
public sealed class HpackDecoder
{
    private readonly HpackTable _table = new();

    /// <summary>What SETTINGS_HEADER_TABLE_SIZE allows the other side.</summary>
    public int AllowedTableSize { get; set; } = 4096;

    public int TableCapacity => _table.Capacity;

    public int TableEntries => _table.DynamicCount;

    public IReadOnlyList<HeaderField> Decode(ReadOnlySpan<byte> block)
    {
        var fields = new List<HeaderField>();
        int at = 0;
        while (at < block.Length)
        {
            byte first = block[at];
            if ((first & 0x80) != 0)
            {
                fields.Add(_table[ReadInteger(block, ref at, 7)] with { NeverIndexed = false });
            }
            else if ((first & 0xC0) == 0x40)
            {
                HeaderField field = ReadLiteral(block, ref at, 6);
                _table.Add(field);
                fields.Add(field);
            }
            else if ((first & 0xE0) == 0x20)
            {
                if (fields.Count > 0)
                {
                    throw new HpackException("a table size update after a field");
                }

                int size = ReadInteger(block, ref at, 5);
                if (size > AllowedTableSize)
                {
                    throw new HpackException($"a table size update to {size}, above {AllowedTableSize}");
                }

                _table.Resize(size);
            }
            else
            {
                bool never = (first & 0x10) != 0;
                fields.Add(ReadLiteral(block, ref at, 4) with { NeverIndexed = never });
            }
        }

        return fields;
    }

    private HeaderField ReadLiteral(ReadOnlySpan<byte> block, ref int at, int prefixBits)
    {
        int index = ReadInteger(block, ref at, prefixBits);
        string name = index == 0 ? ReadText(block, ref at) : _table[index].Name;
        return new HeaderField(name, ReadText(block, ref at));
    }

    private static string ReadText(ReadOnlySpan<byte> block, ref int at)
    {
        if (at >= block.Length)
        {
            throw new HpackException("a block that ends before a string");
        }

        bool huffman = (block[at] & 0x80) != 0;
        int length = ReadInteger(block, ref at, 7);
        if (length > block.Length - at)
        {
            throw new HpackException("a string longer than its block");
        }

        ReadOnlySpan<byte> octets = block.Slice(at, length);
        at += length;
        return Encoding.Latin1.GetString(huffman ? HuffmanCode.Decode(octets) : octets);
    }

    private static int ReadInteger(ReadOnlySpan<byte> block, ref int at, int prefixBits)
    {
        int limit = (1 << prefixBits) - 1;
        long value = block[at++] & limit;
        if (value < limit)
        {
            return (int)value;
        }

        for (int shift = 0; ; shift += 7)
        {
            if (at >= block.Length || shift > 28)
            {
                throw new HpackException("an integer that does not end");
            }

            byte octet = block[at++];
            value += (long)(octet & 0x7F) << shift;
            if (value > int.MaxValue)
            {
                throw new HpackException("an integer that is too large");
            }

            if ((octet & 0x80) == 0)
            {
                return (int)value;
            }
        }
    }
}
