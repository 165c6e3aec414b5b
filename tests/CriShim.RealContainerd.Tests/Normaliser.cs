using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Google.Protobuf;

namespace CriShim.RealContainerd.Tests;

/// <summary>
/// Takes out of an answer what differs between two runs of one scenario anyhow: ids, addresses, times, and counters of a moment.
/// Everything else stays, so that two runs compare as text.
/// </summary>
internal sealed partial class Normaliser
{
    private static readonly JsonFormatter s_formatter = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(false));
    private static readonly JsonSerializerOptions s_indented = new()
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private readonly Dictionary<string, string> _names = [];

    /// <summary>From now on <paramref name="value"/> is written as <paramref name="name"/>.</summary>
    public void Name(string value, string name) => _names[value] = $"<{name}>";

    /// <summary>A message as JSON with sorted keys (a map's order on the wire is random). Bytes of fields that this build's schema does not know are kept.</summary>
    public string Message(IMessage message)
    {
        var tree = JsonNode.Parse(s_formatter.Format(message))!;
        var text = Canonical(tree)!.ToJsonString(s_indented);
        var unknown = UnknownBytes(message);
        return unknown == 0 ? text : $"{text}\n+ {unknown} bytes of unknown fields";
    }

    public string Text(string text)
    {
        foreach (var (value, name) in _names)
        {
            text = text.Replace(value, name, StringComparison.Ordinal);
        }

        text = Hex64().Replace(text, "<id>");
        text = Uuid().Replace(text, "<uuid>");
        text = StreamingUrl().Replace(text, "http://<address>/$1/<token>");
        text = Process().Replace(text, "/proc/<pid>/");
        text = Hardware().Replace(text, "<mac>");
        text = Veth().Replace(text, "<veth>");
        text = Time().Replace(text, "<time>");
        text = Duration().Replace(text, "<duration>");
        return text;
    }

    private JsonNode? Canonical(JsonNode? node, string key = "")
    {
        switch (node)
        {
            case JsonObject when IsChance(key):
                return "<varies>";
            case JsonObject json:
                var sorted = new JsonObject();
                foreach (var (name, value) in json.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    sorted[Text(name)] = Canonical(value, name);
                }

                return sorted;
            case JsonArray array:
                var items = array.Select(item => Canonical(item, key)).ToList();
                // Lists of things have no order in CRI; lists within a thing (arguments, mounts) do.
                if (key is "items" or "containers" or "stats" or "images" or "imageFilesystems" or "containerFilesystems" or "containersStatuses")
                {
                    items.Sort((one, other) => string.CompareOrdinal(one?.ToJsonString(), other?.ToJsonString()));
                }

                return new JsonArray([.. items]);
            case JsonValue value:
                return Value(key, value);
            default:
                return null;
        }
    }

    private JsonNode? Value(string key, JsonValue value)
    {
        if (value.GetValueKind() is JsonValueKind.String)
        {
            var text = value.GetValue<string>();
            if (IsTime(key) || IsCounter(key))
            {
                // Its being there, and being more than nothing, is part of the answer.
                return text is "0" or "" ? text : "<varies>";
            }

            if (text.Length > 1 && text[0] is '{' or '[')
            {
                try
                {
                    // Verbose answers carry JSON in strings.
                    return Canonical(JsonNode.Parse(text), key);
                }
                catch (JsonException)
                {
                }
            }

            return Text(text);
        }

        if (value.GetValueKind() is JsonValueKind.Number && (IsTime(key) || IsCounter(key) || key is "pid" or "Pid"))
        {
            return value.ToJsonString() == "0" ? 0 : "<varies>";
        }

        return value.DeepClone();
    }

    private static bool IsTime(string key) =>
        key is "timestamp" or "createdAt" or "startedAt" or "finishedAt" or "CreatedAt" or "StartedAt" or "FinishedAt";

    // UInt64Value is an object with one field of this name, and only statistics use it.
    private static bool IsCounter(string key) => key is "value" or "usageNanoCores" or "usageCoreNanoSeconds";

    // Whether there was any is chance too (a page that was still cached, an interval without a packet): only that it is told counts.
    private static bool IsChance(string key) => key is "majorPageFaults" or "usageNanoCores" or "rxBytes" or "txBytes";

    private static int UnknownBytes(IMessage message)
    {
        var known = message.Descriptor.Parser.WithDiscardUnknownFields(true).ParseFrom(message.ToByteString());
        return message.CalculateSize() - known.CalculateSize();
    }

    [GeneratedRegex("(?<!sha256:)\\b[0-9a-f]{64}\\b")]
    private static partial Regex Hex64();

    [GeneratedRegex("\\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\\b")]
    private static partial Regex Uuid();

    [GeneratedRegex("http://[^/ \"]+/(exec|attach|portforward)/[A-Za-z0-9_-]+")]
    private static partial Regex StreamingUrl();

    [GeneratedRegex("\\b([0-9a-f]{2}:){5}[0-9a-f]{2}\\b")]
    private static partial Regex Hardware();

    [GeneratedRegex("\\bveth[0-9a-f]{8}\\b")]
    private static partial Regex Veth();

    [GeneratedRegex("/proc/\\d+/")]
    private static partial Regex Process();

    [GeneratedRegex("\\d{4}-\\d\\d-\\d\\d[T ]\\d\\d:\\d\\d:\\d\\d[.\\d]*( ?[+-]\\d{4} UTC|Z)?( m=[+]\\d+[.]\\d+)?")]
    private static partial Regex Time();

    [GeneratedRegex("\\b\\d+([.]\\d+)?(ms|µs|s)\\b")]
    private static partial Regex Duration();
}
