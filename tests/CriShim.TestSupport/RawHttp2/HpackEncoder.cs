namespace CriShim.TestSupport.RawHttp2;

/// <summary>Encodes whole header blocks, with a dynamic table of its own where <see cref="Compress"/> asks for it.</summary>
public sealed class HpackEncoder
{
    private readonly HpackTable _table = new();
    private int? _announced;

    /// <summary>Index what repeats, and Huffman-code strings; otherwise plain literals.</summary>
    public bool Compress { get; set; }

    public bool Huffman { get; set; }

    /// <summary>Shrinks or grows the table; the next block says so first.</summary>
    public void Resize(int capacity)
    {
        _table.Resize(capacity);
        _announced = capacity;
    }

    public byte[] Encode(IEnumerable<HeaderField> fields)
    {
        var writer = new HpackWriter();
        if (_announced is { } capacity)
        {
            writer.TableSizeUpdate(capacity);
            _announced = null;
        }

        foreach (HeaderField field in fields)
        {
            if (field.NeverIndexed)
            {
                writer.Literal(field, FieldForm.NeverIndexed, Huffman);
            }
            else if (!Compress)
            {
                writer.Literal(field, FieldForm.WithoutIndexing, Huffman);
            }
            else if (_table.Find(field.Name, field.Value) is > 0 and var index)
            {
                writer.Indexed(index);
            }
            else
            {
                writer.Literal(field, FieldForm.WithIndexing, Huffman, _table.FindName(field.Name));
                _table.Add(field);
            }
        }

        return writer.ToArray();
    }
}
