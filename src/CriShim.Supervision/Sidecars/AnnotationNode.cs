using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace CriShim.Supervision.Sidecars;

/// <summary>A piece of a structured annotation.</summary>
public abstract record AnnotationNode;

/// <summary>A text, number, truth value or null, as it was written.</summary>
/// <param name="Text">Without quotes; empty for null.</param>
/// <param name="IsQuoted">It was written as a text, so <c>"8080"</c> is a port's name.</param>
public sealed record AnnotationScalar(string Text, bool IsQuoted) : AnnotationNode;

public sealed record AnnotationList(IReadOnlyList<AnnotationNode> Items) : AnnotationNode;

/// <summary>Keys are unique.</summary>
public sealed record AnnotationMap(IReadOnlyDictionary<string, AnnotationNode> Entries) : AnnotationNode;

/// <summary>
/// Reads an annotation's JSON or YAML. Pod authors write these, so all of it is bounded, and what a small text can explode with (anchors,
/// aliases, tags) is refused. JSON is tried first: YAML readers stumble over JSON that is indented with tabs.
/// </summary>
internal static class AnnotationReader
{
    public const int MaxDepth = 12;

    private const int MaxNodes = 2000;

    /// <summary>Null, with the reason in <paramref name="fault"/>, when the text is none of both.</summary>
    public static AnnotationNode? Read(string text, out string fault)
    {
        fault = "";
        int nodes = 0;
        if (text.AsSpan().TrimStart() is ['[' or '{', ..])
        {
            try
            {
                using var document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = MaxDepth });
                return FromJson(document.RootElement, ref nodes);
            }
            catch (JsonException)
            {
                // YAML's flow style looks the same at its start; its reader has the last word.
            }
            catch (AnnotationFormatException e)
            {
                fault = e.Message;
                return null;
            }
            catch (Exception e) when (e is InvalidOperationException or ArgumentException)
            {
                // Half of a surrogate pair, in the text or escaped in it.
                fault = "must be valid text";
                return null;
            }
        }

        try
        {
            var parser = new Parser(new StringReader(text));
            AnnotationNode? root = null;
            int documents = 0;
            while (parser.MoveNext())
            {
                if (parser.Current is DocumentStart && ++documents > 1)
                {
                    throw new AnnotationFormatException("must be one document");
                }

                if (parser.Current is NodeEvent)
                {
                    root = FromYaml(parser, 1, ref nodes);
                }
            }

            return root ?? new AnnotationScalar("", false);
        }
        catch (YamlException e)
        {
            fault = $"must be valid YAML or JSON (line {e.Start.Line}, column {e.Start.Column}: {UntrustedText.Printable(e.Message, out _)})";
        }
        catch (AnnotationFormatException e)
        {
            fault = e.Message;
        }
        catch (Exception)
        {
            // The text is anybody's, and the parser another's: whatever it stumbles over must not stop the pod's supervision.
            fault = "must be valid YAML or JSON";
        }

        return null;
    }

    private static AnnotationNode FromJson(JsonElement element, ref int nodes)
    {
        Count(ref nodes);
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                var entries = new Dictionary<string, AnnotationNode>(StringComparer.Ordinal);
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    AddOnce(entries, property.Name, FromJson(property.Value, ref nodes));
                }

                return new AnnotationMap(entries);
            case JsonValueKind.Array:
                var items = new List<AnnotationNode>();
                foreach (JsonElement item in element.EnumerateArray())
                {
                    items.Add(FromJson(item, ref nodes));
                }

                return new AnnotationList(items);
            case JsonValueKind.String:
                return new AnnotationScalar(element.GetString()!, true);
            case JsonValueKind.Null:
                return new AnnotationScalar("", false);
            default:
                return new AnnotationScalar(element.GetRawText(), false);
        }
    }

    private static AnnotationNode FromYaml(Parser parser, int depth, ref int nodes)
    {
        Count(ref nodes);
        if (depth > MaxDepth)
        {
            throw new AnnotationFormatException($"must not nest deeper than {MaxDepth} levels");
        }

        ParsingEvent current = parser.Current!;
        if (current is AnchorAlias or NodeEvent { Anchor.IsEmpty: false } or NodeEvent { Tag.IsEmpty: false })
        {
            throw new AnnotationFormatException($"must not have anchors, aliases or tags (line {current.Start.Line}, column {current.Start.Column})");
        }

        switch (current)
        {
            case MappingStart:
                var entries = new Dictionary<string, AnnotationNode>(StringComparer.Ordinal);
                while (parser.MoveNext() && parser.Current is not MappingEnd)
                {
                    if (FromYaml(parser, depth + 1, ref nodes) is not AnnotationScalar key)
                    {
                        throw new AnnotationFormatException($"must have simple keys (line {current.Start.Line}, column {current.Start.Column})");
                    }

                    _ = parser.MoveNext();
                    AddOnce(entries, key.Text, FromYaml(parser, depth + 1, ref nodes));
                }

                return new AnnotationMap(entries);
            case SequenceStart:
                var items = new List<AnnotationNode>();
                while (parser.MoveNext() && parser.Current is not SequenceEnd)
                {
                    items.Add(FromYaml(parser, depth + 1, ref nodes));
                }

                return new AnnotationList(items);
            case Scalar scalar:
                bool plain = scalar.Style == ScalarStyle.Plain;
                return new AnnotationScalar(plain && scalar.Value is "~" or "null" ? "" : scalar.Value, !plain);
            default:
                // The library's parser gives a map that ends after its key for "- :".
                throw new AnnotationFormatException($"must be valid YAML or JSON (line {current.Start.Line}, column {current.Start.Column})");
        }
    }

    private static void AddOnce(Dictionary<string, AnnotationNode> entries, string key, AnnotationNode value)
    {
        if (!entries.TryAdd(key, value))
        {
            throw new AnnotationFormatException($"must give {UntrustedText.Quote(key)} once");
        }
    }

    private static void Count(ref int nodes)
    {
        if (++nodes > MaxNodes)
        {
            throw new AnnotationFormatException($"must have at most {MaxNodes} values");
        }
    }

    private sealed class AnnotationFormatException(string message) : Exception(message);
}
