using System.Text.Json;
using System.Text.Json.Serialization;

namespace CriShim.Benchmarks.Report;

/// <summary>The whole result, as the JSON file has it.</summary>
internal sealed record BenchReport(
    DateTimeOffset Begun, TimeSpan Took, bool Quick, Machine Machine, double BusyBefore, double BusyAfter, IReadOnlyList<Row> Rows)
{
    private static readonly JsonSerializerOptions Format = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public string ToJson() => JsonSerializer.Serialize(this, Format) + "\n";
}
