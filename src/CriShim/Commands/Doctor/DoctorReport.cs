using System.Text;
using CriShim.Node.Reports;

namespace CriShim.Commands.Doctor;

/// <summary>How findings are printed.</summary>
internal static class DoctorReport
{
    public static string ToText(IReadOnlyList<Finding> findings, Terminal terminal)
    {
        var text = new StringBuilder();
        foreach (Finding finding in findings)
        {
            string mark = terminal.Paint(ColourOf(finding.Severity), MarkOf(finding.Severity).PadRight(7));
            _ = text.Append(mark).Append(' ').Append(finding.Area).Append(": ").Append(Terminal.Clean(finding.Text)).Append('\n');
            if (finding.Remedy is not null)
            {
                _ = text.Append("        → ").Append(Terminal.Clean(finding.Remedy)).Append('\n');
            }
        }

        int problems = findings.Count(finding => finding.Severity == Severity.Problem);
        int warnings = findings.Count(finding => finding.Severity == Severity.Warning);
        return text.Append(problems + warnings == 0 ? "nothing is wrong\n" : $"{problems} problems, {warnings} warnings\n").ToString();
    }

    public static string ToJson(IReadOnlyList<Finding> findings) => ReportJson.Text(json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("healthy", !findings.Any(finding => finding.IsWrong));
        json.WriteStartArray("findings");
        foreach (Finding finding in findings)
        {
            json.WriteStartObject();
            json.WriteString("severity", MarkOf(finding.Severity));
            json.WriteString("area", finding.Area);
            json.WriteString("text", finding.Text);
            if (finding.Remedy is not null)
            {
                json.WriteString("remedy", finding.Remedy);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static string MarkOf(Severity severity) => severity switch
    {
        Severity.Good => "ok",
        Severity.Note => "note",
        Severity.Warning => "warning",
        _ => "problem",
    };

    private static Colour ColourOf(Severity severity) => severity switch
    {
        Severity.Good => Colour.Green,
        Severity.Note => Colour.Cyan,
        Severity.Warning => Colour.Yellow,
        _ => Colour.Red,
    };
}
