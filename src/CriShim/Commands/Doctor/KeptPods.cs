using System.Text.Json;

namespace CriShim.Commands.Doctor;

/// <summary>What the state directory has of one pod sandbox. Only looked at: nothing is mended or removed.</summary>
/// <param name="SandboxId">Its id, by the folder's name.</param>
/// <param name="Masked">Containers that callers are told have completed, though containerd says something else.</param>
/// <param name="IsEnding">crishim is about to end it, in order.</param>
internal sealed record KeptPod(string SandboxId, IReadOnlyList<string> Masked, bool IsEnding)
{
    private const string PodFile = "sandbox.pod.json";
    private const string FactsFile = "sandbox.facts.json";

    /// <summary>Read as plain JSON: the records may be those of another version of crishim than this executable.</summary>
    /// <exception cref="IOException">The directory can't be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static IReadOnlyList<KeptPod> ReadAll(string stateDirectory)
    {
        if (!Directory.Exists(stateDirectory))
        {
            return [];
        }

        var pods = new List<KeptPod>();
        foreach (string folder in Directory.EnumerateDirectories(stateDirectory).Order())
        {
            var masked = new List<string>();
            bool isEnding = false;
            foreach (string file in Directory.EnumerateFiles(folder, "*.json").Order())
            {
                string name = Path.GetFileName(file);
                using JsonDocument? record = name == FactsFile ? null : Read(file);
                if (record is null)
                {
                    continue;
                }

                if (name == PodFile)
                {
                    isEnding = Has(record.RootElement, "end");
                }
                else if (IsMasked(record.RootElement))
                {
                    masked.Add(record.RootElement.TryGetProperty("name", out JsonElement of) && of.ValueKind == JsonValueKind.String
                        ? of.GetString()!
                        : name[..^".json".Length]);
                }
            }

            pods.Add(new KeptPod(Path.GetFileName(folder), masked, isEnding));
        }

        return pods;
    }

    /// <summary>An emulated sidecar that callers take for completed, or an adopted one whose end is shown as a success.</summary>
    private static bool IsMasked(JsonElement lineage) =>
        Has(lineage, "completedId")
        || (lineage.TryGetProperty("instances", out JsonElement instances) && instances.ValueKind == JsonValueKind.Array
            && instances.EnumerateArray().Any(instance =>
                instance.ValueKind == JsonValueKind.Object && instance.TryGetProperty("hasServed", out JsonElement served)
                && served.ValueKind == JsonValueKind.True));

    private static bool Has(JsonElement record, string field) =>
        record.ValueKind == JsonValueKind.Object && record.TryGetProperty(field, out JsonElement value) && value.ValueKind != JsonValueKind.Null;

    private static JsonDocument? Read(string file)
    {
        try
        {
            JsonDocument record = JsonDocument.Parse(File.ReadAllBytes(file));
            if (record.RootElement.ValueKind == JsonValueKind.Object)
            {
                return record;
            }

            record.Dispose();
            return null;
        }
        catch (Exception unreadable) when (unreadable is JsonException or IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
