using System.CommandLine;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace CriShim.Commands;

/// <summary>"crishim version": what this executable is.</summary>
internal static class VersionCommand
{
    public static string Version { get; } =
        typeof(VersionCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    public static Command Create()
    {
        var format = new Option<string>("--output", "-o") { HelpName = "text|json", Description = "How to print it.", DefaultValueFactory = _ => "text" };
        format.AcceptOnlyFromAmong("text", "json");
        var command = new Command("version", "Prints the version.") { format };
        command.SetAction(parse =>
        {
            parse.InvocationConfiguration.Output.WriteLine(parse.GetValue(format) == "json" ? ToJson() : ToText());
            return ExitCode.Success;
        });
        return command;
    }

    private static string Platform => $"linux/{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    private static string ToText() => $"crishim {Version} {Platform} {RuntimeInformation.FrameworkDescription}";

    private static string ToJson()
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("version", Version);
            json.WriteString("platform", Platform);
            json.WriteString("runtime", RuntimeInformation.FrameworkDescription);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
