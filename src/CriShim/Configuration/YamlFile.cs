using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace CriShim.Configuration;

/// <summary>A node of a configuration file, with its place in it.</summary>
internal abstract record YamlNode(FilePlace Place);

internal sealed record YamlText(FilePlace Place, string Value, bool IsNull) : YamlNode(Place);

internal sealed record YamlList(FilePlace Place) : YamlNode(Place);

/// <summary>Something that has been reported already.</summary>
internal sealed record YamlFault(FilePlace Place) : YamlNode(Place);

internal sealed record YamlMap(FilePlace Place, IReadOnlyList<YamlEntry> Entries) : YamlNode(Place);

internal sealed record YamlEntry(FilePlace Place, string Key, YamlNode Value);

/// <summary>
/// Reads the part of YAML that a configuration needs: maps, lists and texts of one document. Anchors, aliases and tags are refused: they
/// are what small files explode with, and nothing here is worth repeating.
/// </summary>
internal static class YamlFile
{
    public const int MaxBytes = 1024 * 1024;

    private const int MaxDepth = 16;

    /// <summary>The document's root; null when it is empty, or when the errors are such that nothing can be read.</summary>
    public static YamlNode? Read(string file, List<ConfigurationError> errors)
    {
        if (ReadText(file, errors) is not { } text)
        {
            return null;
        }

        try
        {
            return new Reader(file, new Parser(new StringReader(text)), errors).ReadStream();
        }
        catch (YamlException e)
        {
            errors.Add(ConfigurationError.At(Place(file, e.Start), null, null, $"is no valid YAML: {e.Message}"));
            return null;
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The parser has been seen to throw others: "{a: {b", a line's end, "c:", for one.
            errors.Add(new ConfigurationError(file, null, null, "is no valid YAML"));
            return null;
        }
    }

    private static string? ReadText(string file, List<ConfigurationError> errors)
    {
        try
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            byte[] bytes = new byte[MaxBytes + 1];
            int length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (length > MaxBytes)
            {
                errors.Add(new ConfigurationError(file, null, null, "must have at most 1 MiB"));
                return null;
            }

            ReadOnlySpan<byte> content = bytes.AsSpan(0, length);
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(content.StartsWith(Encoding.UTF8.Preamble) ? content[3..] : content);
        }
        catch (DecoderFallbackException)
        {
            errors.Add(new ConfigurationError(file, null, null, "must be UTF-8 text"));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            errors.Add(new ConfigurationError(file, null, null, "does not exist"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add(new ConfigurationError(file, null, null, Directory.Exists(file) ? "is a directory" : $"cannot be read: {e.Message}"));
        }

        return null;
    }

    private static FilePlace Place(string file, Mark mark) => new(file, mark.Line, mark.Column);

    private sealed class Reader(string file, Parser parser, List<ConfigurationError> errors)
    {
        public YamlNode? ReadStream()
        {
            YamlNode? root = null;
            int documents = 0;
            while (parser.MoveNext())
            {
                if (parser.Current is DocumentStart start)
                {
                    if (++documents > 1)
                    {
                        Fault(start, "", null, "must be the only document of the file");
                        return root;
                    }
                }
                else if (parser.Current is NodeEvent)
                {
                    root = ReadNode("", 1);
                }
            }

            return root is YamlText { IsNull: true } ? null : root;
        }

        private YamlNode ReadNode(string path, int depth)
        {
            ParsingEvent current = parser.Current!;
            if (depth > MaxDepth)
            {
                // Deeper ones are not read at all: the file is no configuration, and recursion has an end.
                throw new YamlException(current.Start, current.End, $"it nests deeper than {MaxDepth} levels");
            }

            if (current is AnchorAlias alias)
            {
                Fault(current, path, "*" + alias.Value.Value, "must not be an alias: write the value itself");
                return new YamlFault(At(current));
            }

            if (current is NodeEvent { Anchor.IsEmpty: false } anchored)
            {
                Fault(current, path, "&" + anchored.Anchor.Value, "must not have an anchor");
            }

            if (current is NodeEvent { Tag.IsEmpty: false } tagged)
            {
                Fault(current, path, tagged.Tag.Value, "must not have a tag");
            }

            return current switch
            {
                Scalar scalar => new YamlText(At(scalar), scalar.Value, scalar.Style == ScalarStyle.Plain && scalar.Value is "" or "~" or "null"),
                MappingStart => ReadMap(current, path, depth),
                _ => ReadList(current, path, depth),
            };
        }

        private YamlMap ReadMap(ParsingEvent start, string path, int depth)
        {
            var entries = new List<YamlEntry>();
            var places = new Dictionary<string, FilePlace>(StringComparer.Ordinal);
            while (parser.MoveNext() && parser.Current is not MappingEnd)
            {
                ParsingEvent keyEvent = parser.Current!;
                string? name = (ReadNode(path, depth + 1) as YamlText)?.Value;
                string inner = name is null ? path : ConfigurationError.PathOf(path, name);
                _ = parser.MoveNext();
                YamlNode value = ReadNode(inner, depth + 1);
                if (name is null)
                {
                    Fault(keyEvent, path, null, "must have simple keys");
                }
                else if (!places.TryAdd(name, At(keyEvent)))
                {
                    Fault(keyEvent, inner, null, $"must be given once; it is already in line {places[name].Line}");
                }
                else
                {
                    entries.Add(new YamlEntry(At(keyEvent), name, value));
                }
            }

            return new YamlMap(At(start), entries);
        }

        private YamlList ReadList(ParsingEvent start, string path, int depth)
        {
            while (parser.MoveNext() && parser.Current is not SequenceEnd)
            {
                _ = ReadNode(path, depth + 1);
            }

            return new YamlList(At(start));
        }

        private FilePlace At(ParsingEvent e) => Place(file, e.Start);

        private void Fault(ParsingEvent e, string path, string? value, string rule) =>
            errors.Add(ConfigurationError.At(At(e), path, value, rule));
    }
}
