namespace CriShim.TestSupport.RawHttp2;

/// <summary>The index space of RFC 7541: the static table, then the dynamic one, newest first.</summary>
internal sealed class HpackTable
{
    private static readonly HeaderField[] Static =
    [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
        ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
        ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
        ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
        ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
        ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
        ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
        ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
        ("www-authenticate", ""),
    ];

    private readonly LinkedList<HeaderField> _dynamic = new();
    private int _size;

    public int Capacity { get; private set; } = 4096;

    public int DynamicCount => _dynamic.Count;

    public HeaderField this[int index]
    {
        get
        {
            if (index < 1 || index > Static.Length + _dynamic.Count)
            {
                throw new HpackException($"index {index} is outside the table");
            }

            return index <= Static.Length ? Static[index - 1] : _dynamic.ElementAt(index - Static.Length - 1);
        }
    }

    public int Find(string name, string value) =>
        Find(field => field.Name == name && field.Value == value);

    public int FindName(string name) => Find(field => field.Name == name);

    public void Add(HeaderField field)
    {
        int size = SizeOf(field);
        Evict(Capacity - size);
        if (size <= Capacity)
        {
            _dynamic.AddFirst(field);
            _size += size;
        }
    }

    public void Resize(int capacity)
    {
        Capacity = capacity;
        Evict(capacity);
    }

    private static int SizeOf(HeaderField field) => field.Name.Length + field.Value.Length + 32;

    private int Find(Func<HeaderField, bool> matches)
    {
        int index = 1;
        foreach (HeaderField field in Static.Concat(_dynamic))
        {
            if (matches(field))
            {
                return index;
            }

            index++;
        }

        return 0;
    }

    private void Evict(int room)
    {
        while (_size > room && _dynamic.Last is { } oldest)
        {
            _size -= SizeOf(oldest.Value);
            _dynamic.RemoveLast();
        }
    }
}
