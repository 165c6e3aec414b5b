using System.CommandLine;
using System.Globalization;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Commands;

/// <summary>"crishim explain": why a pod or a container is as it is.</summary>
internal sealed class ExplainCommand : AskingCommand
{
    private readonly Argument<string> _pod;

    public ExplainCommand()
        : base(
            "explain",
            "Says in words why a pod and its containers are as they are, what was decided about them and why, and what can be done about it.",
            "one object")
    {
        _pod = PodArgument("POD[/CONTAINER]", SubjectText.Help);
        Command.Add(_pod);
        AddCommonOptions();
    }

    protected override async Task<int> RunAsync(
        Supervisor.SupervisorClient supervisor, Answer answer, ParseResult parse, CancellationToken cancellationToken)
    {
        string subject = parse.GetValue(_pod)!;
        if (!CheckSubject(subject, answer))
        {
            return ExitCode.Usage;
        }

        ExplainResponse explained = await supervisor.ExplainAsync(new ExplainRequest { Subject = subject }, cancellationToken: cancellationToken);
        TextWriter output = answer.Terminal.Output;
        if (answer.IsJson)
        {
            output.WriteLine(ToJson(explained));
            return ExitCode.Success;
        }

        foreach (string line in ToText(explained, answer.Terminal))
        {
            output.WriteLine(line);
        }

        return ExitCode.Success;
    }

    internal static IEnumerable<string> ToText(ExplainResponse explained, Terminal terminal)
    {
        Pod pod = explained.Pod;
        yield return terminal.Paint(Colour.Bold, Terminal.Clean($"Pod {pod.Namespace}/{pod.Name}, sandbox {pod.SandboxId}"));
        string? container = null;
        foreach (Statement statement in explained.Statements)
        {
            if (statement.Container.Length > 0 && statement.Container != container)
            {
                container = statement.Container;
                yield return "";
                yield return terminal.Paint(Colour.Bold, Terminal.Clean($"Container {container}"));
            }

            foreach (string line in Wrap(Terminal.Clean(statement.Text), terminal.Columns - 4))
            {
                yield return terminal.Paint(statement.IsWarning ? Colour.Yellow : Colour.None, line);
            }
        }

        yield return "";
        yield return terminal.Paint(
            Colour.Bold, explained.Trail.Count > 0 ? "What happened (UTC)" : "Nothing has happened since this crishim started.");
        DateOnly? day = null;
        foreach (Event happened in explained.Trail)
        {
            DateTimeOffset at = happened.At.ToDateTimeOffset();
            if (day != DateOnly.FromDateTime(at.UtcDateTime))
            {
                day = DateOnly.FromDateTime(at.UtcDateTime);
                yield return terminal.Paint(Colour.Dim, day.Value.ToString("  yyyy-MM-dd", CultureInfo.InvariantCulture));
            }

            string who = happened.Container.Length > 0 ? $"{happened.Container}: " : "";
            string line = string.Create(CultureInfo.InvariantCulture, $"  {at.UtcDateTime:HH:mm:ss.fff}  {Terminal.Clean(who + happened.Text)}");
            yield return terminal.Paint(happened.IsWarning ? Colour.Yellow : Colour.None, line);
        }
    }

    internal static string ToJson(ExplainResponse explained) => ReportJson.Text(json =>
    {
        json.WriteStartObject();
        json.WritePropertyName("pod");
        ReportJson.Write(json, explained.Pod);
        if (explained.Container.Length > 0)
        {
            json.WriteString("container", explained.Container);
        }

        json.WriteBoolean("gone", explained.IsGone);
        json.WriteStartArray("statements");
        foreach (Statement statement in explained.Statements)
        {
            json.WriteStartObject();
            if (statement.Container.Length > 0)
            {
                json.WriteString("container", statement.Container);
            }

            json.WriteString("text", statement.Text);
            json.WriteBoolean("warning", statement.IsWarning);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("trail");
        foreach (Event happened in explained.Trail)
        {
            ReportJson.Write(json, happened);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>A statement as an item of a list.</summary>
    private static IEnumerable<string> Wrap(string text, int columns)
    {
        string prefix = "  - ";
        string line = "";
        foreach (string word in text.Split(' '))
        {
            if (line.Length > 0 && line.Length + 1 + word.Length > columns)
            {
                yield return prefix + line;
                prefix = "    ";
                line = word;
            }
            else
            {
                line = line.Length == 0 ? word : $"{line} {word}";
            }
        }

        yield return prefix + line;
    }
}

/// <summary>How a pod is named.</summary>
internal static class SubjectText
{
    public const string Help =
        "A pod: its name, NAMESPACE/NAME, or the beginning of its sandbox's id (4 characters or more); and /CONTAINER, if one is meant.";

    public const string Allowed = "must be a pod's name, NAMESPACE/NAME, or the beginning of its sandbox's id, and /CONTAINER, if one is meant";
}
