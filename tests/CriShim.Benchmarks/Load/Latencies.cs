using System.Globalization;

namespace CriShim.Benchmarks.Load;

/// <summary>The times of single calls, in microseconds and sorted.</summary>
internal sealed class Latencies
{
    private readonly int[] _sorted;

    private Latencies(int[] sorted) => _sorted = sorted;

    /// <summary>Reads h2load's log: start, status and whole microseconds until the end of the response, separated by tabs.</summary>
    public static Latencies FromLog(IEnumerable<string> lines)
    {
        var times = lines.Select(line => int.Parse(line.AsSpan(line.LastIndexOf('\t') + 1), CultureInfo.InvariantCulture)).ToArray();
        Array.Sort(times);
        return new Latencies(times);
    }

    /// <summary>
    /// h2load cuts to whole microseconds, of which a call on the bare socket takes few. Within the microsecond that holds the
    /// percentile, its calls are taken as evenly spread, which gives a fraction instead of steps.
    /// </summary>
    public double Percentile(double percent)
    {
        var rank = Math.Clamp(percent / 100 * _sorted.Length, 0, _sorted.Length - 1);
        var bin = _sorted[(int)rank];
        var first = Array.FindIndex(_sorted, time => time == bin);
        var count = Array.FindLastIndex(_sorted, time => time == bin) - first + 1;
        return bin + ((rank - first) / count);
    }
}
