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

    /// <summary>The value on one line whatever it contains, without terminal escapes: annotations are written by pod authors.</summary>
    internal static string Quote(string value)
    {
        var text = new StringBuilder("\"");
        foreach (char c in value.Length > MaxShownLength ? value[..MaxShownLength] : value)
        {
            _ = c switch
            {
                '"' or '\\' => text.Append('\\').Append(c),
                '\n' => text.Append("\\n"),
                '\t' => text.Append("\\t"),
                _ when char.IsControl(c) || char.IsSurrogate(c) => text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}"),
                _ => text.Append(c),
            };
        }

        return text.Append(value.Length > MaxShownLength ? "\"..." : "\"").ToString();
    }
}
