using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace CriShim.Discovery.Reading;

/// <summary>A node of a YAML document, with its line (from one).</summary>
internal abstract record YamlValue(long Line);

/// <param name="Line">Its line.</param>
/// <param name="Text">Its text.</param>
/// <param name="IsPlain">Without quotes and tag: its text says what type it is of.</param>
internal sealed record YamlScalar(long Line, string Text, bool IsPlain) : YamlValue(Line);

internal sealed record YamlSequence(long Line, IReadOnlyList<YamlValue> Items) : YamlValue(Line);

internal sealed record YamlMapping(long Line, IReadOnlyList<(YamlScalar Key, YamlValue Value)> Fields) : YamlValue(Line)
{
    /// <summary>A field's value, the last one where it is given twice; null when it is not there.</summary>
    public YamlValue? this[string key] => Fields.LastOrDefault(f => f.Key.Text == key).Value;
}

/// <summary>The text is not what it should be; holds nothing of the text.</summary>
internal sealed class YamlFaultException(string reason, long line) : Exception(reason)
{
    public long Line => line;
}

/// <summary>
/// Reads the first document of a YAML text, as the kubelet does with manifests. Not YamlDotNet's own model: that one nests calls as deep as
/// the text nests brackets, and a small file could so end the process.
/// </summary>
internal sealed class YamlTree
{
    private const int MaxDepth = 100;

    private readonly Dictionary<AnchorName, YamlValue> _anchors = [];
    private readonly Parser _parser;

    private YamlTree(string text) => _parser = new Parser(new StringReader(text));

    /// <returns>The document's root; null when there is none.</returns>
    /// <exception cref="YamlFaultException">The text is no YAML.</exception>
    public static YamlValue? Read(string text)
    {
        var tree = new YamlTree(text);
        try
        {
            while (tree._parser.MoveNext())
            {
                if (tree._parser.Current is NodeEvent or AnchorAlias)
                {
                    return tree.ReadNode(1);
                }
            }

            return null;
        }
        catch (YamlException e)
        {
            // Its message can hold parts of the text.
            throw new YamlFaultException("is no valid YAML", e.Start.Line);
        }
        catch (Exception e) when (e is not YamlFaultException)
        {
            // Its scanner fails in other ways as well on damaged text (InvalidOperationException, for one).
            throw new YamlFaultException("is no valid YAML", tree._parser.Current?.End.Line ?? 1);
        }
    }

    private YamlValue ReadNode(int depth)
    {
        ParsingEvent current = _parser.Current!;
        long line = current.Start.Line;
        if (depth > MaxDepth)
        {
            throw new YamlFaultException($"nests deeper than {MaxDepth} levels", line);
        }

        if (current is AnchorAlias alias)
        {
            return _anchors.GetValueOrDefault(alias.Value) ?? throw new YamlFaultException("has an alias without an anchor before it", line);
        }

        YamlValue value = current switch
        {
            Scalar scalar => new YamlScalar(line, scalar.Value, scalar.Style == ScalarStyle.Plain && scalar.Tag.IsEmpty),
            SequenceStart => ReadSequence(line, depth),
            MappingStart => ReadMapping(line, depth),
            _ => throw new YamlFaultException("is no valid YAML", line),
        };
        if (current is NodeEvent { Anchor.IsEmpty: false } anchored)
        {
            // Known only now that it is whole: a node can't hold itself.
            _anchors[anchored.Anchor] = value;
        }

        return value;
    }

    private YamlSequence ReadSequence(long line, int depth)
    {
        var items = new List<YamlValue>();
        while (_parser.MoveNext() && _parser.Current is not SequenceEnd)
        {
            items.Add(ReadNode(depth + 1));
        }

        return new YamlSequence(line, items);
    }

    private YamlMapping ReadMapping(long line, int depth)
    {
        var fields = new List<(YamlScalar, YamlValue)>();
        while (_parser.MoveNext() && _parser.Current is not MappingEnd)
        {
            YamlValue key = ReadNode(depth + 1);
            _ = _parser.MoveNext();
            YamlValue value = ReadNode(depth + 1);
            fields.Add((key as YamlScalar ?? throw new YamlFaultException("has a key that is no text", key.Line), value));
        }

        return new YamlMapping(line, fields);
    }
}
