using System.Globalization;
using System.Text;

namespace CriShim.TestSupport.Lab;

/// <summary>
/// Removes whatever a lab slot can have left on the machine, however its last run ended: it relies on nothing but the slot's own
/// names. Needs the slot to be held, so that it can never meet a lab that is in use.
/// </summary>
internal static class Leftovers
{
    private const string CniResults = "/var/lib/cni/results";
    private const string RuntimeState = "/run/containerd";

    public static async Task SweepAsync(LabSlot slot)
    {
        // The order matters: whoever could make something anew goes first (containerd, then shims, then containers), and files go
        // last, because they name the things outside of the directory.
        var sandboxes = Sandboxes(slot);
        var shimSockets = ShimSockets(slot);
        await KillAsync(() => ProcessesNaming(slot.Directory)).ConfigureAwait(false);
        await KillAsync(() => CgroupDirectories(slot).SelectMany(ProcessesIn)).ConfigureAwait(false);
        foreach (var cgroup in CgroupDirectories(slot))
        {
            await RemoveCgroupAsync(cgroup).ConfigureAwait(false);
        }

        foreach (var mount in MountsUnder(slot.Directory))
        {
            Kernel.Detach(mount);
        }

        if (Directory.Exists($"/sys/class/net/{slot.Bridge}"))
        {
            await Command.RunAsync("ip", ["link", "delete", slot.Bridge]).ConfigureAwait(false);
        }

        foreach (var socket in shimSockets)
        {
            File.Delete(socket);
        }

        DeleteCniResults(slot, sandboxes);
        if (!Directory.EnumerateDirectories("/tmp", "crishim-lab-*").Any(other => other != slot.Directory))
        {
            // Shared by all: another lab's shim might be about to put its socket there.
            RemoveIfEmpty(
                Path.Combine(RuntimeState, "s"), Path.Combine(RuntimeState, "runc", "k8s.io"), Path.Combine(RuntimeState, "runc"), RuntimeState,
                CniResults, "/var/lib/cni");
        }

        await DeleteAsync(slot.Directory).ConfigureAwait(false);
    }

    /// <summary>Removes an empty cgroup and those below it; processes that are gone can stay counted for a moment.</summary>
    public static async Task RemoveCgroupAsync(string directory)
    {
        foreach (var child in Directory.EnumerateDirectories(directory))
        {
            await RemoveCgroupAsync(child).ConfigureAwait(false);
        }

        await Condition.BecomesTrueAsync($"the cgroup {directory} can be removed", TimeSpan.FromSeconds(60), () =>
        {
            try
            {
                Directory.Delete(directory);
                return true;
            }
            catch (DirectoryNotFoundException)
            {
                return true;
            }
            catch (IOException)
            {
                return false;
            }
        }).ConfigureAwait(false);
    }

    /// <summary>The same cgroup in every hierarchy: version 2, or version 1 with one directory per controller.</summary>
    public static IReadOnlyList<string> CgroupDirectories(string cgroup)
    {
        const string root = "/sys/fs/cgroup";
        var name = cgroup.TrimStart('/');
        return [.. new[] { Path.Combine(root, name) }
            .Concat(Directory.EnumerateDirectories(root).Select(hierarchy => Path.Combine(hierarchy, name)))
            .Where(Directory.Exists)
            // cpu and cpuacct are often links to one hierarchy.
            .DistinctBy(directory => new FileInfo(Path.GetDirectoryName(directory)!).ResolveLinkTarget(true)?.FullName ?? directory)];
    }

    private static IReadOnlyList<string> CgroupDirectories(LabSlot slot) => CgroupDirectories(slot.Cgroup);

    /// <summary>Of a cgroup and those below it.</summary>
    public static IEnumerable<int> ProcessesIn(string cgroup) =>
        Directory.EnumerateFiles(cgroup, "cgroup.procs", SearchOption.AllDirectories)
            .SelectMany(ReadLines)
            .Select(line => int.Parse(line, CultureInfo.InvariantCulture));

    /// <summary>kill -9, until there are none.</summary>
    public static async Task KillAsync(Func<IEnumerable<int>> processes)
    {
        foreach (var pid in processes())
        {
            Kernel.Signal(pid, Kernel.SigKill);
        }

        await Condition.BecomesTrueAsync("killed processes of a lab are gone", TimeSpan.FromSeconds(60), () =>
        {
            var left = false;
            foreach (var pid in processes())
            {
                left = true;
                Kernel.Signal(pid, Kernel.SigKill);
            }

            return !left;
        }).ConfigureAwait(false);
    }

    /// <summary>Processes with an argument inside the directory: containerd by its config, shims by their address, crishim by its sockets.</summary>
    private static IEnumerable<int> ProcessesNaming(string directory)
    {
        foreach (var process in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), CultureInfo.InvariantCulture, out var pid) || pid == Environment.ProcessId)
            {
                continue;
            }

            string[] arguments;
            try
            {
                arguments = File.ReadAllText(Path.Combine(process, "cmdline")).Split('\0', StringSplitOptions.RemoveEmptyEntries);
            }
            catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            if (arguments.Any(argument => argument.Contains(directory + "/", StringComparison.Ordinal)) && IsOfALab(arguments))
            {
                yield return pid;
            }
        }
    }

    // An editor or a pager that shows one of the lab's logs is somebody's, not ours.
    private static bool IsOfALab(string[] arguments) =>
        arguments.Any(argument => Path.GetFileName(argument) is "containerd" or "containerd-shim-runc-v2" or "runc" or "crishim" or "crishim.dll");

    private static List<string> MountsUnder(string directory) =>
        [.. ReadLines("/proc/self/mountinfo")
            .Select(line => Unescape(line.Split(' ')[4]))
            .Where(point => point.StartsWith(directory + "/", StringComparison.Ordinal))
            .Reverse()];

    /// <summary>mountinfo writes blanks as \040 and the like.</summary>
    private static string Unescape(string field)
    {
        var text = new StringBuilder();
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + 3 < field.Length)
            {
                text.Append((char)Convert.ToInt32(field.Substring(i + 1, 3), 8));
                i += 3;
            }
            else
            {
                text.Append(field[i]);
            }
        }

        return text.ToString();
    }

    private static string[] Sandboxes(LabSlot slot)
    {
        var folder = Path.Combine(slot.Directory, "root", "io.containerd.grpc.v1.cri", "sandboxes");
        return Directory.Exists(folder) ? [.. Directory.EnumerateDirectories(folder).Select(path => Path.GetFileName(path))] : [];
    }

    /// <summary>Shims listen outside of containerd's directories; each bundle says where (a plain address to 1.7, JSON from 2.0).</summary>
    private static List<string> ShimSockets(LabSlot slot)
    {
        var sockets = new List<string>();
        var tasks = Path.Combine(slot.Directory, "state", "io.containerd.runtime.v2.task");
        if (!Directory.Exists(tasks))
        {
            return sockets;
        }

        foreach (var bundle in Directory.EnumerateDirectories(tasks).SelectMany(Directory.EnumerateDirectories))
        {
            foreach (var text in new[] { "address", "bootstrap.json" }.SelectMany(name => ReadLines(Path.Combine(bundle, name))))
            {
                var start = text.IndexOf($"unix://{RuntimeState}/s/", StringComparison.Ordinal);
                if (start >= 0)
                {
                    var path = text[(start + "unix://".Length)..];
                    var end = path.IndexOf('"', StringComparison.Ordinal);
                    sockets.Add(end < 0 ? path.Trim() : path[..end]);
                }
            }
        }

        return sockets;
    }

    private static void DeleteCniResults(LabSlot slot, string[] sandboxes)
    {
        if (!Directory.Exists(CniResults))
        {
            return;
        }

        foreach (var result in Directory.EnumerateFiles(CniResults))
        {
            var name = Path.GetFileName(result);
            if (name.StartsWith(slot.Bridge + "-", StringComparison.Ordinal)
                || sandboxes.Any(sandbox => name.Contains(sandbox, StringComparison.Ordinal)))
            {
                File.Delete(result);
            }
        }
    }

    private static void RemoveIfEmpty(params string[] directories)
    {
        foreach (var directory in directories)
        {
            try
            {
                Directory.Delete(directory);
            }
            catch (Exception kept) when (kept is IOException or UnauthorizedAccessException)
            {
            }
        }
    }

    private static Task<bool> DeleteAsync(string directory) =>
        // A shim that was just killed may still be writing its last file.
        Condition.SucceedsAsync($"delete {directory}", TimeSpan.FromSeconds(60), () =>
        {
            if (Directory.Exists(directory))
            {
                Directory.Delete(directory, recursive: true);
            }

            return Task.FromResult(true);
        });

    private static string[] ReadLines(string file)
    {
        try
        {
            return File.ReadAllLines(file);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
