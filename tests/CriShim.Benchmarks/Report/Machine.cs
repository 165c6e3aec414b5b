using System.Globalization;
using System.Runtime.InteropServices;

namespace CriShim.Benchmarks.Report;

/// <summary>Where and with what it was measured, and how busy others kept the machine.</summary>
internal sealed record Machine(
    int Cores, string Processor, string Kernel, string System, string Runtime, string Nginx, string H2Load, string? CriShim)
{
    private static readonly TimeSpan Sample = TimeSpan.FromSeconds(2);

    public static Machine Describe(string nginx, string h2Load, string? crishim) => new(
        Environment.ProcessorCount,
        Field("/proc/cpuinfo", "model name", ':') ?? RuntimeInformation.ProcessArchitecture.ToString(),
        File.ReadAllText("/proc/sys/kernel/osrelease").Trim(),
        Field("/etc/os-release", "PRETTY_NAME", '=')?.Trim('"') ?? "Linux",
        RuntimeInformation.FrameworkDescription,
        nginx,
        h2Load,
        crishim is null ? null : $"{new FileInfo(crishim).Length / 1e6:0.0} MB executable");

    /// <summary>Share of all cores that was busy for a moment in which this program did nothing: other programs' load.</summary>
    public static async Task<double> BusyShareAsync(CancellationToken cancellation)
    {
        var before = CpuTimes();
        await Task.Delay(Sample, cancellation);
        var after = CpuTimes();
        return 1 - ((after.Idle - before.Idle) / (after.All - before.All));
    }

    private static (double Idle, double All) CpuTimes()
    {
        var fields = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..]
            .Select(field => double.Parse(field, CultureInfo.InvariantCulture))
            .ToArray();
        return (fields[3] + fields[4], fields.Sum());
    }

    private static string? Field(string path, string name, char separator) => File.Exists(path)
        ? File.ReadLines(path).FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?.Split(separator, 2)[1].Trim()
        : null;
}
