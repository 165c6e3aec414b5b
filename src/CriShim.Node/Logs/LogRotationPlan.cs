using System.Globalization;
using CriShim.Linux.Files;

namespace CriShim.Node.Logs;

/// <summary>
/// What is to be done with one container's log, with the kubelet's names and in its order (container_log_manager.go): remove what is of no
/// use, compress the older ones, then rename the log and have it opened anew.
/// </summary>
/// <param name="Remove">Names.</param>
/// <param name="Compress">Names.</param>
/// <param name="RotateTo">The log's new name; null: it stays.</param>
/// <param name="IsReopened">The log is to be opened anew: it was renamed, or is gone.</param>
internal sealed record LogRotationPlan(IReadOnlyList<string> Remove, IReadOnlyList<string> Compress, string? RotateTo, bool IsReopened)
{
    private const string Compressed = ".gz";
    private const string Temporary = ".tmp";
    private const string TimeFormat = "yyyyMMdd-HHmmss";

    public static LogRotationPlan Nothing { get; } = new([], [], null, false);

    /// <param name="log">The log's name.</param>
    /// <param name="files">It and what was made of it.</param>
    /// <param name="options">Sizes and numbers.</param>
    /// <param name="now">In the node's time zone, as the kubelet names them.</param>
    public static LogRotationPlan Of(string log, IReadOnlyList<LogFile> files, LogRotationOptions options, DateTimeOffset now)
    {
        if (!files.Any(file => file.Name == log))
        {
            // A rotation that was cut off between its two steps, or somebody removed it: what is written meanwhile is in the file without a name.
            return Nothing with { IsReopened = true };
        }

        string rotated = $"{log}.{now.ToString(TimeFormat, CultureInfo.InvariantCulture)}";
        if (files.First(file => file.Name == log).Size < options.MaxSize
            || files.Any(file => file.Name.StartsWith(rotated, StringComparison.Ordinal)))
        {
            return Nothing;
        }

        var remove = new List<string>();
        var older = new List<string>();
        foreach (string name in files.Select(file => file.Name).Where(name => name != log).Order(StringComparer.Ordinal))
        {
            string stamp = name[(log.Length + 1)..];
            bool isTemporary = stamp.EndsWith(Temporary, StringComparison.Ordinal);
            bool isCompressed = stamp.EndsWith(Compressed, StringComparison.Ordinal);
            if (!IsStamp(isTemporary ? stamp[..^Temporary.Length] : isCompressed ? stamp[..^Compressed.Length] : stamp))
            {
                // Not of rotation's making: it is somebody else's.
                continue;
            }

            // One that is compressed in whole, too, was to be removed next.
            bool isOfNoUse = isTemporary || (!isCompressed && files.Any(file => file.Name == name + Compressed));
            (isOfNoUse ? remove : older).Add(name);
        }

        // The log itself, and the one that it becomes, are kept besides.
        int excess = older.Count - Math.Max(0, options.MaxFiles - 2);
        if (excess > 0)
        {
            remove.AddRange(older.Take(excess));
            older.RemoveRange(0, excess);
        }

        return new LogRotationPlan(remove, [.. older.Where(name => !name.EndsWith(Compressed, StringComparison.Ordinal))], rotated, true);
    }

    private static bool IsStamp(string text) => DateTime.TryParseExact(text, TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.None, out _);
}
