using System.Diagnostics.Metrics;
using System.Globalization;
using CriShim.Commands;

namespace CriShim.Metrics;

/// <summary>The process itself, by the names that Prometheus' own libraries use, and which build it is.</summary>
internal sealed class ProcessMetrics
{
    public const string MeterName = "CriShim.Process";

    // proc_pid_stat(5), counted from after the command's name: utime, stime, starttime, vsize, rss.
    private const int UserTime = 11;
    private const int SystemTime = 12;
    private const int VirtualSize = 20;
    private const int ResidentPages = 21;
    private const double TicksPerSecond = 100; // USER_HZ, the same on every architecture that .NET runs on.

    private readonly KeyValuePair<string, object?>[] _build = [new("version", VersionCommand.Version)];

    public ProcessMetrics(IMeterFactory meters, TimeProvider time)
    {
        Meter meter = meters.Create(MeterName);
        double startedAt = (time.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds;
        _ = meter.CreateObservableCounter("process.cpu", () => (Stat(UserTime) + Stat(SystemTime)) / TicksPerSecond, "s", "CPU time used.");
        _ = meter.CreateObservableGauge("process.resident_memory", () => Stat(ResidentPages) * Environment.SystemPageSize, "By", "Resident memory.");
        _ = meter.CreateObservableGauge("process.virtual_memory", () => Stat(VirtualSize), "By", "Virtual memory.");
        _ = meter.CreateObservableGauge("process.start_time", () => startedAt, "s", "When it started to serve, in seconds since 1970.");
        _ = meter.CreateObservableGauge("process.open_fds", OpenDescriptors, description: "Open file descriptors.");
        _ = meter.CreateObservableGauge("process.max_fds", MaxDescriptors, description: "Most file descriptors that may be open.");
        _ = meter.CreateObservableCounter("crishim.gc.collections", Collections, description: "Garbage collections, by generation.");
        _ = meter.CreateObservableCounter("crishim.gc.pause", () => GC.GetTotalPauseDuration().TotalSeconds, "s", "Time in garbage collections.");
        _ = meter.CreateObservableGauge("crishim.gc.heap", () => GC.GetTotalMemory(forceFullCollection: false), "By", "Managed memory.");
        _ = meter.CreateObservableGauge("crishim.build_info", () => new Measurement<int>(1, _build), description: "Which build this is; always 1.");
    }

    private static long Stat(int field)
    {
        string stat = File.ReadAllText("/proc/self/stat");

        // The command's name is in parentheses, and may contain any.
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return long.Parse(fields[field], CultureInfo.InvariantCulture);
    }

    // One of them is the enumeration's own.
    private static long OpenDescriptors() => Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount() - 1;

    private static double MaxDescriptors()
    {
        const string name = "Max open files";
        string line = File.ReadLines("/proc/self/limits").First(line => line.StartsWith(name, StringComparison.Ordinal));
        string soft = line[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0];
        return double.TryParse(soft, CultureInfo.InvariantCulture, out double limit) ? limit : double.PositiveInfinity;
    }

    private static IEnumerable<Measurement<long>> Collections() =>
        Enumerable.Range(0, GC.MaxGeneration + 1).Select(generation =>
            new Measurement<long>(
                // Counted for older ones among the younger: here each collection counts once.
                GC.CollectionCount(generation) - (generation < GC.MaxGeneration ? GC.CollectionCount(generation + 1) : 0),
                new KeyValuePair<string, object?>("generation", generation.ToString(CultureInfo.InvariantCulture))));
}
