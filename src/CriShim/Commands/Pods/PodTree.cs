using System.Globalization;
using CriShim.Node.Journal;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Commands.Pods;

/// <summary>Pods as trees in columns.</summary>
internal static class PodTree
{
    private const int Gap = 2;

    private static readonly string[] Titles =
        ["POD / CONTAINER", "ROLE", "STATE", "ATTEMPT", "LAST EXIT", "CPU USE/REQ/LIMIT", "MEMORY USE/LIMIT", "WHY"];

    /// <summary>Lines for a terminal or a pipe.</summary>
    public static IReadOnlyList<string> Draw(ListPodsResponse answer, Terminal terminal, DateTimeOffset now)
    {
        var rows = new List<Row> { new(Titles, Colour.Bold) };
        foreach (Pod pod in answer.Pods)
        {
            rows.Add(PodRow(pod, now));
            for (int i = 0; i < pod.Containers.Count; i++)
            {
                rows.Add(ContainerRow(pod.Containers[i], i == pod.Containers.Count - 1 ? "└─ " : "├─ ", now));
            }
        }

        int[] widths = [.. Titles.Select((_, column) => rows.Max(row => row.Cells[column].Length))];
        List<string> lines = [.. rows.SelectMany(row => Lines(row, widths, terminal))];
        if (answer.Pods.Count == 0)
        {
            lines.Clear();
            lines.Add("No pods are known.");
        }

        if (answer.IsTruncated)
        {
            lines.Add("There are more pods than are shown.");
        }

        return lines;
    }

    /// <summary>One line; on a terminal that is too narrow for it the reason has a line of its own, for it matters most.</summary>
    private static IEnumerable<string> Lines(Row row, int[] widths, Terminal terminal)
    {
        string text = Join(row.Cells, widths);
        if (!terminal.IsTerminal || text.Length <= terminal.Columns)
        {
            yield return terminal.Paint(row.Colour, text);
            yield break;
        }

        yield return terminal.Paint(row.Colour, Terminal.Cut(Join(row.Cells[..^1], widths), terminal.Columns));
        if (row.Colour != Colour.Bold && row.Cells[^1].Length > 0)
        {
            string branch = row.Cells[0].StartsWith('├') ? "│    " : "     ";
            yield return terminal.Paint(row.Colour, Terminal.Cut(branch + row.Cells[^1], terminal.Columns));
        }
    }

    private static string Join(string[] cells, int[] widths) =>
        string.Concat(cells.Select((cell, column) => cell.PadRight(widths[column] + Gap))).TrimEnd();

    private static Row PodRow(Pod pod, DateTimeOffset now)
    {
        string state = ReportText.StateOf(pod);
        Colour colour = state == "ready" ? Colour.None : state is "ended" or "not ready" ? Colour.Dim : Colour.Yellow;
        string why = pod.AnnotationErrors.Count > 0 ? "its annotations have errors: see crishim explain"
            : pod.IsLeftAlone ? "left alone: crishim.io/supervise is off"
            : pod.Teardown is { State: "ending", Deadline: { } deadline } && deadline.ToDateTimeOffset() > now
                ? $"{HappeningText.Time(deadline.ToDateTimeOffset() - now)} of its grace left"
            : pod.HaveMainsCompleted ? "main containers have completed"
            : pod.KubeletResources is { } kubelets
                ? $"the kubelet counts cpu {Cpu(kubelets, withUsage: false)}, memory {Memory(kubelets, withUsage: false)}"
            : "";
        return new Row(
            [Clean($"{pod.Namespace}/{pod.Name}"), "", state, "", "", Cpu(pod.Resources), Memory(pod.Resources), Clean(why)],
            pod.AnnotationErrors.Count > 0 ? Colour.Yellow : colour);
    }

    private static Row ContainerRow(Container container, string branch, DateTimeOffset now)
    {
        Colour colour = container.State switch
        {
            "backing off" => Colour.Red,
            "restarting" => Colour.Yellow,
            "running" when container.Role == "sidecar" => Colour.Green,
            "running" => Colour.None,
            "exited" when container.Role == "sidecar" => Colour.Yellow,
            _ => Colour.Dim,
        };
        return new Row(
            [
                branch + Clean(container.Name), ReportText.RoleOf(container), container.State, ReportText.AttemptOf(container),
                ReportText.LastExitOf(container, now), Cpu(container.Resources), Memory(container.Resources), Clean(ReportText.WhyOf(container, now)),
            ],
            colour);
    }

    private static string Cpu(Resources? resources, bool withUsage = true)
    {
        if (resources is null)
        {
            return "";
        }

        string figures = $"{Cores(resources.HasCpuRequest, resources.CpuRequest)}/{Cores(resources.HasCpuLimit, resources.CpuLimit)}";
        return withUsage ? $"{Cores(resources.HasCpuUsage, resources.CpuUsage)}/{figures}" : figures;
    }

    private static string Memory(Resources? resources, bool withUsage = true)
    {
        if (resources is null)
        {
            return "";
        }

        string limit = Bytes(resources.HasMemoryLimit, resources.MemoryLimit);
        return withUsage ? $"{Bytes(resources.HasMemoryUsage, resources.MemoryUsage)}/{limit}" : limit;
    }

    // As Kubernetes writes quantities.
    private static string Cores(bool isKnown, double cores) => !isKnown ? "-"
        : cores == Math.Floor(cores) ? string.Create(CultureInfo.InvariantCulture, $"{cores:0}")
        : string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(cores * 1000):0}m");

    private static string Bytes(bool isKnown, long bytes) => !isKnown ? "-"
        : bytes >= 10L << 30 ? string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 30):0.#}Gi")
        : bytes >= 1 << 20 ? string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 20):0}Mi")
        : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024.0:0}Ki");

    private static string Clean(string text) => Terminal.Clean(text);

    private sealed record Row(string[] Cells, Colour Colour);
}
