using System.Text;

namespace CriShim.TestSupport.Proofs;

/// <summary>Breaks YAML and JSON texts: octets, lines and values, and what parsers of either have stumbled over before.</summary>
public static class TextMutation
{
    private static readonly string[] Tokens =
    [
        "&a ", "*a", "<<: *a", "!!binary ", "!!python/object:x ", "---\n", "...\n", "\t", "\r", "\0", "\ufeff", "\u2028", "\ud83d", "{", "}", "[", "]", ": ", "- ", "? ",
        "|\n", ">-\n", "'", "\"", "\\", "\\u0000", "\\ud800", "%YAML 9.9\n", "#", ",", "null", "~", "true", "0x7fffffffffffffff", "-1", "1e999", ".inf", ".nan",
        "99999999999999999999999999", "1h1h1h", "9223372036854775807ns", "unix://", "unix:///", "/../../..", "http://[::", "off",
    ];

    public static byte[] Apply(Random random, IReadOnlyList<string> seeds)
    {
        string text = seeds[random.Next(seeds.Count)];
        for (int i = random.Next(4); i >= 0; i--)
        {
            text = random.Next(9) switch
            {
                0 => Put(random, text, Tokens[random.Next(Tokens.Length)]),
                1 => Put(random, text, Piece(random, seeds[random.Next(seeds.Count)])),
                2 => Cut(random, text),
                3 => Line(random, text, twice: true),
                4 => Line(random, text, twice: false),
                5 => Value(random, text, Tokens[random.Next(Tokens.Length)]),
                6 => Value(random, text, new string((char)('!' + random.Next(90)), 1 << random.Next(12))),
                7 => Put(random, text, Deep(random)),
                _ => text[..random.Next(text.Length + 1)],
            };
        }

        byte[] octets = Encoding.UTF8.GetBytes(text);
        for (int i = random.Next(3); i > 0 && octets.Length > 0; i--)
        {
            octets[random.Next(octets.Length)] = (byte)random.Next(256);
        }

        return octets;
    }

    private static string Put(Random random, string text, string what) => text.Insert(random.Next(text.Length + 1), what);

    private static string Piece(Random random, string text)
    {
        int from = random.Next(text.Length);
        return text.Substring(from, Math.Min(random.Next(120), text.Length - from));
    }

    private static string Cut(Random random, string text)
    {
        if (text.Length == 0)
        {
            return text;
        }

        int from = random.Next(text.Length);
        return text.Remove(from, Math.Min(random.Next(20), text.Length - from));
    }

    private static string Line(Random random, string text, bool twice)
    {
        List<string> lines = [.. text.Split('\n')];
        int at = random.Next(lines.Count);
        if (twice)
        {
            lines.Insert(random.Next(lines.Count + 1), lines[at]);
        }
        else
        {
            lines.RemoveAt(at);
        }

        return string.Join('\n', lines);
    }

    /// <summary>What stands behind a colon becomes something else.</summary>
    private static string Value(Random random, string text, string value)
    {
        int colon = text.IndexOf(':', random.Next(text.Length + 1));
        int end = colon < 0 ? -1 : text.IndexOfAny(['\n', ',', '}'], colon);
        return end < 0 ? text : $"{text[..colon]}: {value}{text[end..]}";
    }

    private static string Deep(Random random)
    {
        int depth = 1 << random.Next(12);
        return random.Next(3) switch
        {
            0 => new string('[', depth),
            1 => string.Concat(Enumerable.Repeat("{\"a\":", depth)),
            _ => string.Concat(Enumerable.Repeat("- ", depth)),
        };
    }
}
