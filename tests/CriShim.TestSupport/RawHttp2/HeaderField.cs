using System.Text;

namespace CriShim.TestSupport.RawHttp2;

/// <summary>
/// One header field as it stood in a block. Names and values are Latin-1 text, so that any byte survives the round trip.
/// </summary>
public readonly record struct HeaderField(string Name, string Value, bool NeverIndexed = false)
{
    public static implicit operator HeaderField((string Name, string Value) field) => new(field.Name, field.Value);

    public byte[] NameBytes => Encoding.Latin1.GetBytes(Name);

    public byte[] ValueBytes => Encoding.Latin1.GetBytes(Value);

    public override string ToString() => $"{Name}: {Value}";
}

public static class HeaderFields
{
    /// <summary>The first value under this name.</summary>
    public static string? ValueOf(this IEnumerable<HeaderField> fields, string name)
    {
        foreach (HeaderField candidate in fields)
        {
            if (candidate.Name == name)
            {
                return candidate.Value;
            }
        }

        return null;
    }

    public static List<HeaderField> Without(this IEnumerable<HeaderField> fields, params string[] names) =>
        [.. fields.Where(candidate => !names.Contains(candidate.Name))];
}
