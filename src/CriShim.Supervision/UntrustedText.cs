using System.Globalization;
using System.Text;

namespace CriShim.Supervision;

/// <summary>
/// Text that others than the operator wrote: pod authors, callers, files. What a terminal or a reader could be led astray by (escapes, text
/// that runs backwards, line ends of any alphabet) is not shown as it is.
/// </summary>
public static class UntrustedText
{
    private const int MaxShownLength = 120;

    /// <summary>The value in quotes, on one line whatever it contains. Its length is bounded.</summary>
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
                _ => AppendFit(text, c),
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

    /// <summary>The text with an escape for each character that is not fit to be shown.</summary>
    public static string Escape(ReadOnlySpan<char> text)
    {
        var shown = new StringBuilder(text.Length + 8);
        foreach (char c in text)
        {
            _ = AppendFit(shown, c);
        }

        return shown.ToString();
    }

    /// <summary>The text with another character for each that is not fit to be shown; the same object where there is none.</summary>
    public static string Replace(string text, char by)
    {
        if (!text.Any(IsUnfit))
        {
            return text;
        }

        return string.Create(text.Length, (text, by), static (shown, from) =>
        {
            for (int i = 0; i < shown.Length; i++)
            {
                shown[i] = IsUnfit(from.text[i]) ? from.by : from.text[i];
            }
        });
    }

    private static StringBuilder AppendFit(StringBuilder text, char c) =>
        IsUnfit(c) ? text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}") : text.Append(c);

    /// <summary>It is none to read, or turns others round.</summary>
    private static bool IsUnfit(char c) => char.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned;
}
