using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace CriShim.Commands.Doctor;

/// <summary>How findings are printed.</summary>
internal static class DoctorReport
{
    private const string Reset = "\e[0m";

    public static string ToText(IReadOnlyList<Finding> findings, bool isColoured)
    {
        var text = new StringBuilder();
        foreach (Finding finding in findings)
        {
            string mark = MarkOf(finding.Severity).PadRight(7);
            string shown = isColoured ? $"{ColourOf(finding.Severity)}{mark}{Reset}" : mark;
            _ = text.Append(shown).Append(' ').Append(finding.Area).Append(": ").Append(Clean(finding.Text)).Append('\n');
            if (finding.Remedy is not null)
            {
                _ = text.Append("        → ").Append(Clean(finding.Remedy)).Append('\n');
            }
        }

        int problems = findings.Count(finding => finding.Severity == Severity.Problem);
        int warnings = findings.Count(finding => finding.Severity == Severity.Warning);
        return text.Append(problems + warnings == 0 ? "nothing is wrong\n" : $"{problems} problems, {warnings} warnings\n").ToString();
    }

    public static string ToJson(IReadOnlyList<Finding> findings)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
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
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string MarkOf(Severity severity) => severity switch
    {
        Severity.Good => "ok",
        Severity.Note => "note",
        Severity.Warning => "warning",
        _ => "problem",
    };

    private static string ColourOf(Severity severity) => severity switch
    {
        Severity.Good => "\e[32m",
        Severity.Note => "\e[36m",
        Severity.Warning => "\e[33m",
        _ => "\e[31m",
    };

    /// <summary>Names of pods and processes, and other programs' messages, reach no terminal as escape sequences, nor a line of their own.</summary>
    private static string Clean(string text) =>
        text.AsSpan().ContainsAnyInRange('\0', '\x1f') || text.AsSpan().ContainsAnyInRange('\x7f', '\x9f')
            ? string.Concat(text.Select(letter => char.IsControl(letter) ? '?' : letter))
            : text;
}
