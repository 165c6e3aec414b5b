using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf.Collections;

namespace CriShim.Containerd.Requests;

/// <summary>
/// The one number of an attempt. The kubelet writes the same one in three places: <c>metadata.attempt</c>, the annotation
/// <c>restartCount</c> and the log path <c>&lt;name&gt;/&lt;n&gt;.log</c>; it reads it back from the annotation.
/// </summary>
public static class AttemptNumber
{
    /// <summary>The highest of the three numbers: whichever was used once cannot be used again.</summary>
    public static uint Of(ContainerConfig config) => Max(config.Metadata, config.Annotations, config.LogPath);

    /// <inheritdoc cref="Of(ContainerConfig)"/>
    public static uint Of(Container container) => Max(container.Metadata, container.Annotations, "");

    /// <inheritdoc cref="Of(ContainerConfig)"/>
    public static uint Of(ContainerStatus status) => Max(status.Metadata, status.Annotations, status.LogPath);

    /// <summary>The number after all that are known of a lineage; 0 when none is.</summary>
    public static uint Next(IEnumerable<uint> known)
    {
        bool any = false;
        uint highest = 0;
        foreach (uint number in known)
        {
            any = true;
            highest = Math.Max(highest, number);
        }

        return any && highest < uint.MaxValue ? highest + 1 : highest;
    }

    /// <summary>The directory and name of the log of attempt <paramref name="number"/>, below the sandbox's log directory.</summary>
    internal static string LogPath(ContainerConfig config, uint number)
    {
        string? directory = Path.GetDirectoryName(config.LogPath);
        string name = string.Create(CultureInfo.InvariantCulture, $"{number}.log");
        return string.IsNullOrEmpty(directory) ? $"{config.Metadata?.Name}/{name}" : $"{directory}/{name}";
    }

    internal static bool TryParse(string? text, out uint number) =>
        uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    private static uint Max(ContainerMetadata? metadata, MapField<string, string> annotations, string logPath)
    {
        uint number = metadata?.Attempt ?? 0;
        if (annotations.TryGetValue(KubeletAnnotations.RestartCount, out string? text) && TryParse(text, out uint count))
        {
            number = Math.Max(number, count);
        }

        return TryParse(Path.GetFileNameWithoutExtension(logPath), out uint log) ? Math.Max(number, log) : number;
    }
}
