using System.Globalization;
using System.Text;

namespace CriShim.Benchmarks.Report;

/// <summary>The report for people: Markdown whose columns also line up in a terminal.</summary>
internal static class MarkdownTable
{
    /// <summary>Above this share of busy CPUs, rows that wait for the scheduler tell of other programs.</summary>
    private const double QuietShare = 0.2;

    private static readonly string[] Head =
        ["Row", "Unit", "Bare", "nginx", "crishim", "nginx adds", "crishim adds", "Ratio", "Aim", "Met"];

    public static string Render(BenchReport report)
    {
        var text = new StringBuilder();
        var machine = report.Machine;
        text.Append(CultureInfo.InvariantCulture, $"""
            # CriShim benchmark

            {report.Begun:yyyy-MM-dd HH:mm} UTC, {report.Took.TotalSeconds:0} s{(report.Quick ? ", quick: not to be quoted" : "")}.
            {machine.Cores} cores ({machine.Processor}), Linux {machine.Kernel}, {machine.System}; {machine.Nginx}; {machine.H2Load}; crishim: {machine.CriShim ?? "not measured"}.
            Other programs kept {report.BusyBefore:P0} of the CPUs busy just before and {report.BusyAfter:P0} just after{(Busy(report) ? ": too many to quote more than memory and the rows of CPU and of one core" : "")}.

            Medians of rounds with (lowest..highest). All routes are measured in every round, in turn.

            """);
        List<string[]> lines = [Head, .. report.Rows.Where(row => row.Failure is null).Select(Cells)];
        var widths = Enumerable.Range(0, Head.Length).Select(column => lines.Max(line => line[column].Length)).ToArray();
        text.Append('\n');
        AppendLine(text, lines[0], widths);
        AppendLine(text, [.. widths.Select(width => new string('-', width))], widths);
        foreach (var line in lines.Skip(1))
        {
            AppendLine(text, line, widths);
        }

        foreach (var row in report.Rows.Where(row => row.Failure is not null))
        {
            text.Append(CultureInfo.InvariantCulture, $"\nNot measured: {row.Title}: {row.Failure}\n");
        }

        text.Append("""

            - Backend: one thread that reads and writes HTTP/2 frames by hand and answers with bytes built beforehand, so that nearly all of
              a call's time is sockets and scheduling. The marshalled list is built anew for each call, as a runtime does.
            - Caller: h2load. nginx: one worker, `grpc_pass` over kept connections, no limits, 16 KiB buffers.
            - Windows: 64 KiB is what gRPC's libraries begin with; large ones (1 GiB) never hold a response back.
            - "Adds" is the difference to the bare call in the same round. CPU is that of the proxy's processes alone.
            - MB are 10^6 bytes. nginx's memory is the sum of master and worker, who share pages: proportional is the fair figure.
            - Start-up counts from just before fork; a caller tries again every 0.2 ms.
            - A sidecar's restart: the sidecar is killed with SIGKILL; from FinishedAt of the dead instance to StartedAt of the next, both by
              containerd's clock, without back-off. Bare: CreateContainer and StartContainer of the same container, called one after the
              other on the bare socket, in turn with the deaths. "As a caller lists it": until a list through crishim shows the next RUNNING.
            - A pod's end: StopPodSandbox of a pod of two mains and two sidecars that end at once on SIGTERM. Bare: the same stops called in that
              order on the bare socket, StopContainer of both mains together, of one sidecar after the other, then StopPodSandbox.
            - Deaths at once: one sidecar of each pod, on a backend that is only pretended. Bare: the least that the node limit allows; with
              the limit raised, as many CreateContainer and StartContainer calls on the bare socket, 16 at a time.

            """);
        return text.ToString();
    }

    private static bool Busy(BenchReport report) => Math.Max(report.BusyBefore, report.BusyAfter) > QuietShare;

    private static string[] Cells(Row row) =>
    [
        row.Title,
        row.Unit,
        Cell(row.Direct),
        Cell(row.Nginx),
        Cell(row.CriShim),
        row.AddedByNginx is { } nginx ? Number(nginx.Median) : "",
        row.AddedByCriShim is { } crishim ? Number(crishim.Median) : "",
        RatioCell(row.Ratio),
        row.Aim?.Text ?? "",
        row.Aim?.Met switch { true => "yes", false => "**no**", null => row.Aim is null ? "" : "not measured" },
    ];

    private static string RatioCell(Ratio? ratio)
    {
        if (ratio is null || (ratio.CriShim is null && ratio.Nginx is null))
        {
            return "";
        }

        var nginx = ratio.Nginx is null ? "" : $"nginx {Number(ratio.Nginx.Median)}";
        var crishim = ratio.CriShim is null ? "" : Number(ratio.CriShim.Median);
        return $"{string.Join(", ", new[] { crishim, nginx }.Where(part => part.Length > 0))} {ratio.Of}";
    }

    private static string Cell(Figure? figure) => figure switch
    {
        null => "",
        { Rounds.Count: 1 } => Number(figure.Median),
        _ => $"{Number(figure.Median)} ({Number(figure.Min)}..{Number(figure.Max)})",
    };

    private static string Number(double value) => Math.Abs(value) switch
    {
        >= 1_000 => value.ToString("#,0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("0", CultureInfo.InvariantCulture),
        >= 10 => value.ToString("0.0", CultureInfo.InvariantCulture),
        _ => value.ToString("0.00", CultureInfo.InvariantCulture),
    };

    private static void AppendLine(StringBuilder text, string[] cells, int[] widths) =>
        text.Append("| ").AppendJoin(" | ", cells.Select((cell, column) => cell.PadRight(widths[column]))).Append(" |\n");
}
