using System.Globalization;
using System.Text;

namespace CriShim.Metrics;

/// <summary>
/// Writes families in Prometheus' text format 0.0.4, or in OpenMetrics 1.0, which has units and an end mark. See
/// https://prometheus.io/docs/instrumenting/exposition_formats and https://prometheus.io/docs/specs/om/open_metrics_spec.
/// </summary>
internal static class PrometheusText
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    public const string OpenMetricsContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// <summary>Whether an Accept field asks for OpenMetrics. Who asks for both takes both.</summary>
    public static bool WantsOpenMetrics(string? accept) =>
        accept?.Contains("application/openmetrics-text", StringComparison.OrdinalIgnoreCase) == true;

    public static string Write(IReadOnlyList<MetricFamily> families, bool isOpenMetrics)
    {
        var text = new StringBuilder(16 * 1024);
        foreach (MetricFamily family in families)
        {
            bool isCounter = family.Kind == MetricKind.Counter;
            string sample = isCounter ? family.Name + "_total" : family.Name;
            string name = isOpenMetrics ? family.Name : sample;
            _ = text.Append("# HELP ").Append(name).Append(' ').Append(EscapeHelp(family.Help)).Append('\n');
            _ = text.Append("# TYPE ").Append(name).Append(' ').Append(NameOf(family.Kind)).Append('\n');
            if (isOpenMetrics && family.Unit.Length > 0)
            {
                _ = text.Append("# UNIT ").Append(name).Append(' ').Append(family.Unit).Append('\n');
            }

            foreach (MetricSeries series in family.Series)
            {
                if (family.Kind == MetricKind.Histogram)
                {
                    WriteHistogram(text, family, series, isOpenMetrics);
                }
                else
                {
                    WriteSample(text, sample, "", series.Labels, Number(series.Value));
                }
            }
        }

        return isOpenMetrics ? text.Append("# EOF\n").ToString() : text.ToString();
    }

    /// <summary>Labels as they stand between the braces.</summary>
    public static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        var text = new StringBuilder();
        foreach ((string name, object? value) in labels)
        {
            _ = text.Append(text.Length > 0 ? "," : "").Append(name).Append("=\"")
                .Append(EscapeLabel(Convert.ToString(value, CultureInfo.InvariantCulture) ?? "")).Append('"');
        }

        return text.ToString();
    }

    private static void WriteHistogram(StringBuilder text, MetricFamily family, MetricSeries series, bool isOpenMetrics)
    {
        // The sum is read last, and may be ahead of the buckets by what is measured right now.
        long count = 0;
        string separator = series.Labels.Length > 0 ? "," : "";
        for (int i = 0; i <= family.Bounds.Count; i++)
        {
            count += series.Bucket(i);
            string bound = i == family.Bounds.Count ? "+Inf" : Bound(family.Bounds[i], isOpenMetrics);
            WriteSample(text, family.Name, "_bucket", $"{series.Labels}{separator}le=\"{bound}\"", Number(count));
        }

        WriteSample(text, family.Name, "_sum", series.Labels, Number(series.Value));
        WriteSample(text, family.Name, "_count", series.Labels, Number(count));
    }

    private static void WriteSample(StringBuilder text, string name, string suffix, string labels, string value)
    {
        _ = text.Append(name).Append(suffix);
        if (labels.Length > 0)
        {
            _ = text.Append('{').Append(labels).Append('}');
        }

        _ = text.Append(' ').Append(value).Append('\n');
    }

    private static string NameOf(MetricKind kind) => kind switch
    {
        MetricKind.Counter => "counter",
        MetricKind.Histogram => "histogram",
        _ => "gauge",
    };

    private static string Number(double value) => double.IsPositiveInfinity(value) ? "+Inf" : value.ToString("R", CultureInfo.InvariantCulture);

    /// <summary>OpenMetrics wants bounds to look like floating-point numbers, so that 1 and 1.0 are no two series.</summary>
    private static string Bound(double value, bool isOpenMetrics)
    {
        string text = value.ToString("0.##########", CultureInfo.InvariantCulture);
        return isOpenMetrics && !text.Contains('.', StringComparison.Ordinal) ? text + ".0" : text;
    }

    private static string EscapeHelp(string text) =>
        text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);

    private static string EscapeLabel(string text) => EscapeHelp(text).Replace("\"", "\\\"", StringComparison.Ordinal);
}
