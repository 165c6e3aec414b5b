using System.IO.Compression;

namespace CriShim.TestSupport.Lab;

/// <summary>What a container has logged, by its log of CRI's form and those that this was rotated to.</summary>
public static class CriLogText
{
    private const string Compressed = ".gz", Temporary = ".tmp";

    /// <summary>The files that the log consists of, oldest first: of one that is being compressed, one.</summary>
    /// <param name="logFile">The one that is written, and comes last.</param>
    public static string[] Files(string logFile)
    {
        HashSet<string> all = [.. Directory.GetFiles(Path.GetDirectoryName(logFile)!, Path.GetFileName(logFile) + "*")];
        return
        [
            .. all.Where(file => file != logFile && !file.EndsWith(Temporary, StringComparison.Ordinal) && !all.Contains(file + Compressed))
                .Order(StringComparer.Ordinal),
            logFile,
        ];
    }

    /// <summary>
    /// The lines, oldest first, those that CRI wrote in parts (P, and F at the end) put together. May be called while the log is rotated: it
    /// is read again until no file came or went meanwhile.
    /// </summary>
    public static async Task<string[]> ReadAsync(string logFile)
    {
        string[] lines = [];
        await Condition.BecomesTrueAsync($"{logFile} is read as a whole", Bounds.Failure, () =>
        {
            string[] files = Files(logFile);
            try
            {
                lines = [.. files.SelectMany(LinesOf)];
            }
            catch (FileNotFoundException)
            {
                return false;
            }

            return Files(logFile).SequenceEqual(files);
        }).ConfigureAwait(false);
        return Whole(lines);
    }

    private static string[] LinesOf(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using Stream text = file.EndsWith(Compressed, StringComparison.Ordinal) ? new GZipStream(stream, CompressionMode.Decompress) : stream;
        using var reader = new StreamReader(text);
        return reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>CRI's lines are: time, stream, F for the end of a line or P for a part of one, text.</summary>
    private static string[] Whole(string[] lines)
    {
        var whole = new List<string>();
        string part = "";
        foreach (string[] fields in lines.Select(line => line.Split(' ', 4)))
        {
            part += fields[3];
            if (fields[2] != "P")
            {
                whole.Add(part);
                part = "";
            }
        }

        return [.. whole];
    }
}
