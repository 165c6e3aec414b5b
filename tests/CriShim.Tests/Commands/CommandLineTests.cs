using System.Text.Json;
using CriShim.Commands;

namespace CriShim.Tests.Commands;

public sealed class CommandLineTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task CheckConfig_ValidFile_PrintsItAndSucceeds()
    {
        string file = _directory.File("c.yaml");
        await File.WriteAllTextAsync(file, "log: {level: debug}");

        (int code, string output, string error) = await RunAsync("serve", "--check-config", "--config", file, "--listen", "/run/x.sock");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        Assert.Contains("level: \"debug\"", output, StringComparison.Ordinal);
        Assert.Contains("address: \"/run/x.sock\"", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CheckConfig_FaultyFileAndFlag_PrintsAllErrors()
    {
        string file = _directory.File("c.yaml");
        await File.WriteAllTextAsync(file, "log: {level: loud}\nx: y");

        (int code, string output, string error) = await RunAsync("serve", "--check-config", "--config", file, "--log-format", "xml");

        Assert.Equal((ExitCode.Usage, ""), (code, output));
        string[] lines = error.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(3, lines.Length);
        Assert.StartsWith($"crishim: {file}:1:14: log.level: \"loud\": ", lines[0], StringComparison.Ordinal);
        Assert.StartsWith($"crishim: {file}:2:1: x: ", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("crishim: --log-format: \"xml\": ", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("serve --frobnicate", "--frobnicate")]
    [InlineData("serve extra", "extra")]
    [InlineData("serve --listen", "--listen")]
    [InlineData("serve --listen /a --listen /b", "--listen")]
    [InlineData("", "command")]
    [InlineData("sevre", "sevre")]
    [InlineData("version -o yaml", "yaml")]
    public async Task Run_WrongUsage_SaysWhatAndFails(string arguments, string named)
    {
        (int code, string output, string error) = await RunAsync(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries));

        Assert.Equal((ExitCode.Usage, ""), (code, output));
        Assert.Contains(named, error, StringComparison.Ordinal);
        Assert.Contains("--help", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_UnknownFlagAndFaultyValue_SaysBoth()
    {
        (int code, _, string error) = await RunAsync("serve", "--frobnicate", "--log-level", "loud");

        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("--frobnicate", error, StringComparison.Ordinal);
        Assert.Contains("--log-level: \"loud\"", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_ValueStartingWithAt_IsNotTakenForAFileOfArguments()
    {
        (int code, _, string error) = await RunAsync("serve", "--check-config", "--listen", "@abstract");

        Assert.Equal(ExitCode.Usage, code);
        Assert.Contains("--listen: \"@abstract\": must be", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Version_Text_NamesTheProgramAndItsVersion()
    {
        (int code, string output, _) = await RunAsync("version");

        Assert.Equal(ExitCode.Success, code);
        Assert.StartsWith($"crishim {VersionCommand.Version} linux/", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Version_Json_IsOneObject()
    {
        (int code, string output, _) = await RunAsync("version", "-o", "json");

        Assert.Equal(ExitCode.Success, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal(VersionCommand.Version, json.RootElement.GetProperty("version").GetString());
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("serve --help")]
    public async Task Run_Help_PrintsItAndSucceeds(string arguments)
    {
        (int code, string output, string error) = await RunAsync(arguments.Split(' '));

        Assert.Equal((ExitCode.Success, ""), (code, error));
        Assert.Contains("serve", output, StringComparison.Ordinal);
    }

    private static async Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = await CommandLine.RunAsync(arguments, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
