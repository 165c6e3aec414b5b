using System.Collections.Concurrent;
using System.Globalization;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>
/// Looks through /proc all the time for the first processes of marked containers, whatever crishim and containerd think of them: two of one
/// mark at a time are a violation at whatever moment they are seen.
/// </summary>
internal sealed class ProcessWatch : IAsyncDisposable
{
    /// <summary>A process says another name until it has become what it is to be: for seconds on a loaded machine.</summary>
    private const int LooksAtANewOne = 200;

    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(50);

    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<int, (string? Mark, int Looks)> _known = [];
    private HashSet<string> _before = [];
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Task _watching;
    private volatile IReadOnlyDictionary<string, int[]> _running = new Dictionary<string, int[]>();
    private long _rounds;

    public ProcessWatch() => _watching = Task.Run(WatchAsync);

    public IReadOnlyList<string> Violations => [.. _violations];

    public long Rounds => Interlocked.Read(ref _rounds);

    /// <summary>Process ids by mark, as last seen.</summary>
    public IReadOnlyDictionary<string, int[]> Running => _running;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _stop.Dispose();
    }

    private async Task WatchAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            Look();
            _ = Interlocked.Increment(ref _rounds);
            await Task.Delay(Period);
        }
    }

    private void Look()
    {
        var there = new HashSet<int>();
        foreach (string process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), CultureInfo.InvariantCulture, out int pid))
            {
                continue;
            }

            _ = there.Add(pid);
            (string? mark, int looks) = _known.GetValueOrDefault(pid);
            if (looks < LooksAtANewOne)
            {
                _known[pid] = (MarkOf(pid), looks + 1);
            }
        }

        foreach (int gone in _known.Keys.Where(pid => !there.Contains(pid)).ToArray())
        {
            _ = _known.Remove(gone);
        }

        var twos = new HashSet<string>();
        var running = new Dictionary<string, int[]>();
        foreach (IGrouping<string, int> marked in _known.Where(one => one.Value.Mark is not null).GroupBy(one => one.Value.Mark!, one => one.Key))
        {
            int[] alive = [.. marked];
            if (alive.Length > 1)
            {
                // One that is dead is there until its parent has asked for its end; and a shell's child is the shell for a moment.
                alive = [.. marked.Where(pid => MarkOf(pid) == marked.Key)];
            }

            if (alive.Length > 1)
            {
                // One look may meet a killed one's child on its way out; who runs, runs at the next look.
                string two = $"{marked.Key} runs {alive.Length} times: processes {string.Join(", ", alive.Order())}";
                if (_before.Contains(two))
                {
                    _violations.Enqueue(two);
                }

                _ = twos.Add(two);
            }

            running.Add(marked.Key, alive);
        }

        _running = running;
        _before = twos;
    }

    /// <summary>Of a container's first process: its parent is no marked one.</summary>
    private static string? MarkOf(int pid) => MarkIn(pid) is { } mark && MarkIn(ParentOf(pid)) is null ? mark : null;

    private static string? MarkIn(int pid)
    {
        try
        {
            return pid == 0 ? null : ChaosPod.MarkIn(File.ReadAllText($"/proc/{pid}/cmdline"));
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static int ParentOf(int pid)
    {
        try
        {
            string stat = File.ReadAllText($"/proc/{pid}/stat");
            return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
