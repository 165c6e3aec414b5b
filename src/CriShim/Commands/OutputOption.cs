using System.CommandLine;

namespace CriShim.Commands;

/// <summary>"--output": what a command prints, for people or as JSON.</summary>
internal sealed class OutputOption : Option<string>
{
    /// <param name="json">What it prints as JSON: "one object".</param>
    public OutputOption(string json)
        : base("--output", "-o")
    {
        HelpName = "text|json";
        Description = $"How to print it; json: {json}.";
        DefaultValueFactory = _ => "text";
        this.AcceptOnlyFromAmong("text", "json");
    }

    public bool IsJson(ParseResult parse) => parse.GetValue(this) == "json";
}
