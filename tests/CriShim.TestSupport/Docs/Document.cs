using System.Text.RegularExpressions;
using CriShim.TestSupport.Lab;

namespace CriShim.TestSupport.Docs;

/// <summary>A Markdown document of this repository, and the blocks of code in it.</summary>
public sealed partial class Document
{
    private Document(string path, string text)
    {
        Path = path;
        Text = text;
        (Blocks, Prose) = Read(path, text);
    }

    /// <summary>Below the repository's root.</summary>
    public string Path { get; }

    public string Text { get; }

    /// <summary>In the order of the document.</summary>
    public IReadOnlyList<DocumentBlock> Blocks { get; }

    /// <summary>All lines outside of blocks, by their numbers, from 1.</summary>
    public IReadOnlyList<(int Line, string Text)> Prose { get; }

    /// <summary>What stands between single backticks in the prose.</summary>
    public IEnumerable<string> InlineCode => Prose.SelectMany(line => Code().Matches(line.Text)).Select(match => match.Groups[1].Value);

    /// <summary>All of the repository, the README first.</summary>
    public static IReadOnlyList<Document> All { get; } =
    [
        .. Files(new DirectoryInfo(Repository.Root))
            .Select(file => System.IO.Path.GetRelativePath(Repository.Root, file))
            .OrderBy(path => path.Contains('/', StringComparison.Ordinal)).ThenBy(path => path, StringComparer.Ordinal)
            .Select(path => new Document(path, File.ReadAllText(System.IO.Path.Combine(Repository.Root, path)))),
    ];

    public static Document Named(string path) => All.Single(document => document.Path == path);

    private static IEnumerable<string> Files(DirectoryInfo folder)
    {
        foreach (FileInfo file in folder.EnumerateFiles("*.md"))
        {
            yield return file.FullName;
        }

        foreach (DirectoryInfo below in folder.EnumerateDirectories())
        {
            // What is built or fetched, and what git and editors keep.
            if (below.Name is not ("out" or "bin" or "obj" or "TestResults") && below.Name[0] != '.' && below.LinkTarget is null)
            {
                foreach (string file in Files(below))
                {
                    yield return file;
                }
            }
        }
    }

    private static (List<DocumentBlock> Blocks, List<(int Line, string Text)> Prose) Read(string path, string text)
    {
        var blocks = new List<DocumentBlock>();
        var prose = new List<(int, string)>();
        string[] lines = text.Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            if (!lines[i].TrimStart().StartsWith("```", StringComparison.Ordinal))
            {
                prose.Add((i + 1, lines[i]));
                continue;
            }

            int first = i;
            string language = lines[i].Trim()[3..];
            Match place = first > 0 ? Place().Match(lines[first - 1]) : Match.Empty;
            var content = new List<string>();
            for (i++; i < lines.Length && lines[i].Trim() != "```"; i++)
            {
                content.Add(lines[i]);
            }

            if (i == lines.Length)
            {
                throw new FormatException($"{path}:{first + 1}: this block has no end");
            }

            blocks.Add(new DocumentBlock(path, first + 1, language, place.Success ? place.Groups[1].Value : null, string.Join('\n', content) + "\n"));
        }

        return (blocks, prose);
    }

    [GeneratedRegex(@"^<!-- run: (.+) -->$")]
    private static partial Regex Place();

    [GeneratedRegex(@"(?<!`)`([^`]+)`(?!`)")]
    private static partial Regex Code();
}

/// <summary>A fenced block of a document.</summary>
/// <param name="Path">The document's.</param>
/// <param name="Line">Of its first fence, from 1.</param>
/// <param name="Language">What follows the fence: sh, yaml, text.</param>
/// <param name="Place">Where its commands are run, by the comment before it; null where there is none.</param>
/// <param name="Content">Its lines.</param>
public sealed record DocumentBlock(string Path, int Line, string Language, string? Place, string Content)
{
    /// <summary>In the source tree.</summary>
    public const string Source = "source";

    /// <summary>On a node with systemd and containerd, in the order of the document.</summary>
    public const string Node = "node";

    /// <summary>The same, after all other blocks.</summary>
    public const string NodeLast = "node, last";

    /// <summary>On such a node without the package, in the source tree.</summary>
    public const string BareNode = "bare node";

    private const string UnavailableBefore = "unavailable: ";

    /// <summary>Why its commands are not run anywhere; null where they are.</summary>
    public string? Unavailable =>
        Place?.StartsWith(UnavailableBefore, StringComparison.Ordinal) == true ? Place[UnavailableBefore.Length..] : null;

    /// <summary>Somebody runs it, or it is known why not.</summary>
    public bool HasPlace => Place is Source or Node or NodeLast or BareNode || Unavailable is { Length: > 0 };

    public override string ToString() => $"{Path}:{Line}";
}
