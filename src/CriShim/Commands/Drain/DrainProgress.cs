using CriShim.Protocol.Admin.V1;

namespace CriShim.Commands.Drain;

/// <summary>Shows how a drain gets on.</summary>
internal interface IDrainProgress
{
    /// <summary>The drain as it is now.</summary>
    void Show(DrainState drain, TimeSpan left);

    /// <summary>Something to say in between.</summary>
    void Say(string line);
}

/// <summary>Shows nothing: what is wanted is the result.</summary>
internal sealed class NoProgress : IDrainProgress
{
    public void Show(DrainState drain, TimeSpan left)
    {
    }

    public void Say(string line)
    {
    }
}

/// <summary>A line for each change: for logs and pipes.</summary>
internal sealed class LineProgress(TextWriter output) : IDrainProgress
{
    private readonly Dictionary<string, string> _said = new(StringComparer.Ordinal);
    private bool _hasBegun;

    public void Show(DrainState drain, TimeSpan left)
    {
        if (!_hasBegun && drain.IsNodeKnown)
        {
            _hasBegun = true;
            output.WriteLine($"ending {DrainText.Count(drain.Pods.Count)} within {DrainText.Seconds(left)}");
        }

        foreach (DrainedPod pod in drain.Pods)
        {
            string line = $"{DrainText.NameOf(pod)}: {DrainText.Describe(pod, drain)}";
            if (_said.GetValueOrDefault(pod.SandboxId) != line)
            {
                _said[pod.SandboxId] = line;
                output.WriteLine(line);
            }
        }
    }

    public void Say(string line) => output.WriteLine(line);
}

/// <summary>A list on a terminal that is drawn anew in its place; pods that have ended give way where there are too many lines.</summary>
/// <param name="output">The terminal.</param>
/// <param name="size">Its columns and rows now.</param>
/// <param name="isColoured">Colours are wanted.</param>
internal sealed class TerminalProgress(TextWriter output, Func<(int Columns, int Rows)> size, bool isColoured) : IDrainProgress
{
    private const int LeastRows = 4;
    private int _drawn;

    public void Show(DrainState drain, TimeSpan left)
    {
        (int columns, int rows) = size();
        int ended = drain.Pods.Count(pod => pod.Phase == PodEndPhase.Done);
        var lines = new List<string>
        {
            !drain.IsNodeKnown ? "Waiting for containerd to tell its pods"
                : ended == drain.Pods.Count ? $"{ended} of {DrainText.Count(drain.Pods.Count)} ended"
                : $"{ended} of {DrainText.Count(drain.Pods.Count)} ended, {DrainText.Seconds(left)} left",
        };
        DrainedPod[] pods = [.. drain.Pods.OrderBy(pod => pod.Phase == PodEndPhase.Done)];
        int room = Math.Max(LeastRows, rows) - 2;
        DrainedPod[] shown = pods.Length <= room ? [.. drain.Pods] : pods[..(room - 1)];
        int width = shown.Select(pod => DrainText.NameOf(pod).Length).DefaultIfEmpty().Max();
        lines.AddRange(shown.Select(pod => Paint(
            pod, Cut($"  {Mark(pod)} {DrainText.NameOf(pod).PadRight(width)}  {DrainText.Describe(pod, drain)}", columns))));
        if (shown.Length < pods.Length)
        {
            lines.Add($"  and {DrainText.Count(pods.Length - shown.Length)} more");
        }

        Draw(lines);
    }

    public void Say(string line)
    {
        // Above the list, which is drawn anew below it.
        Draw([line]);
        _drawn = 0;
    }

    private void Draw(List<string> lines)
    {
        // Up to the first line of the last drawing, and each line cleared to its end; what was longer before is cleared below.
        string text = (_drawn > 0 ? $"\e[{_drawn}F" : "") + string.Concat(lines.Select(line => $"{line}\e[K\n")) + "\e[J";
        output.Write(text);
        output.Flush();
        _drawn = lines.Count;
    }

    private static char Mark(DrainedPod pod) => pod.Phase switch { PodEndPhase.Done => '✓', PodEndPhase.Failed => '✗', _ => '…' };

    private string Paint(DrainedPod pod, string line) => !isColoured ? line : pod.Phase switch
    {
        PodEndPhase.Done => $"\e[32m{line}\e[0m",
        PodEndPhase.Failed => $"\e[31m{line}\e[0m",
        _ => line,
    };

    // A line that wraps would count for two.
    private static string Cut(string line, int columns) => columns > 1 && line.Length >= columns ? line[..(columns - 2)] + '…' : line;
}
