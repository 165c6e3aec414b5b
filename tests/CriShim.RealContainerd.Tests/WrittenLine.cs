using System.Globalization;

namespace CriShim.RealContainerd.Tests;

/// <summary>What a container's process wrote down: <c>up</c>, <c>TERM</c>, <c>end</c>, and the machine's uptime then.</summary>
internal readonly record struct WrittenLine(string Name, string What, TimeSpan At)
{
    public string Text => $"{Name} {What}";

    /// <summary>By the same clock.</summary>
    public static TimeSpan Uptime() => Seconds(File.ReadAllText("/proc/uptime").Split(' ')[0]);

    /// <summary>In the order in which it happened. A line that is not whole yet is left out, and so is a file that is not there.</summary>
    public static IReadOnlyList<WrittenLine> Read(string file)
    {
        IEnumerable<string[]> lines = File.Exists(file) ? File.ReadAllLines(file).Select(line => line.Split(' ')) : [];
        return [.. lines.Where(parts => parts.Length == 3).Select(parts => new WrittenLine(parts[0], parts[1], Seconds(parts[2])))];
    }

    private static TimeSpan Seconds(string text) => TimeSpan.FromSeconds(double.Parse(text, CultureInfo.InvariantCulture));
}
