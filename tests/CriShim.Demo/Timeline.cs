using System.Globalization;

namespace CriShim.Demo;

/// <summary>A container's end as it saw it: when it got its stop signal, and when it was gone.</summary>
internal sealed record Ending(string Name, DateTimeOffset Signalled, DateTimeOffset Ended);

/// <summary>Draws who ended when: one row for each container, in plain text.</summary>
/// <remarks>
/// <code>
///   greeter  ●━━━━━━━━━┫                       SIGTERM after 8 ms, ended after 330 ms
///   proxy    ───────────●━━━━━━┫               SIGTERM after 341 ms, ended after 560 ms
/// </code>
/// </remarks>
internal static class Timeline
{
    private const char Runs = '─', Signal = '●', Ends = '━', Gone = '┫';

    /// <summary>Rows in the order of the signals; a column is the same time in all of them, and the last is the last one's end.</summary>
    /// <param name="asked">When the end of it all was asked for: the first column.</param>
    /// <param name="endings">At least one.</param>
    /// <param name="width">Columns for the bars, at least two.</param>
    public static IReadOnlyList<string> Draw(DateTimeOffset asked, IReadOnlyCollection<Ending> endings, int width)
    {
        var whole = endings.Max(ending => ending.Ended) - asked;
        var names = endings.Max(ending => ending.Name.Length);
        return [.. endings.OrderBy(ending => ending.Signalled).Select(Row)];

        string Row(Ending ending)
        {
            // One that ends within a column of its signal is drawn a little longer, so that both are seen.
            var signal = Math.Min(Column(ending.Signalled), width - 2);
            var end = Math.Max(Column(ending.Ended), signal + 1);
            var bar = new string(Runs, signal) + Signal + new string(Ends, end - signal - 1) + Gone;
            return $"{ending.Name.PadRight(names)}  {bar.PadRight(width)}  SIGTERM after {After(ending.Signalled)}, ended after {After(ending.Ended)}";
        }

        int Column(DateTimeOffset at) =>
            whole <= TimeSpan.Zero ? 0 : Math.Clamp((int)Math.Round((at - asked) / whole * (width - 1)), 0, width - 1);

        string After(DateTimeOffset at) => string.Create(CultureInfo.InvariantCulture, $"{(at - asked).TotalMilliseconds:0} ms");
    }
}
