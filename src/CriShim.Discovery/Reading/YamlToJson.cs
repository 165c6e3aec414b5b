using System.Buffers;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace CriShim.Discovery.Reading;

/// <summary>
/// Turns a YAML document into the JSON that the kubelet's decoder (sigs.k8s.io/yaml) makes of it, so that one reader reads both, and
/// remembers which line each byte came from.
/// </summary>
internal sealed partial class YamlToJson : IDisposable
{
    /// <summary>Aliases can make much of little: what comes out is bounded, not only what goes in.</summary>
    private const int MaxBytes = 8 * 1024 * 1024;

    private readonly ArrayBufferWriter<byte> _output = new();
    private readonly Utf8JsonWriter _writer;
    private readonly List<(long Offset, long Line)> _lines = [];

    private YamlToJson() => _writer = new Utf8JsonWriter(_output);

    public ReadOnlySpan<byte> Json => _output.WrittenSpan;

    /// <exception cref="YamlFaultException">It can't be said in JSON.</exception>
    public static YamlToJson Convert(YamlValue root)
    {
        var conversion = new YamlToJson();
        conversion.Write(root, 1);
        conversion._writer.Flush();
        return conversion;
    }

    /// <summary>The line of the YAML text that a byte of the JSON came from.</summary>
    public long LineAt(long offset)
    {
        int index = _lines.BinarySearch((offset, long.MaxValue));
        index = index < 0 ? ~index - 1 : index;
        return index < 0 ? 1 : _lines[index].Line;
    }

    public void Dispose() => _writer.Dispose();

    private void Write(YamlValue value, int depth)
    {
        long offset = _writer.BytesCommitted + _writer.BytesPending;
        if (offset > MaxBytes || depth > 200)
        {
            throw new YamlFaultException("becomes too large once its aliases are resolved", value.Line);
        }

        _lines.Add((offset, value.Line));
        switch (value)
        {
            case YamlScalar scalar:
                WriteScalar(scalar);
                break;
            case YamlSequence sequence:
                _writer.WriteStartArray();
                foreach (YamlValue item in sequence.Items)
                {
                    Write(item, depth + 1);
                }

                _writer.WriteEndArray();
                break;
            case YamlMapping mapping:
                _writer.WriteStartObject();
                foreach ((string key, YamlValue field) in Fields(mapping, 1))
                {
                    _writer.WritePropertyName(key);
                    Write(field, depth + 1);
                }

                _writer.WriteEndObject();
                break;
        }
    }

    /// <summary>The fields with merge keys (&lt;&lt;) resolved: what a mapping says itself goes before what it merges.</summary>
    private static Dictionary<string, YamlValue> Fields(YamlMapping mapping, int depth)
    {
        if (depth > 20)
        {
            throw new YamlFaultException("merges mappings too deeply", mapping.Line);
        }

        var fields = new Dictionary<string, YamlValue>(StringComparer.Ordinal);
        var merged = new List<YamlValue>();
        foreach ((YamlScalar key, YamlValue value) in mapping.Fields)
        {
            if (key is { IsPlain: true, Text: "<<" })
            {
                merged.AddRange(value is YamlSequence sequence ? sequence.Items : [value]);
            }
            else
            {
                fields[key.Text] = value;
            }
        }

        foreach (YamlValue value in merged)
        {
            var from = value as YamlMapping ?? throw new YamlFaultException("merges what is no mapping", value.Line);
            foreach ((string key, YamlValue field) in Fields(from, depth + 1))
            {
                fields.TryAdd(key, field);
            }
        }

        return fields;
    }

    private void WriteScalar(YamlScalar scalar)
    {
        string text = scalar.Text;
        if (!scalar.IsPlain)
        {
            _writer.WriteStringValue(text);
            return;
        }

        switch (text)
        {
            case "" or "~" or "null" or "Null" or "NULL":
                _writer.WriteNullValue();
                break;
            // The kubelet's decoder goes by YAML 1.1, where yes and on are booleans.
            case "true" or "True" or "TRUE" or "y" or "Y" or "yes" or "Yes" or "YES" or "on" or "On" or "ON":
                _writer.WriteBooleanValue(true);
                break;
            case "false" or "False" or "FALSE" or "n" or "N" or "no" or "No" or "NO" or "off" or "Off" or "OFF":
                _writer.WriteBooleanValue(false);
                break;
            default:
                if (Number().IsMatch(text) && decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out decimal number))
                {
                    _writer.WriteNumberValue(number);
                }
                else
                {
                    _writer.WriteStringValue(text);
                }

                break;
        }
    }

    [GeneratedRegex(@"^[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?$", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex Number();
}
