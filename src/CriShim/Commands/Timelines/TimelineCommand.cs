using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Commands.Timelines;

/// <summary>"crishim timeline": one pod's life as bars.</summary>
internal sealed class TimelineCommand : AskingCommand
{
    private readonly Argument<string> _pod;

    private readonly Option<string?> _svg = new("--svg")
    {
        HelpName = "FILE", Description = "Write a picture (SVG) there instead, which a browser shows; - is the standard output.",
    };

    public TimelineCommand()
        : base("timeline", "Draws one pod's life: held starts, lives, deaths, back-off, its end.", "one object")
    {
        _pod = PodArgument("POD", SubjectText.Help);
        Command.Add(_pod);
        Command.Add(_svg);
        AddCommonOptions();
        Command.Validators.Add(result =>
        {
            if (result.GetResult(_svg) is { Implicit: false } && result.GetResult("--output") is OptionResult { Implicit: false })
            {
                result.AddError("--svg and --output exclude each other");
            }
        });
    }

    protected override async Task<int> RunAsync(
        Supervisor.SupervisorClient supervisor, Answer answer, ParseResult parse, CancellationToken cancellationToken)
    {
        string subject = parse.GetValue(_pod)!;
        if (!CheckSubject(subject, answer))
        {
            return ExitCode.Usage;
        }

        GetTimelineResponse timeline = await supervisor.GetTimelineAsync(
            new GetTimelineRequest { Subject = subject }, cancellationToken: cancellationToken);
        TextWriter output = answer.Terminal.Output;
        if (parse.GetValue(_svg) is { } file)
        {
            return await WriteAsync(file, TimelineSvg.Draw(timeline), answer, cancellationToken);
        }

        if (answer.IsJson)
        {
            output.WriteLine(ReportJson.Text(json => ReportJson.Write(json, timeline)));
            return ExitCode.Success;
        }

        foreach (string line in TimelineText.Draw(timeline, answer.Terminal))
        {
            output.WriteLine(line);
        }

        return ExitCode.Success;
    }

    private static async Task<int> WriteAsync(string file, string svg, Answer answer, CancellationToken cancellationToken)
    {
        if (file == "-")
        {
            answer.Terminal.Output.Write(svg);
            return ExitCode.Success;
        }

        try
        {
            await File.WriteAllTextAsync(file, svg, new UTF8Encoding(false), cancellationToken);
            return ExitCode.Success;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            answer.Error.WriteLine($"crishim: --svg: {exception.Message}");
            return ExitCode.Failure;
        }
    }
}
