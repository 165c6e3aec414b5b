using System.Globalization;

namespace CriShim.TestSupport.Proofs;

/// <summary>What /proc tells of another process.</summary>
public static class ProcessFigures
{
    /// <summary>Resident memory, in MB of 10^6 bytes.</summary>
    public static double ResidentMegabytes(int processId) => Field(processId, "VmRSS") * 1024 / 1e6;

    /// <summary>The most that was ever resident, in MB of 10^6 bytes.</summary>
    public static double PeakMegabytes(int processId) => Field(processId, "VmHWM") * 1024 / 1e6;

    public static int Threads(int processId) => (int)Field(processId, "Threads");

    /// <summary>What open descriptors lead to. Without the assemblies that a process which is no native one opens as it goes.</summary>
    public static IReadOnlyList<string> Open(int processId) =>
    [
        .. Directory.GetFileSystemEntries($"/proc/{processId}/fd").Select(entry => new FileInfo(entry).LinkTarget ?? "")
            .Where(target => !target.EndsWith(".dll", StringComparison.Ordinal) && !target.EndsWith(".so", StringComparison.Ordinal)).Order(),
    ];

    public static int Descriptors(int processId) => Open(processId).Count;

    /// <summary>User and system time, by the kernel's ticks of 10 ms.</summary>
    public static TimeSpan Cpu(int processId)
    {
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        string stat = File.ReadAllText($"/proc/{processId}/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return TimeSpan.FromMilliseconds(10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)));
    }

    private static double Field(int processId, string name)
    {
        string line = File.ReadLines($"/proc/{processId}/status").First(line => line.StartsWith(name + ":", StringComparison.Ordinal));
        return double.Parse(line[(name.Length + 1)..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture);
    }
}
