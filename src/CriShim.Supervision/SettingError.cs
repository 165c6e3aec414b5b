using System.Globalization;
using System.Text;

namespace CriShim.Supervision;

/// <summary>One fault in an option or an annotation, for an operator's eyes.</summary>
/// <param name="Place">Path of the setting, such as <c>restart.maxDelay</c> or <c>crishim.io/sidecars[2].kind</c>.</param>
/// <param name="Value">What was given; null when that means nothing.</param>
/// <param name="Allowed">What is allowed, as the end of a sentence: "must be ...".</param>
public sealed record SettingError(string Place, string? Value, string Allowed)
{
    private const int MaxShownLength = 120;

    public override string ToString() => Value is null ? $"{Place}: {Allowed}" : $"{Place}: {Quote(Value)}: {Allowed}";

    /// <summary>
    /// The value on one line whatever it contains, without what a terminal or a reader could be led astray by (escapes, text that runs
    /// backwards, line ends of any alphabet): annotations are written by pod authors. Its length is bounded.
    /// </summary>
    /// <param name="value">Any text.</param>
    /// <param name="longest">The most characters of it that are shown.</param>
    public static string Quote(string value, int longest = MaxShownLength)
    {
        string shown = Printable(value, out bool isCut, longest);
        return $"\"{shown}{(isCut ? "\"..." : "\"")}";
    }

    /// <summary>As <see cref="Quote"/>, without the quotes.</summary>
    internal static string Printable(string value, out bool isCut, int longest = MaxShownLength)
    {
        var text = new StringBuilder();
        isCut = false;
        foreach (char c in value)
        {
            int before = text.Length;
            _ = c switch
            {
                '"' or '\\' => text.Append('\\').Append(c),
                '\n' => text.Append("\\n"),
                '\t' => text.Append("\\t"),
                _ when IsUnfit(c) => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => text.Append(c),
            };
            if (text.Length > longest)
            {
                text.Length = before;
                isCut = true;
                break;
            }
        }

        return text.ToString();
    }

    /// <summary>Whether a character of text that is not trusted is to be shown as an escape: it is none to read, or turns others round.</summary>
    public static bool IsUnfit(char c) => char.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned;
}
