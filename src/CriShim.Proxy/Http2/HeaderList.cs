namespace CriShim.Proxy.Http2;

/// <summary>The decoded fields of one header block, in order; reused from block to block.</summary>
internal sealed class HeaderList
{
    private byte[] _bytes = new byte[1024];
    private Field[] _fields = new Field[32];
    private int _used;

    /// <summary>The number of fields.</summary>
    public int Count { get; private set; }

    /// <summary>The size as HTTP/2 counts it (RFC 9113, 6.5.2): names, values, and 32 bytes a field.</summary>
    public int Size { get; private set; }

    public ReadOnlySpan<byte> Name(int index) => _bytes.AsSpan(_fields[index].Start, _fields[index].NameLength);

    public ReadOnlySpan<byte> Value(int index) =>
        _bytes.AsSpan(_fields[index].Start + _fields[index].NameLength, _fields[index].ValueLength);

    /// <summary>The sender forbids putting this field into any compression table (RFC 7541, 7.1.3).</summary>
    public bool IsNeverIndexed(int index) => _fields[index].NeverIndexed;

    public void Clear()
    {
        Count = 0;
        Size = 0;
        _used = 0;
    }

    public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool neverIndexed = false)
    {
        Span<byte> room = Reserve(name.Length + value.Length);
        name.CopyTo(room);
        value.CopyTo(room[name.Length..]);
        Commit(name.Length, value.Length, neverIndexed);
    }

    /// <summary>Room for a name and a value together; <see cref="Commit"/> makes them a field.</summary>
    public Span<byte> Reserve(int length)
    {
        if (_bytes.Length - _used < length)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _used + length));
        }

        return _bytes.AsSpan(_used, length);
    }

    public void Commit(int nameLength, int valueLength, bool neverIndexed)
    {
        if (Count == _fields.Length)
        {
            Array.Resize(ref _fields, Count * 2);
        }

        _fields[Count++] = new Field(_used, nameLength, valueLength, neverIndexed);
        _used += nameLength + valueLength;
        Size += nameLength + valueLength + 32;
    }

    /// <summary>The index of the first field of this name, or -1.</summary>
    public int Find(ReadOnlySpan<byte> name)
    {
        for (int i = 0; i < Count; i++)
        {
            if (Name(i).SequenceEqual(name))
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>Gives back what an unusually large block made it hold.</summary>
    public void Trim()
    {
        if (_bytes.Length > 64 * 1024)
        {
            _bytes = new byte[1024];
            _fields = new Field[32];
            Clear();
        }
    }

    private readonly record struct Field(int Start, int NameLength, int ValueLength, bool NeverIndexed);
}
