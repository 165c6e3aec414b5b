using System.Buffers;
using System.Globalization;
using System.Text;
using CriShim.Linux.Files;
using Microsoft.Win32.SafeHandles;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Cgroups;

/// <summary>
/// The cgroup that a kubelet made for one pod, in the unified hierarchy or in those of v1. Only its limits are looked at, and only raised;
/// cgroups above it are read, those below it never touched.
/// </summary>
/// <remarks>
/// The path comes from a CRI request. So its last part has to be the kubelet's own name for this very pod, and no link below the
/// hierarchies' root is followed.
/// </remarks>
public sealed class PodCgroup
{
    // The kernel's own for none: the largest multiple of a page.
    private const long NoMemoryLimit = 0x7FFF_FFFF_FFFF_0000;
    private const int MaxFileBytes = 256;

    // Of names that the kubelet gives, nothing else occurs: one that has it is none of its.
    private static readonly SearchValues<char> NameCharacters =
        SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    private readonly string _root;
    private readonly string[] _components;

    private PodCgroup(string root, string[] components, bool isUnified)
    {
        _root = root;
        _components = components;
        IsUnified = isUnified;
    }

    /// <summary>cgroup v2.</summary>
    public bool IsUnified { get; }

    /// <summary>systemd's slice, where the kubelet has systemd manage cgroups; null where it does so itself.</summary>
    public string? Unit => _components[^1].EndsWith(".slice", StringComparison.Ordinal) ? _components[^1] : null;

    /// <summary>Null when that is not the pod's own cgroup, or not there.</summary>
    /// <param name="cgroupParent">CRI's <c>linux.cgroup_parent</c> of the sandbox.</param>
    /// <param name="podUid">The pod's UID as CRI shows it.</param>
    /// <param name="root">Where the hierarchies are mounted.</param>
    public static PodCgroup? Find(string cgroupParent, string podUid, string root = "/sys/fs/cgroup")
    {
        string[] components = cgroupParent.Trim('/').Split('/');
        if (components is [var slice] && slice.EndsWith(".slice", StringComparison.Ordinal))
        {
            components = [.. SlicesOf(slice)];
        }

        string last = components[^1];
        bool isPods = podUid.Length > 0
            && (last == $"pod{podUid}" || last.EndsWith($"-pod{podUid.Replace('-', '_')}.slice", StringComparison.Ordinal));
        if (!isPods || !components.All(c => RootedDirectory.IsPlainName(c) && !c.AsSpan().ContainsAnyExcept(NameCharacters) && c[0] != '-'))
        {
            return null;
        }

        bool isUnified = File.Exists(Path.Combine(root, "cgroup.controllers"));
        var cgroup = new PodCgroup(root, components, isUnified);
        return cgroup.IsThere("cpu") && cgroup.IsThere("memory") ? cgroup : null;
    }

    /// <summary>What bounds it now.</summary>
    /// <exception cref="IOException">It can't be read; it may be gone.</exception>
    public CgroupLimits Read() => Read(_components);

    /// <summary>The smallest of what bounds those that it is in.</summary>
    /// <exception cref="IOException">One can't be read.</exception>
    public CgroupLimits ReadAbove()
    {
        CgroupLimits least = default;
        for (int depth = _components.Length - 1; depth > 0; depth--)
        {
            CgroupLimits limits = Read(_components.AsSpan(0, depth));
            least = new CgroupLimits(Least(least.CpuMillis, limits.CpuMillis), Least(least.MemoryBytes, limits.MemoryBytes));
        }

        return least;

        static long? Least(long? a, long? b) => a is null || b < a ? b : a;
    }

    /// <summary>Writes what is not null.</summary>
    /// <exception cref="IOException">The kernel refuses.</exception>
    public void Write(CgroupLimits limits)
    {
        if (limits.CpuMillis is { } millis)
        {
            using RootedDirectory cpu = Open("cpu", _components);
            long period = ReadCpu(cpu).Period;
            string quota = ((Int128)millis * period / 1000).ToString(CultureInfo.InvariantCulture);
            WriteText(cpu, IsUnified ? "cpu.max" : "cpu.cfs_quota_us", IsUnified ? $"{quota} {period}" : quota);
        }

        if (limits.MemoryBytes is { } bytes)
        {
            using RootedDirectory memory = Open("memory", _components);
            WriteText(memory, IsUnified ? "memory.max" : "memory.limit_in_bytes", bytes.ToString(CultureInfo.InvariantCulture));
        }
    }

    /// <summary>systemd's rule: <c>a-b.slice</c> is in <c>a.slice</c>.</summary>
    private static IEnumerable<string> SlicesOf(string slice)
    {
        for (int dash = slice.IndexOf('-', StringComparison.Ordinal); dash > 0; dash = slice.IndexOf('-', dash + 1))
        {
            yield return slice[..dash] + ".slice";
        }

        yield return slice;
    }

    private CgroupLimits Read(ReadOnlySpan<string> components)
    {
        using RootedDirectory cpu = Open("cpu", components);
        using RootedDirectory memory = Open("memory", components);
        (long? quota, long period) = ReadCpu(cpu);
        string bytes = ReadText(memory, IsUnified ? "memory.max" : "memory.limit_in_bytes");
        return new CgroupLimits(
            quota is { } some ? (long)((Int128)some * 1000 / period) : null,
            long.TryParse(bytes, NumberStyles.None, CultureInfo.InvariantCulture, out long limit) && limit < NoMemoryLimit ? limit : null);
    }

    private (long? Quota, long Period) ReadCpu(RootedDirectory cpu)
    {
        string[] texts = IsUnified ? ReadText(cpu, "cpu.max").Split(' ') : [ReadText(cpu, "cpu.cfs_quota_us"), ReadText(cpu, "cpu.cfs_period_us")];
        if (texts.Length != 2 || !long.TryParse(texts[1], NumberStyles.None, CultureInfo.InvariantCulture, out long period) || period <= 0)
        {
            throw new IOException("the CPU period can't be read");
        }

        return (long.TryParse(texts[0], NumberStyles.None, CultureInfo.InvariantCulture, out long quota) ? quota : null, period);
    }

    private bool IsThere(string controller)
    {
        int error = RootedDirectory.TryOpen(RootOf(controller), _components, out RootedDirectory? directory);
        directory?.Dispose();
        return error == 0;
    }

    private RootedDirectory Open(string controller, ReadOnlySpan<string> components)
    {
        int error = RootedDirectory.TryOpen(RootOf(controller), components, out RootedDirectory? directory);
        return error == 0 ? directory! : throw new IOException($"{controller} cgroup: {Errno.Name(error)}", error);
    }

    private string RootOf(string controller) => IsUnified ? _root : Path.Combine(_root, controller);

    private static string ReadText(RootedDirectory directory, string name)
    {
        int error = directory.OpenForReading(name, out SafeFileHandle? file);
        if (error != 0)
        {
            // The root of v2 has no limits, and a controller may not be handed down so far.
            return error != ENOENT ? throw new IOException($"{name}: {Errno.Name(error)}", error) : name == "cpu.max" ? "max 100000" : "max";
        }

        using (file)
        {
            byte[] bytes = new byte[MaxFileBytes];
            using var stream = new FileStream(file!, FileAccess.Read, bufferSize: 0);
            return Encoding.ASCII.GetString(bytes, 0, stream.Read(bytes)).Trim();
        }
    }

    private static void WriteText(RootedDirectory directory, string name, string text)
    {
        int error = directory.OpenForWriting(name, out SafeFileHandle? file);
        if (error != 0)
        {
            throw new IOException($"{name}: {Errno.Name(error)}", error);
        }

        using (file)
        {
            using var stream = new FileStream(file!, FileAccess.Write, bufferSize: 0);
            stream.Write(Encoding.ASCII.GetBytes(text));
        }
    }
}
