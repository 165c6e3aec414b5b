using System.Globalization;
using CriShim.Linux;
using CriShim.Linux.Cgroups;

namespace CriShim.Node.Limits;

/// <summary>
/// Sets limits of a slice where systemd manages cgroups: what is written past it is undone with its next reload. By systemctl, which
/// reaches it without a message bus, and needs no library here; it is called when a pod's limits are raised, and at no other time.
/// </summary>
internal static class SystemdSlice
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>The properties as systemctl takes them; until the slice is gone, or the node starts anew.</summary>
    /// <param name="unit">A name that <see cref="PodCgroup"/> has checked.</param>
    /// <param name="limits">Those that are not null.</param>
    /// <param name="isUnified">v1 has another name for the limit of memory, which the kubelet's own updates use there, too.</param>
    public static IReadOnlyList<string> Arguments(string unit, CgroupLimits limits, bool isUnified)
    {
        var arguments = new List<string> { "set-property", "--runtime", "--no-ask-password", unit };
        if (limits.CpuMillis is { } millis)
        {
            // Whole percent, as the kubelet's runc rounds it for systemd.
            arguments.Add(string.Create(CultureInfo.InvariantCulture, $"CPUQuota={Math.Max(1, (millis / 10) + (millis % 10 > 0 ? 1 : 0))}%"));
        }

        if (limits.MemoryBytes is { } bytes)
        {
            arguments.Add(string.Create(CultureInfo.InvariantCulture, $"{(isUnified ? "MemoryMax" : "MemoryLimit")}={bytes}"));
        }

        return arguments;
    }

    /// <returns>What went wrong; null when nothing did.</returns>
    public static async Task<string?> SetAsync(string systemctl, IReadOnlyList<string> arguments, CancellationToken cancellationToken) =>
        (await ProgramRun.RunAsync(systemctl, arguments, Patience, cancellationToken).ConfigureAwait(false)).Failure;
}
