using System.CommandLine;
using System.Globalization;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace CriShim.Commands;

/// <summary>"crishim events": what supervision did and decided on this node.</summary>
internal sealed class EventsCommand : AskingCommand
{
    private static readonly TimeSpan Wait = TimeSpan.FromSeconds(20);

    private readonly Option<bool> _follow = new("--follow", "-f")
    {
        Description = "Go on with what happens from now on, until it is interrupted; also over a restart of crishim.",
    };

    private readonly Argument<string> _pod;
    private readonly TimeProvider _time;

    public EventsCommand(TimeProvider time)
        : base(
            "events",
            "Prints what crishim did and decided on this node, as far as it is kept: restarts, back-off, held starts and stops, ends of pods.",
            "an object for each, on a line of its own")
    {
        _time = time;
        _pod = PodArgument("POD[/CONTAINER]", SubjectText.Help + " Without it: of the whole node.");
        _pod.Arity = ArgumentArity.ZeroOrOne;
        Command.Add(_pod);
        Command.Add(_follow);
        AddCommonOptions();
    }

    protected override async Task<int> RunAsync(
        Supervisor.SupervisorClient supervisor, Answer answer, ParseResult parse, CancellationToken cancellationToken)
    {
        string subject = parse.GetValue(_pod) ?? "";
        bool follows = parse.GetValue(_follow);
        if (subject.Length > 0 && !CheckSubject(subject, answer))
        {
            return ExitCode.Usage;
        }

        var request = new GetEventsRequest { Subject = subject };
        bool hasAnswered = false;
        while (true)
        {
            AsyncUnaryCall<GetEventsResponse> Ask() => supervisor.GetEventsAsync(request, cancellationToken: cancellationToken);
            GetEventsResponse events = hasAnswered && follows ? await AskAgainAsync(Ask, answer, _time, cancellationToken) : await Ask();
            hasAnswered = true;
            if (events.IsGap)
            {
                answer.Error.WriteLine("crishim: some events are missing that are not kept any more");
            }

            foreach (Event happened in events.Events)
            {
                answer.Terminal.Output.WriteLine(
                    answer.IsJson ? ReportJson.Text(json => ReportJson.Write(json, happened)) : ToText(happened, answer.Terminal));
            }

            answer.Terminal.Output.Flush();
            if (events.Events.Count == 0 && !follows)
            {
                return ExitCode.Success;
            }

            request.Cursor = events.Cursor;
            request.Wait = follows ? Duration.FromTimeSpan(Wait) : null;
        }
    }

    internal static string ToText(Event happened, Terminal terminal)
    {
        string subject = $"{happened.Namespace}/{happened.Pod}" + (happened.Container.Length > 0 ? $"/{happened.Container}" : "");
        string at = happened.At.ToDateTimeOffset().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        return terminal.Paint(Colour.Dim, at) + "  " + terminal.Paint(
            happened.IsWarning ? Colour.Yellow : Colour.None, Terminal.Clean($"{subject}  {happened.Kind}: {happened.Text}"));
    }
}
