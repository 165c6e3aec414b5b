using System.Globalization;
using CriShim.Node.Journal;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Commands.Timelines;

/// <summary>A timeline in characters: what happened is told by them alone, colours only help.</summary>
internal static class TimelineText
{
    private const int LongestLabel = 30;
    private const int LeastWidth = 20;

    public static IEnumerable<string> Draw(GetTimelineResponse timeline, Terminal terminal)
    {
        DateTimeOffset from = timeline.From.ToDateTimeOffset();
        TimeSpan length = timeline.To.ToDateTimeOffset() - from;
        length = length > TimeSpan.Zero ? length : TimeSpan.FromMilliseconds(1);
        yield return terminal.Paint(Colour.Bold, Terminal.Clean($"Pod {timeline.Namespace}/{timeline.Name}, sandbox {timeline.SandboxId}"));
        if (timeline.Rows.Count == 0)
        {
            yield return "Nothing is known of its life.";
            yield break;
        }

        string[] labels = [.. timeline.Rows.Select(row => Terminal.Cut(Terminal.Clean(TimelineKind.LabelOf(row)), LongestLabel))];
        int label = labels.Max(text => text.Length);
        int width = Math.Max(LeastWidth, terminal.Columns - label - 4);
        for (int i = 0; i < labels.Length; i++)
        {
            yield return $"{labels[i].PadRight(label)}  {Line(timeline.Rows[i], from, length, width, terminal)}";
        }

        yield return new string(' ', label + 2) + Axis(length, width);
        yield return "";
        IEnumerable<string> legend = TimelineKind.Legend(timeline).Select(one => $"{one.Kind.Letter} {one.Kind.Meaning}");
        yield return terminal.Paint(Colour.Dim, string.Join("  ", legend));
        yield return "";
        yield return terminal.Paint(Colour.Bold, string.Create(CultureInfo.InvariantCulture, $"Since {from.UtcDateTime:yyyy-MM-dd HH:mm:ss.fff} UTC"));
        foreach ((TimeSpan at, string text) in Moments(timeline, from))
        {
            yield return Terminal.Cut($"  +{HappeningText.Time(at),-9} {text}", terminal.IsTerminal ? terminal.Columns : int.MaxValue);
        }
    }

    private static string Line(TimelineRow row, DateTimeOffset from, TimeSpan length, int width, Terminal terminal)
    {
        var cells = new (char Letter, Colour Colour)[width];
        Array.Fill(cells, (' ', Colour.None));

        foreach (TimelineBar bar in TimelineKind.InOrder(row.Bars))
        {
            var kind = TimelineKind.Of(bar);
            int first = Cell(bar.From.ToDateTimeOffset(), from, length, width);
            int last = Cell(bar.To.ToDateTimeOffset(), from, length, width);
            for (int i = first; i <= Math.Max(first, bar.IsOpen ? last : last - 1); i++)
            {
                cells[i] = (kind.Letter, ColourOf(kind));
            }
        }

        foreach (TimelineMark mark in TimelineKind.InOrder(row.Marks))
        {
            var kind = TimelineKind.Of(mark);
            cells[Cell(mark.At.ToDateTimeOffset(), from, length, width)] = (kind.Letter, ColourOf(kind));
        }

        var parts = new List<string>();
        for (int i = 0; i < width;)
        {
            int next = i;
            while (next < width && cells[next].Colour == cells[i].Colour)
            {
                next++;
            }

            parts.Add(terminal.Paint(cells[i].Colour, string.Concat(cells[i..next].Select(cell => cell.Letter))));
            i = next;
        }

        return string.Concat(parts).TrimEnd();
    }

    private static Colour ColourOf(TimelineKind kind) => kind.Tone switch
    {
        TimelineTone.Good => Colour.Green,
        TimelineTone.Waiting => Colour.Yellow,
        TimelineTone.Ending => Colour.Blue,
        TimelineTone.Bad => Colour.Red,
        _ => Colour.None,
    };

    private static int Cell(DateTimeOffset at, DateTimeOffset from, TimeSpan length, int width) =>
        Math.Clamp((int)((at - from) / length * (width - 1)), 0, width - 1);

    private static string Axis(TimeSpan length, int width)
    {
        var axis = new char[width];
        Array.Fill(axis, ' ');
        for (int quarter = 0; quarter < 4; quarter++)
        {
            string text = $"|{HappeningText.Time(length * quarter / 4)}";
            text.CopyTo(axis.AsSpan(Math.Min(width - text.Length, quarter * width / 4)));
        }

        string end = $"{HappeningText.Time(length)}|";
        end.CopyTo(axis.AsSpan(width - end.Length));
        return new string(axis);
    }

    private static IEnumerable<(TimeSpan At, string Text)> Moments(GetTimelineResponse timeline, DateTimeOffset from)
    {
        var moments = new List<(DateTimeOffset At, string Text)>();
        foreach (TimelineRow row in timeline.Rows)
        {
            string who = row.Container.Length == 0 ? "pod" : row.Container;
            moments.AddRange(row.Bars.Where(bar => bar.Kind is not ("down" or "running" or "backing off"))
                .Select(bar => (bar.From.ToDateTimeOffset(), $"{who}: {bar.Text}")));
            moments.AddRange(row.Bars.Where(bar => bar.Kind == "running").Select(bar => (bar.From.ToDateTimeOffset(), $"{who}: {bar.Text} starts")));
            moments.AddRange(row.Marks.Select(mark => (mark.At.ToDateTimeOffset(), $"{who}: {mark.Text}")));
        }

        return moments.OrderBy(moment => moment.At).Select(moment => (moment.At - from, Terminal.Clean(moment.Text)));
    }
}
