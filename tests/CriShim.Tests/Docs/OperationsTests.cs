using System.CommandLine;
using System.Text.RegularExpressions;
using CriShim.Commands;
using CriShim.Configuration;
using CriShim.Node.Journal;
using CriShim.TestSupport.Docs;
using CriShim.TestSupport.Lab;

namespace CriShim.Tests.Docs;

/// <summary>systemd/operations.md tells of all that an operator meets: what there is, is asked of the code.</summary>
public sealed partial class OperationsTests : IDisposable
{
    private static readonly Document Operations = Document.Named("systemd/operations.md");

    private static readonly HashSet<string> Code = [.. Operations.InlineCode];

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Options_OfTheConfiguration_AreAllThereWithTheirDefaults()
    {
        Dictionary<string, string> told = [];
        foreach (string[] row in Rows("| option | default |"))
        {
            string[] names = [.. Codes(row[0])];
            string[] defaults = [.. Codes(row[1])];
            string section = names[0][..Math.Max(0, names[0].LastIndexOf('.'))];
            for (int i = 0; i < names.Length; i++)
            {
                told.Add(names[i][0] == '.' ? section + names[i] : names[i], defaults.Length == 0 ? "" : defaults[i]);
            }
        }

        Dictionary<string, string> there = ConfigurationLoader.Load(new ServeFlags(), _directory.File("absent.yaml")).Effective.ToDictionary(
            setting => setting.Path,
            // Whoever runs this.
            setting => setting.Path == "listen.group" ? "" : setting.Text);

        Assert.Equal(Lines(there), Lines(told));
    }

    [Fact]
    public void Flags_OfAllCommands_AreAllThere()
    {
        RootCommand root = CommandLine.Create(new ServeCommand());
        foreach (System.CommandLine.Command command in root.Subcommands)
        {
            Assert.True(Code.Any(code => code.StartsWith($"crishim {command.Name}", StringComparison.Ordinal)), $"crishim {command.Name}");
            foreach (Option option in command.Options.Where(option => !option.Hidden))
            {
                Assert.True(
                    Code.Any(code => Regex.IsMatch(code, $@"(^|\s){Regex.Escape(option.Name)}($|[\s=])")), $"crishim {command.Name} {option.Name}");
            }
        }
    }

    [Fact]
    public void Happenings_AllKinds_AreThere() => Assert.Equal(
        typeof(Happening).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(Happening)) && !type.IsAbstract).Select(type => type.Name)
            .Order(StringComparer.Ordinal),
        Rows("| kind | what happened |").SelectMany(row => Codes(row[0])).Order(StringComparer.Ordinal));

    [Fact]
    public void Events_AllReasons_AreThere() => Assert.Equal(
        EventReason().Matches(Source("CriShim/Events/PodStory.cs")).Select(match => match.Groups[1].Value).Distinct().Order(StringComparer.Ordinal),
        Rows("| reason | type | when |").SelectMany(row => Codes(row[0])).Order(StringComparer.Ordinal));

    [Fact]
    public void Alerts_All_AreThere() => Assert.Equal(
        Alert().Matches(Source("CriShim/Metrics/alerts.yaml")).Select(match => match.Groups[1].Value).Order(StringComparer.Ordinal),
        Rows("| alert | what to do |").SelectMany(row => Codes(row[0])).Order(StringComparer.Ordinal));

    /// <summary>Those that a crishim without sources or collectors does not show, too. OperatorSiteTests asks the other way, and exactly.</summary>
    [Fact]
    public void Metrics_OfAllInstruments_AreThere()
    {
        string[] instruments = [.. Sources().SelectMany(text => Instrument().Matches(text)).Select(match => match.Groups[1].Value).Distinct()];
        string[] told = [.. Rows("| metric | what it tells |").SelectMany(row => Codes(row[0]).Take(1))];

        Assert.True(instruments.Length > 30, $"only {instruments.Length} instruments were found");
        Assert.All(instruments, name => Assert.Contains(
            told, metric => Regex.IsMatch(metric, $"^{name.Replace('.', '_')}(_total|_seconds|_seconds_total|_bytes)?$")));
        Assert.All(told, metric => Assert.Contains(
            instruments, name => Regex.IsMatch(metric, $"^{name.Replace('.', '_')}(_total|_seconds|_seconds_total|_bytes)?$")));
    }

    [Fact]
    public void Log_AllWarningsAndErrors_AreThere()
    {
        (string Level, string Words)[] there =
        [
            .. Sources().SelectMany(text => LogMethod().Matches(text)).Select(match => (
                Level: match.Groups["level"].Value.ToLowerInvariant(),
                Words: Repeated().Replace(Placeholder().Replace(string.Concat(Literal().Matches(match.Groups["text"].Value).Select(part => part.Groups[1].Value)), "…"), "…")))
                .Where(message => message.Level is "warning" or "error" or "critical"),
        ];
        string[] told = [.. Rows("| level | words |").Select(row => $"{row[0]}: {row[1]}")];

        Assert.True(there.Length > 50, $"only {there.Length} messages were found");
        // A line that is its reason alone has no words of its own: the text below the table tells of it.
        Assert.Equal(
            there.Where(message => message.Words != "…").Select(message => $"{message.Level}: {message.Words}").Distinct().Order(StringComparer.Ordinal),
            told.Order(StringComparer.Ordinal));
    }

    private static IEnumerable<string> Lines(Dictionary<string, string> settings) =>
        settings.Select(setting => $"{setting.Key}: {setting.Value}").Order(StringComparer.Ordinal);

    /// <summary>Cells of the table with that head.</summary>
    private static List<string[]> Rows(string head)
    {
        var rows = Operations.Prose.Select(line => line.Text).SkipWhile(line => !line.StartsWith(head, StringComparison.Ordinal)).Skip(2)
            .TakeWhile(line => line.StartsWith('|')).Select(line => line.Trim('|').Split('|').Select(cell => cell.Trim()).ToArray()).ToList();
        Assert.NotEmpty(rows);
        return rows;
    }

    private static IEnumerable<string> Codes(string cell) => InCode().Matches(cell).Select(match => match.Groups[1].Value);

    private static string Source(string path) => File.ReadAllText(Path.Combine(Repository.Root, "src", path));

    private static IEnumerable<string> Sources() =>
        Directory.EnumerateFiles(Path.Combine(Repository.Root, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal) && !file.Contains("/bin/", StringComparison.Ordinal))
            .Select(File.ReadAllText);

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex InCode();

    [GeneratedRegex("=> \"([A-Z]\\w+)\"")]
    private static partial Regex EventReason();

    [GeneratedRegex(@"- alert: (\w+)")]
    private static partial Regex Alert();

    [GeneratedRegex("Create[A-Z]\\w+(?:<\\w+>)?\\(\\s*\"((?:crishim|process)\\.[a-z_.]+)\"")]
    private static partial Regex Instrument();

    [GeneratedRegex(@"\[LoggerMessage\((?:(?!LoggerMessage)[\s\S])*?LogLevel\.(?<level>\w+),(?<text>(?:\s*(?:\+\s*)?""(?:[^""\\]|\\.)*"")+)")]
    private static partial Regex LogMethod();

    [GeneratedRegex("\"((?:[^\"\\\\]|\\\\.)*)\"")]
    private static partial Regex Literal();

    [GeneratedRegex(@"\{[^}]*\}")]
    private static partial Regex Placeholder();

    [GeneratedRegex("…(?:/…)+")]
    private static partial Regex Repeated();
}
