using System.Text;

namespace CriShim.Discovery.Reading;

/// <summary>Reads the text of one manifest file, YAML or JSON.</summary>
internal static class ManifestReader
{
    /// <returns>The pods, with empty UIDs.</returns>
    /// <exception cref="ManifestException">The file is no manifest.</exception>
    public static IReadOnlyList<PodDocument> Read(string file, byte[] content)
    {
        ReadOnlySpan<byte> text = content;
        if (text.StartsWith(Encoding.UTF8.Preamble))
        {
            text = text[Encoding.UTF8.Preamble.Length..];
        }

        return text.TrimStart(" \t\r\n"u8) is [(byte)'{', ..] ? ReadJson(file, text) : ReadYaml(file, text);
    }

    private static IReadOnlyList<PodDocument> ReadJson(string file, ReadOnlySpan<byte> text)
    {
        try
        {
            return PodReader.ReadManifest(text);
        }
        catch (PodSpecException e)
        {
            throw new ManifestException(file, 1 + text[..(int)Math.Min(e.Offset, text.Length)].Count((byte)'\n'), e.Message);
        }
    }

    private static IReadOnlyList<PodDocument> ReadYaml(string file, ReadOnlySpan<byte> text)
    {
        try
        {
            YamlValue root = YamlTree.Read(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(text))
                ?? throw new YamlFaultException("is empty", 1);
            using YamlToJson json = YamlToJson.Convert(root);
            try
            {
                return PodReader.ReadManifest(json.Json);
            }
            catch (PodSpecException e)
            {
                throw new ManifestException(file, json.LineAt(e.Offset), e.Message);
            }
        }
        catch (YamlFaultException e)
        {
            throw new ManifestException(file, e.Line, e.Message);
        }
        catch (DecoderFallbackException)
        {
            throw new ManifestException(file, 1, "must be UTF-8 text");
        }
    }
}

/// <summary>A file that is no manifest; the message is "file:line: reason" and holds nothing of the file.</summary>
internal sealed class ManifestException(string file, long line, string reason) : Exception($"{file}:{line}: {reason}");
