using System.Globalization;
using System.Runtime.InteropServices;
using Tmds.Linux;

namespace CriShim.Benchmarks;

/// <summary>What /proc tells of a group of processes. Sizes in MB of 10^6 bytes, which is the stricter reading of an aim.</summary>
internal static partial class ProcessReadings
{
    private const double BytesPerKilobyte = 1024;
    private const double BytesPerMegabyte = 1e6;

    public static IReadOnlyList<int> WithChildren(int processId)
    {
        var children = Directory.GetDirectories($"/proc/{processId}/task")
            .SelectMany(task => File.ReadAllText($"{task}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Select(child => int.Parse(child, CultureInfo.InvariantCulture));
        return [processId, .. children.SelectMany(WithChildren)];
    }

    /// <summary>
    /// Time on a CPU, threads that have ended included. By the processes' CPU clocks, whose unit is a nanosecond: the ticks of
    /// /proc/PID/stat are too coarse for an idle process.
    /// </summary>
    public static TimeSpan CpuTime(IEnumerable<int> processIds) => TimeSpan.FromMicroseconds(processIds.Sum(CpuMicroseconds));

    /// <summary>User and system time in the kernel's ticks of 10 ms.</summary>
    public static double CpuTicks(IEnumerable<int> processIds) => processIds.Sum(id =>
    {
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        var stat = Read($"/proc/{id}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture);
    });

    public static double VoluntarySwitches(IEnumerable<int> processIds) =>
        Tasks(processIds).Sum(task => Field($"{task}/status", "voluntary_ctxt_switches"));

    public static double ResidentMegabytes(IEnumerable<int> processIds) => Megabytes(processIds, "status", "VmRSS");

    public static double PeakResidentMegabytes(IEnumerable<int> processIds) => Megabytes(processIds, "status", "VmHWM");

    public static double AnonymousMegabytes(IEnumerable<int> processIds) => Megabytes(processIds, "status", "RssAnon");

    /// <summary>Shared pages are divided among those who share them: the fair sum for nginx, whose master and worker share.</summary>
    public static double ProportionalMegabytes(IEnumerable<int> processIds) => Megabytes(processIds, "smaps_rollup", "Pss");

    private static double Megabytes(IEnumerable<int> processIds, string file, string field) =>
        processIds.Sum(id => Field($"/proc/{id}/{file}", field)) * BytesPerKilobyte / BytesPerMegabyte;

    private static IEnumerable<string> Tasks(IEnumerable<int> processIds) =>
        processIds.SelectMany(id => Directory.GetDirectories($"/proc/{id}/task"));

    private static double Field(string path, string name)
    {
        foreach (var line in Read(path).Split('\n'))
        {
            if (line.StartsWith(name, StringComparison.Ordinal) && line[name.Length] == ':')
            {
                var value = line[(name.Length + 1)..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[0];
                return double.Parse(value, CultureInfo.InvariantCulture);
            }
        }

        throw new MeasurementException($"{path} has no field {name}");
    }

    private static unsafe double CpuMicroseconds(int processId)
    {
        int clock;
        timespec time;
        return CpuClockOf(processId, &clock) == 0 && Now(clock, &time) == 0
            ? ((long)time.tv_sec * 1e6) + ((long)time.tv_nsec / 1e3)
            : throw new MeasurementException($"process {processId} has no CPU clock");
    }

    [LibraryImport("libc", EntryPoint = "clock_getcpuclockid")]
    private static unsafe partial int CpuClockOf(int processId, int* clock);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static unsafe partial int Now(int clock, timespec* time);

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException failure)
        {
            throw new MeasurementException($"{path} can't be read", failure);
        }
    }
}
