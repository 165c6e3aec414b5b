using System.Globalization;

namespace CriShim.StatusPage;

/// <summary>Draws containers' lives as bars on one line of time: an SVG element within a page.</summary>
internal static class TimelineDrawing
{
    private const int NameWidth = 150;
    private const int BarsWidth = 650;
    private const int RowHeight = 20;
    private const int AxisHeight = 18;

    /// <param name="html">Where to draw it.</param>
    /// <param name="containers">One row each.</param>
    /// <param name="now">The right edge.</param>
    public static void Draw(HtmlText html, IReadOnlyList<ContainerLives> containers, DateTimeOffset now)
    {
        DateTimeOffset[] starts = [.. containers.SelectMany(one => one.Lives.Select(life => life.From).Concat(one.Marks.Select(mark => mark.At)))];
        if (starts.Length == 0)
        {
            return;
        }

        DateTimeOffset from = starts.Min();
        TimeSpan span = now > from ? now - from : TimeSpan.FromTicks(1);
        int height = (containers.Count * RowHeight) + AxisHeight;
        _ = html.Add($"<svg class=\"timeline\" role=\"img\" width=\"{NameWidth + BarsWidth}\" height=\"{height}\">");
        _ = html.Add($"<title>from {Clock(from)} to {Clock(now)}</title>");
        for (int row = 0; row < containers.Count; row++)
        {
            ContainerLives one = containers[row];
            int y = row * RowHeight;
            _ = html.Add($"<text class=\"name\" x=\"{NameWidth - 8}\" y=\"{y + 14}\">{Short(one.Container)}</text>");
            _ = html.Add($"<line class=\"rail\" x1=\"{NameWidth}\" x2=\"{NameWidth + BarsWidth}\" y1=\"{y + 10}\" y2=\"{y + 10}\"/>");
            foreach (Life life in one.Lives)
            {
                double x = X(life.From);

                // The shortest life is seen, too.
                double width = Math.Max(2, X(life.To ?? now) - x);
                string state = life.To is null ? "running" : life.ExitCode is null or 0 ? "ended" : "failed";
                string tip = life.To is null ? $"attempt {life.Attempt}, since {Clock(life.From)}"
                    : $"attempt {life.Attempt}, {Clock(life.From)} to {Clock(life.To.Value)}"
                        + (life.ExitCode is { } code ? $", exit code {code.ToString(CultureInfo.InvariantCulture)}" : "");
                _ = html.Add($"<rect class=\"life {state}\" x=\"{Number(x)}\" y=\"{y + 4}\" width=\"{Number(width)}\" height=\"12\">");
                _ = html.Add($"<title>{tip}</title></rect>");
            }

            foreach (Mark mark in one.Marks)
            {
                string state = mark.IsWarning ? "warning" : "plain";
                _ = html.Add($"<circle class=\"mark {state}\" cx=\"{Number(X(mark.At))}\" cy=\"{y + 10}\" r=\"3\">");
                _ = html.Add($"<title>{Clock(mark.At)}: {mark.Words}</title></circle>");
            }
        }

        _ = html.Add($"<text class=\"axis\" x=\"{NameWidth}\" y=\"{height - 4}\">{Clock(from)}</text>");
        _ = html.Add($"<text class=\"axis end\" x=\"{NameWidth + BarsWidth}\" y=\"{height - 4}\">{Clock(now)}</text></svg>\n");

        double X(DateTimeOffset at) => NameWidth + (BarsWidth * Math.Clamp((at - from) / span, 0, 1));
    }

    private static string Short(string name) => name.Length <= 22 ? name : name[..21] + "…";

    private static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);

    private static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
