using System.Collections.Immutable;
using System.Text;

namespace CriShim.Supervision;

/// <summary>
/// The faults of one text. A pod author's text can have thousands, and an operator wants to see the first: those are kept, the others
/// counted.
/// </summary>
/// <param name="place">What the text is, for the count of the others.</param>
public sealed class SettingErrors(string place)
{
    /// <summary>So many are kept.</summary>
    public const int Most = 16;

    private const int MaxSummaryLength = 1000;

    private readonly List<SettingError> _kept = [];

    /// <summary>All of them, those that are not kept, too.</summary>
    public int Count { get; private set; }

    /// <summary>
    /// Some of them in one line of bounded length, for a log or an Event; null when there are none. Without the values: those are, or are a
    /// part of, what the pod's author wrote.
    /// </summary>
    public static string? Summary(IReadOnlyCollection<SettingError> errors)
    {
        if (errors.Count == 0)
        {
            return null;
        }

        var text = new StringBuilder();
        int left = errors.Count;
        foreach (SettingError error in errors)
        {
            string next = (error with { Value = null }).ToString();
            if (text.Length > 0 && text.Length + next.Length > MaxSummaryLength)
            {
                return text.Append(System.Globalization.CultureInfo.InvariantCulture, $"; and {left} more").ToString();
            }

            _ = text.Append(text.Length > 0 ? "; " : "").Append(next);
            left--;
        }

        return text.ToString();
    }

    internal void Add(SettingError error)
    {
        if (++Count <= Most)
        {
            _kept.Add(error);
        }
    }

    internal ImmutableArray<SettingError> ToImmutable() =>
        Count <= Most ? [.. _kept] : [.. _kept, new SettingError(place, null, $"has {Count - Most} faults more")];
}
