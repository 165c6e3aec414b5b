using System.Globalization;
using System.Security;
using System.Text;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Node.Reports;

/// <summary>A timeline as a picture: SVG of its own, without scripts, styles from elsewhere, or anything to load.</summary>
public static class TimelineSvg
{
    private const int LabelWidth = 180;
    private const int PlotWidth = 800;
    private const int RowHeight = 26;
    private const int BarHeight = 14;
    private const int Top = 34;
    private const int Bottom = 46;

    private static readonly (string Kind, string Fill, string Meaning)[] Bars =
    [
        ("ending", "#8aa4c8", "the pod ends"),
        ("running", "#4c9a5f", "runs"),
        ("held", "#e3b341", "start is held"),
        ("down", "#d9534f", "down"),
        ("backing off", "#f0a8a5", "backs off"),
        ("hook", "#6f8fc0", "preStop hook"),
    ];

    private static readonly (string Kind, string Fill, string Meaning)[] Marks =
    [
        ("note", "#777777", "note"),
        ("gate", "#b8860b", "start gate opens"),
        ("completed", "#1f7a7a", "is shown completed"),
        ("stop", "#2f5fa5", "its turn to end"),
        ("kill", "#7b1f1c", "is killed"),
        ("end", "#333333", "ended"),
        ("death", "#c9302c", "died"),
    ];

    /// <summary>The whole document.</summary>
    public static string Draw(GetTimelineResponse timeline)
    {
        DateTimeOffset from = timeline.From.ToDateTimeOffset();
        TimeSpan length = timeline.To.ToDateTimeOffset() - from;
        length = length > TimeSpan.Zero ? length : TimeSpan.FromMilliseconds(1);
        int height = Top + (RowHeight * timeline.Rows.Count) + Bottom;
        var svg = new StringBuilder();
        string title = $"Pod {timeline.Namespace}/{timeline.Name}";
        _ = svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {LabelWidth + PlotWidth + 20} {height}\" ")
            .Append("font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n")
            .Append(CultureInfo.InvariantCulture, $"<title>{Escape(title)}</title>\n")
            .Append("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n")
            .Append(CultureInfo.InvariantCulture, $"<text x=\"8\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{Escape(title)}</text>\n")
            .Append(CultureInfo.InvariantCulture, $"<text x=\"{LabelWidth + PlotWidth}\" y=\"20\" text-anchor=\"end\" fill=\"#555555\">")
            .Append(CultureInfo.InvariantCulture, $"from {from.UtcDateTime:yyyy-MM-dd HH:mm:ss.fff} UTC</text>\n");
        for (int i = 0; i <= 4; i++)
        {
            int x = LabelWidth + (PlotWidth * i / 4);
            string anchor = i == 0 ? "start" : i == 4 ? "end" : "middle";
            _ = svg.Append(CultureInfo.InvariantCulture, $"<line x1=\"{x}\" y1=\"{Top - 4}\" x2=\"{x}\" y2=\"{height - Bottom + 4}\" stroke=\"#dddddd\"/>")
                .Append(CultureInfo.InvariantCulture, $"<text x=\"{x}\" y=\"{height - Bottom + 18}\" text-anchor=\"{anchor}\" fill=\"#555555\">")
                .Append(CultureInfo.InvariantCulture, $"+{HappeningText.Time(length * i / 4)}</text>\n");
        }

        for (int i = 0; i < timeline.Rows.Count; i++)
        {
            Draw(svg, timeline.Rows[i], Top + (RowHeight * i), from, length);
        }

        DrawLegend(svg, timeline, height - 10);
        return svg.Append("</svg>\n").ToString();
    }

    private static void Draw(StringBuilder svg, TimelineRow row, int y, DateTimeOffset from, TimeSpan length)
    {
        string label = row.Container.Length == 0 ? "(pod)" : row.Role is "" or "unknown" ? row.Container : $"{row.Container} ({row.Role})";
        string shown = label.Length > 26 ? label[..25] + "…" : label;
        _ = svg.Append(CultureInfo.InvariantCulture, $"<g><text x=\"8\" y=\"{y + 12}\">{Escape(shown)}</text>\n");
        foreach (TimelineBar bar in row.Bars.OrderBy(bar => bar.Kind == "hook" ? 1 : 0))
        {
            double x = X(bar.From.ToDateTimeOffset(), from, length);
            double width = Math.Max(1, X(bar.To.ToDateTimeOffset(), from, length) - x);
            string fill = Array.Find(Bars, one => one.Kind == bar.Kind).Fill ?? "#999999";
            _ = svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x:0.#}\" y=\"{y + 1}\" width=\"{width:0.#}\" height=\"{BarHeight}\" fill=\"{fill}\">")
                .Append(CultureInfo.InvariantCulture, $"<title>{Escape(bar.Text)}</title></rect>\n");
        }

        foreach (TimelineMark mark in row.Marks)
        {
            double x = X(mark.At.ToDateTimeOffset(), from, length);
            string fill = Array.Find(Marks, one => one.Kind == mark.Kind).Fill ?? "#777777";
            _ = svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{x:0.#}\" cy=\"{y + 8}\" r=\"4\" fill=\"{fill}\" stroke=\"#ffffff\">")
                .Append(CultureInfo.InvariantCulture, $"<title>+{HappeningText.Time(mark.At.ToDateTimeOffset() - from)} {Escape(mark.Text)}</title></circle>\n");
        }

        _ = svg.Append("</g>\n");
    }

    private static void DrawLegend(StringBuilder svg, GetTimelineResponse timeline, int y)
    {
        int x = LabelWidth;
        var bars = timeline.Rows.SelectMany(row => row.Bars).Select(bar => bar.Kind).ToHashSet(StringComparer.Ordinal);
        var marks = timeline.Rows.SelectMany(row => row.Marks).Select(mark => mark.Kind).ToHashSet(StringComparer.Ordinal);
        foreach ((string _, string fill, string meaning) in Bars.Where(one => bars.Contains(one.Kind)))
        {
            _ = svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x}\" y=\"{y - 9}\" width=\"12\" height=\"10\" fill=\"{fill}\"/>")
                .Append(CultureInfo.InvariantCulture, $"<text x=\"{x + 16}\" y=\"{y}\" fill=\"#555555\" font-size=\"10\">{meaning}</text>\n");
            x += 22 + (meaning.Length * 6);
        }

        foreach ((string _, string fill, string meaning) in Marks.Where(one => marks.Contains(one.Kind)))
        {
            _ = svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{x + 5}\" cy=\"{y - 4}\" r=\"4\" fill=\"{fill}\"/>")
                .Append(CultureInfo.InvariantCulture, $"<text x=\"{x + 14}\" y=\"{y}\" fill=\"#555555\" font-size=\"10\">{meaning}</text>\n");
            x += 20 + (meaning.Length * 6);
        }
    }

    private static double X(DateTimeOffset at, DateTimeOffset from, TimeSpan length) => LabelWidth + (Math.Clamp((at - from) / length, 0, 1) * PlotWidth);

    /// <summary>Names and texts come from pods: no markup, and nothing that XML can't hold.</summary>
    private static string Escape(string text) =>
        SecurityElement.Escape(string.Concat(text.Select(letter => char.IsControl(letter) || char.IsSurrogate(letter) ? '?' : letter)));
}
