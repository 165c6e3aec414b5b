using System.CommandLine;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Commands.Pods;

/// <summary>"crishim pods": the node's pods as trees.</summary>
internal sealed class PodsCommand : AskingCommand
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(2);

    private readonly Option<bool> _watch = new("--watch", "-w")
    {
        Description = "Print it again every 2 s, until it is interrupted; on a terminal in its place. With json: an object each time, on a line.",
    };

    private readonly TimeProvider _time;

    public PodsCommand(TimeProvider time)
        : base(
            "pods",
            "Shows the node's pods with their containers: role, state, attempts, last exit, next start; CPU and memory as used, requested and "
            + "limited (of a pod by KEP-753's formula).",
            "one object")
    {
        _time = time;
        Command.Add(_watch);
        AddCommonOptions();
    }

    protected override async Task<int> RunAsync(
        Supervisor.SupervisorClient supervisor, Answer answer, ParseResult parse, CancellationToken cancellationToken)
    {
        bool isWatching = parse.GetValue(_watch);
        AsyncUnaryCall<ListPodsResponse> Ask() => supervisor.ListPodsAsync(new ListPodsRequest { WithUsage = true }, cancellationToken: cancellationToken);
        Print(await Ask(), answer, isWatching);
        while (isWatching)
        {
            await Task.Delay(Interval, _time, cancellationToken);
            Print(await AskAgainAsync(Ask, answer, _time, cancellationToken), answer, isWatching);
        }

        return ExitCode.Success;
    }

    private void Print(ListPodsResponse pods, Answer answer, bool isWatching)
    {
        Terminal terminal = answer.Terminal;
        if (answer.IsJson)
        {
            terminal.Output.WriteLine(ToJson(pods));
            return;
        }

        IReadOnlyList<string> lines = PodTree.Draw(pods, terminal, _time.GetUtcNow());
        if (isWatching && terminal.IsTerminal)
        {
            terminal.Redraw(lines);
            return;
        }

        foreach (string line in lines)
        {
            terminal.Output.WriteLine(line);
        }
    }

    internal static string ToJson(ListPodsResponse pods) => ReportJson.Text(json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("pods");
        foreach (Pod pod in pods.Pods)
        {
            ReportJson.Write(json, pod);
        }

        json.WriteEndArray();
        json.WriteBoolean("truncated", pods.IsTruncated);
        json.WriteEndObject();
    });
}
