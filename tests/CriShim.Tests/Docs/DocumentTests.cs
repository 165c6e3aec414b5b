using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Text.RegularExpressions;
using CriShim.Commands;
using CriShim.Configuration;
using CriShim.Supervision.Sidecars;
using CriShim.TestSupport.Docs;
using CriShim.TestSupport.Lab;
using Xunit.Abstractions;
using YamlDotNet.RepresentationModel;

namespace CriShim.Tests.Docs;

/// <summary>
/// What the documents say can be done, and what they point at, is there. Their commands are run by DocumentedCommandsTests of
/// CriShim.SystemdNode.Tests.
/// </summary>
public sealed partial class DocumentTests(ITestOutputHelper output) : IDisposable
{
    private readonly TempDirectory _directory = new();

    public static TheoryData<string> Documents => [.. Document.All.Select(document => document.Path)];

    public void Dispose() => _directory.Dispose();

    [Theory]
    [MemberData(nameof(Documents))]
    public void Blocks_OfADocument_HaveALanguageAndCommandsAPlace(string path)
    {
        Document document = Document.Named(path);

        Assert.All(document.Blocks, block => Assert.True(
            block.Language is "sh" or "yaml" or "text", $"{block}: a block is sh, yaml or text, not \"{block.Language}\""));
        Assert.All(document.Blocks.Where(block => block.Language == "sh"), block => Assert.True(
            block.HasPlace, $"{block}: \"{block.Place}\" is no place where its commands are run; src/development.md lists them"));
        Assert.All(document.Blocks.Where(block => block.Language != "sh"), block => Assert.Null(block.Place));

        // An indented block would be one without a language, and would escape all this.
        bool isAfterEmptyLine = false;
        foreach ((int line, string text) in document.Prose)
        {
            Assert.False(isAfterEmptyLine && text.StartsWith("    ", StringComparison.Ordinal), $"{path}:{line}: a block of code without fences");
            isAfterEmptyLine = text.Length == 0;
        }
    }

    [Fact]
    public async Task Commands_OfAllDocuments_AreShell()
    {
        DocumentBlock[] blocks = [.. Document.All.SelectMany(document => document.Blocks).Where(block => block.Language == "sh")];
        Assert.NotEmpty(blocks);
        foreach (DocumentBlock block in blocks)
        {
            using Process bash = Process.Start(new ProcessStartInfo("/bin/bash", ["-n"]) { RedirectStandardInput = true, RedirectStandardError = true })!;
            await bash.StandardInput.WriteAsync(block.Content);
            bash.StandardInput.Close();
            string errors = await bash.StandardError.ReadToEndAsync();
            await bash.WaitForExitAsync();
            Assert.True(bash.ExitCode == 0 && errors.Length == 0, $"{block}: {errors}");
        }

        foreach (DocumentBlock block in blocks.Where(block => block.Unavailable is not null))
        {
            output.WriteLine($"{block} is run by no test, for there is not here: {block.Unavailable}");
        }
    }

    /// <summary>A line that calls crishim, wherever it stands, is one that crishim takes.</summary>
    [Fact]
    public void Commands_OfCrishim_AreKnownWithTheirFlags()
    {
        RootCommand root = CommandLine.Create(new ServeCommand());
        (string Where, string Line)[] calls =
        [
            .. Document.All.SelectMany(document => document.InlineCode.Select(code => (document.Path, code))),
            .. Document.All.SelectMany(document => document.Blocks).Where(block => block.Language == "sh")
                .SelectMany(block => block.Content.Split('\n').Select(line => ($"{block}", line))),
        ];
        int found = 0;
        foreach ((string where, string line) in calls)
        {
            foreach (Match call in CrishimCall().Matches(line))
            {
                found++;
                string[] words = call.Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                // Prose may name a command without all that it takes.
                ParseResult parse = root.Parse(words.Length == 1 && words[0] is "explain" or "timeline" or "completion" ? [.. words, "bash"] : words);
                Assert.True(parse.Errors.Count == 0, $"{where}: {line}: {string.Join("; ", parse.Errors.Select(error => error.Message))}");
            }
        }

        Assert.True(found > 30, $"only {found} calls of crishim were found");
    }

    [Fact]
    public void Targets_OfMake_AreThere()
    {
        HashSet<string> targets = [.. MakeTarget().Matches(File.ReadAllText(At("Makefile"))).Select(match => match.Groups[1].Value)];
        string[] named =
        [
            .. Document.All.SelectMany(document => document.InlineCode.Concat(
                    document.Blocks.Where(block => block.Language == "sh").SelectMany(block => block.Content.Split('\n'))))
                .SelectMany(line => MakeCall().Matches(line)).SelectMany(match => match.Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries))
                .Where(word => !word.Contains('=', StringComparison.Ordinal)),
        ];

        Assert.NotEmpty(named);
        Assert.All(named, target => Assert.Contains(target, targets));
        // And none is kept from people.
        Assert.All(targets.Except(["help", "deps"]), target => Assert.Contains(target, named));
    }

    [Fact]
    public void Units_OfCrishim_AreThere() => Assert.All(
        Document.All.SelectMany(document => Unit().Matches(document.Text)).Select(match => match.Value).Distinct(),
        unit => Assert.True(File.Exists(At("systemd", unit)), $"there is no {unit}"));

    [Fact]
    public void Package_ByItsName_IsThatOfThisVersion()
    {
        string version = VersionElement().Match(File.ReadAllText(At("Directory.Build.props"))).Groups[1].Value;
        string[] named = [.. Document.All.SelectMany(document => PackageName().Matches(document.Text)).Select(match => match.Groups[1].Value).Distinct()];
        Assert.Equal([version], named);
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Yaml_OfADocument_IsWhatItSeemsToBe(string path)
    {
        foreach (DocumentBlock block in Document.Named(path).Blocks.Where(block => block.Language == "yaml"))
        {
            var yaml = new YamlStream();
            using var reader = new StringReader(block.Content);
            yaml.Load(reader);
            var root = (YamlMappingNode)yaml.Documents.Single().RootNode;
            if (root.Children.TryGetValue("kind", out YamlDotNet.RepresentationModel.YamlNode? kind) && $"{kind}" == "CriShimConfiguration")
            {
                string file = _directory.File("config.yaml");
                File.WriteAllText(file, block.Content);
                LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = file });
                Assert.True(loaded.Errors.Count == 0, $"{block}: {string.Join("; ", loaded.Errors)}");
            }

            if (root.Children.TryGetValue("metadata", out YamlDotNet.RepresentationModel.YamlNode? metadata))
            {
                var annotations = ((YamlMappingNode)metadata["annotations"]).Children.ToDictionary(pair => $"{pair.Key}", pair => $"{pair.Value}");
                SidecarAnnotation read = SidecarAnnotation.Parse(annotations);
                Assert.Empty(read.Errors);
                Assert.NotEmpty(read.Sidecars);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Links_OfADocument_LeadSomewhere(string path)
    {
        Document document = Document.Named(path);
        foreach (Match link in document.Prose.SelectMany(line => Link().Matches(line.Text)).Where(match => !match.Groups[1].Value.Contains("://", StringComparison.Ordinal)))
        {
            string[] parts = link.Groups[1].Value.Split('#');
            string target = parts[0].Length == 0 ? path : Path.GetRelativePath(Repository.Root, Path.GetFullPath(Path.Combine(At(path), "..", parts[0])));
            Assert.True(Path.Exists(At(target)), $"{path}: {link.Value}: there is no {target}");
            if (parts.Length > 1)
            {
                string[] anchors = [.. Document.Named(target).Prose.Where(line => line.Text.StartsWith('#')).Select(line => Anchor(line.Text))];
                Assert.Contains(parts[1], anchors);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Files_NamedByADocument_AreThere(string path)
    {
        Document document = Document.Named(path);
        IEnumerable<string> named = document.InlineCode.Where(code => RepositoryPath().IsMatch(code))
            // The drawing of the architecture.
            .Concat(document.Blocks.Where(block => block.Language == "text").SelectMany(block => DrawnPath().Matches(block.Content)).Select(match => $"src/{match.Value}"));
        Assert.All(named, file => Assert.True(Path.Exists(At(file.TrimEnd('/'))), $"{path}: there is no {file}"));
    }

    /// <summary>The README's links lead to every document for people, itself or over another one.</summary>
    [Fact]
    public void Documents_All_AreFoundFromTheReadme()
    {
        var found = new HashSet<string> { "README.md" };
        var open = new Queue<string>(found);
        while (open.TryDequeue(out string? path))
        {
            foreach (Match link in Link().Matches(Document.Named(path).Text))
            {
                string target = Path.GetRelativePath(Repository.Root, Path.GetFullPath(Path.Combine(At(path), "..", link.Groups[1].Value.Split('#')[0])));
                if (target.EndsWith(".md", StringComparison.Ordinal) && File.Exists(At(target)) && found.Add(target))
                {
                    open.Enqueue(target);
                }
            }
        }

        Assert.Equal(Document.All.Select(document => document.Path).Order(StringComparer.Ordinal), found.Order(StringComparer.Ordinal));
    }

    private static string At(params string[] path) => Path.Combine([Repository.Root, .. path]);

    /// <summary>As GitHub makes them of headings.</summary>
    private static string Anchor(string heading) =>
        NoAnchor().Replace(heading.TrimStart('#').Trim().ToLowerInvariant(), "").Replace(' ', '-');

    // Up to what ends a command in a shell, and in the prose.
    [GeneratedRegex(@"(?:^|[\s(/])crishim ((?:serve|drain|pods|explain|events|timeline|doctor|version|completion|manual)\b[^#|&;<>()]*)")]
    private static partial Regex CrishimCall();

    [GeneratedRegex(@"^([a-z-]+):(?: .*)? ##", RegexOptions.Multiline)]
    private static partial Regex MakeTarget();

    [GeneratedRegex(@"^make ([^#]*)")]
    private static partial Regex MakeCall();

    [GeneratedRegex(@"\bcrishim[a-z-]*\.(?:service|socket)\b(?!\.d)")]
    private static partial Regex Unit();

    [GeneratedRegex("<Version>(.*)</Version>")]
    private static partial Regex VersionElement();

    [GeneratedRegex(@"crishim_([0-9.]+)_amd64\.deb")]
    private static partial Regex PackageName();

    [GeneratedRegex(@"\]\(([^)]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"^(?:src|tests|systemd|proto)(?:/[\w.-]+)*/?$|^[\w-]+\.(?:props|sln)$")]
    private static partial Regex RepositoryPath();

    [GeneratedRegex(@"CriShim\.\w+(?:/\w+)*/\w+(?:\.\w+)*\.cs")]
    private static partial Regex DrawnPath();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NoAnchor();
}
