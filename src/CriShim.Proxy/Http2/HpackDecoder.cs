namespace CriShim.Proxy.Http2;

/// <summary>How decoding a header block ended.</summary>
internal enum HpackOutcome
{
    /// <summary>The block is whole and proper.</summary>
    Done,

    /// <summary>The block breaks RFC 7541: the tables of both sides may differ from now on (COMPRESSION_ERROR).</summary>
    Broken,

    /// <summary>The fields are more than the limit. The tables are still in step; the fields are incomplete.</summary>
    TooLarge,
}

/// <summary>
/// Decodes header blocks (RFC 7541) with one direction's dynamic table. In steady state nothing is allocated: entries live in
/// one ring of bytes.
/// </summary>
internal sealed class HpackDecoder
{
    /// <summary>SETTINGS_HEADER_TABLE_SIZE as announced, which is HTTP/2's own default.</summary>
    public const int TableSizeLimit = 4096;

    private const int EntryOverhead = 32;

    // Entries are kept whole: live ones take at most 4096 bytes, and the gap before a wrap is less than one entry.
    private readonly byte[] _ring = new byte[3 * TableSizeLimit];
    private readonly Entry[] _entries = new Entry[(TableSizeLimit / EntryOverhead) + 1];
    private int _newest;
    private int _count;
    private int _ringEnd;
    private int _size;
    private int _sizeLimit = TableSizeLimit;

    /// <summary>Decodes a whole block into <paramref name="fields"/>, which is cleared first.</summary>
    public HpackOutcome Decode(ReadOnlySpan<byte> block, HeaderList fields, int sizeLimit)
    {
        fields.Clear();
        bool tooLarge = false;
        bool fieldSeen = false;
        while (!block.IsEmpty)
        {
            byte first = block[0];
            if ((first & 0x80) != 0)
            {
                if (!TryReadInteger(ref block, 7, out int index) || !TryGet(index, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value))
                {
                    return HpackOutcome.Broken;
                }

                fieldSeen = true;
                if (!tooLarge)
                {
                    fields.Add(name, value);
                }
            }
            else if ((first & 0xe0) == 0x20)
            {
                // A size update stands only at the beginning of a block (RFC 7541, 4.2).
                if (fieldSeen || !TryReadInteger(ref block, 5, out int size) || size > TableSizeLimit)
                {
                    return HpackOutcome.Broken;
                }

                _sizeLimit = size;
                Evict(0);
            }
            else
            {
                bool indexed = (first & 0xc0) == 0x40;
                bool neverIndexed = (first & 0xf0) == 0x10;
                fieldSeen = true;
                if (tooLarge)
                {
                    // The tables must stay in step, so the rest is decoded as well; only the fields are dropped.
                    fields.Clear();
                }

                if (!TryReadInteger(ref block, indexed ? 6 : 4, out int nameIndex)
                    || !TryReadLiteral(ref block, nameIndex, fields, out int nameLength, out int valueLength))
                {
                    return HpackOutcome.Broken;
                }

                fields.Commit(nameLength, valueLength, neverIndexed);
                if (indexed)
                {
                    Insert(fields.Name(fields.Count - 1), fields.Value(fields.Count - 1));
                }
            }

            tooLarge |= fields.Size > sizeLimit;
        }

        return tooLarge ? HpackOutcome.TooLarge : HpackOutcome.Done;
    }

    private static bool TryReadInteger(ref ReadOnlySpan<byte> block, int prefixBits, out int value)
    {
        int mask = (1 << prefixBits) - 1;
        value = block[0] & mask;
        block = block[1..];
        if (value < mask)
        {
            return true;
        }

        // Five octets of seven bits more than cover every size that can be meant; longer ones are an attack.
        long sum = value;
        for (int i = 0; i < 5; i++)
        {
            if (i == block.Length)
            {
                return false;
            }

            sum += (long)(block[i] & 0x7f) << (7 * i);
            if ((block[i] & 0x80) == 0)
            {
                block = block[(i + 1)..];
                value = (int)sum;
                return sum <= int.MaxValue;
            }
        }

        return false;
    }

    private bool TryReadLiteral(
        ref ReadOnlySpan<byte> block, int nameIndex, HeaderList fields, out int nameLength, out int valueLength)
    {
        nameLength = 0;
        valueLength = 0;
        if (nameIndex != 0)
        {
            if (!TryGet(nameIndex, out ReadOnlySpan<byte> name, out _))
            {
                return false;
            }

            nameLength = name.Length;
            name.CopyTo(fields.Reserve(nameLength));
        }
        else if (!TryReadString(ref block, fields, 0, out nameLength))
        {
            return false;
        }

        return TryReadString(ref block, fields, nameLength, out valueLength);
    }

    private static bool TryReadString(ref ReadOnlySpan<byte> block, HeaderList fields, int offset, out int length)
    {
        length = 0;
        if (block.IsEmpty)
        {
            return false;
        }

        bool huffman = (block[0] & 0x80) != 0;
        if (!TryReadInteger(ref block, 7, out int encodedLength) || encodedLength > block.Length)
        {
            return false;
        }

        ReadOnlySpan<byte> encoded = block[..encodedLength];
        block = block[encodedLength..];
        if (huffman)
        {
            length = HuffmanDecoder.Decode(encoded, fields.Reserve(offset + HuffmanDecoder.MaxDecodedLength(encodedLength))[offset..]);
            return length >= 0;
        }

        encoded.CopyTo(fields.Reserve(offset + encodedLength)[offset..]);
        length = encodedLength;
        return true;
    }

    private bool TryGet(int index, out ReadOnlySpan<byte> name, out ReadOnlySpan<byte> value)
    {
        if (index is > 0 and <= HpackStaticTable.Count)
        {
            name = HpackStaticTable.Name(index);
            value = HpackStaticTable.Value(index);
            return true;
        }

        int age = index - HpackStaticTable.Count - 1;
        if (age < 0 || age >= _count)
        {
            name = default;
            value = default;
            return false;
        }

        Entry entry = _entries[(_newest - age + _entries.Length) % _entries.Length];
        name = _ring.AsSpan(entry.Start, entry.NameLength);
        value = _ring.AsSpan(entry.Start + entry.NameLength, entry.ValueLength);
        return true;
    }

    private void Insert(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        int length = name.Length + value.Length;
        int needed = length + EntryOverhead;
        Evict(needed);
        if (needed > _sizeLimit)
        {
            // Not an error: it just empties the table (RFC 7541, 4.4).
            return;
        }

        int start = _ringEnd + length <= _ring.Length ? _ringEnd : 0;
        name.CopyTo(_ring.AsSpan(start));
        value.CopyTo(_ring.AsSpan(start + name.Length));
        _ringEnd = start + length;
        _newest = (_newest + 1) % _entries.Length;
        _entries[_newest] = new Entry(start, name.Length, value.Length);
        _count++;
        _size += needed;
    }

    private void Evict(int needed)
    {
        while (_count > 0 && _size + needed > _sizeLimit)
        {
            Entry oldest = _entries[(_newest - _count + 1 + _entries.Length) % _entries.Length];
            _size -= oldest.NameLength + oldest.ValueLength + EntryOverhead;
            _count--;
        }
    }

    private readonly record struct Entry(int Start, int NameLength, int ValueLength);
}
