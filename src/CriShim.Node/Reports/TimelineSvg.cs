using System.Globalization;
using System.Security;
using System.Text;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;

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

    /// <summary>The whole document: a file of its own, or an element within a page.</summary>
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
        string label = TimelineKind.LabelOf(row);
        string shown = label.Length > 26 ? label[..25] + "…" : label;
        _ = svg.Append(CultureInfo.InvariantCulture, $"<g><text x=\"8\" y=\"{y + 12}\">{Escape(shown)}</text>\n");
        foreach (TimelineBar bar in TimelineKind.InOrder(row.Bars))
        {
            double x = X(bar.From.ToDateTimeOffset(), from, length);
            double width = Math.Max(1, X(bar.To.ToDateTimeOffset(), from, length) - x);
            string fill = TimelineKind.Of(bar).Fill;
            _ = svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x:0.#}\" y=\"{y + 1}\" width=\"{width:0.#}\" height=\"{BarHeight}\" fill=\"{fill}\">")
                .Append(CultureInfo.InvariantCulture, $"<title>{Escape(bar.Text)}</title></rect>\n");
        }

        foreach (TimelineMark mark in TimelineKind.InOrder(row.Marks))
        {
            double x = X(mark.At.ToDateTimeOffset(), from, length);
            string fill = TimelineKind.Of(mark).Fill;
            _ = svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{x:0.#}\" cy=\"{y + 8}\" r=\"4\" fill=\"{fill}\" stroke=\"#ffffff\">")
                .Append(CultureInfo.InvariantCulture, $"<title>+{HappeningText.Time(mark.At.ToDateTimeOffset() - from)} {Escape(mark.Text)}</title></circle>\n");
        }

        _ = svg.Append("</g>\n");
    }

    private static void DrawLegend(StringBuilder svg, GetTimelineResponse timeline, int y)
    {
        int x = LabelWidth;
        foreach ((TimelineKind kind, bool isMark) in TimelineKind.Legend(timeline))
        {
            _ = isMark
                ? svg.Append(CultureInfo.InvariantCulture, $"<circle cx=\"{x + 6}\" cy=\"{y - 4}\" r=\"4\" fill=\"{kind.Fill}\"/>")
                : svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x}\" y=\"{y - 9}\" width=\"12\" height=\"10\" fill=\"{kind.Fill}\"/>");
            _ = svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x + 16}\" y=\"{y}\" fill=\"#555555\" font-size=\"10\">{kind.Meaning}</text>\n");
            x += 22 + (kind.Meaning.Length * 6);
        }
    }

    private static double X(DateTimeOffset at, DateTimeOffset from, TimeSpan length) => LabelWidth + (Math.Clamp((at - from) / length, 0, 1) * PlotWidth);

    /// <summary>Names and texts come from pods: no markup, nothing that XML can't hold, and nothing that turns a line round.</summary>
    private static string Escape(string text) =>
        SecurityElement.Escape(UntrustedText.Replace(text, '?'));
}
