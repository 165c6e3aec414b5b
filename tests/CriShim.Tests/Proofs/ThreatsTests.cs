using System.Text.RegularExpressions;
using CriShim.TestSupport.Lab;

namespace CriShim.Tests.Proofs;

/// <summary>The threat model names a test for each of its lines, and each of these tests is there.</summary>
public sealed partial class ThreatsTests
{
    private static readonly string Model = File.ReadAllText(Path.Combine(Repository.Root, "src", "CriShim", "Serving", "threats.md"));

    [Fact]
    public void Threats_EachLine_NamesATestThatIsThere()
    {
        Dictionary<string, string> classes = Directory.GetFiles(Path.Combine(Repository.Root, "tests"), "*Tests.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal))
            .GroupBy(file => Path.GetFileNameWithoutExtension(file))
            .ToDictionary(files => files.Key, files => string.Concat(files.Select(File.ReadAllText)));
        string[] lines = [.. Model.Split('\n').Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Where(line => !line.StartsWith("| from ", StringComparison.Ordinal))];
        Assert.NotEmpty(lines);

        Assert.All(lines, line =>
        {
            MatchCollection tests = TestName().Matches(line);
            Assert.True(tests.Count > 0, $"no test is named: {line}");
            Assert.All(tests, test => Assert.True(
                classes.TryGetValue(test.Groups[1].Value, out string? code) && Regex.IsMatch(code, $@"\b(void|Task) {test.Groups[2].Value}\("),
                $"{test.Value} is not there: {line}"));
        });
    }

    [GeneratedRegex(@"`(\w+Tests)\.(\w+)`")]
    private static partial Regex TestName();
}
