using System.Globalization;
using System.Text;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Files;

/// <summary>
/// The files that a kubelet makes for each attempt of a container, and removes with it: termination log, log link, logs. Nothing
/// else makes them for an attempt that the kubelet did not create.
/// </summary>
/// <remarks>
/// Paths come from CRI requests, and the directories can be written by pods that mount them from the host. So each path has to be
/// below its root and of the kubelet's own shape, and no link below the root is followed. Nothing here throws: a container runs
/// without these files, and a full disk must not keep it down.
/// </remarks>
public sealed class ContainerFiles(ContainerFileRoots roots)
{
    private const int TerminationLogMode = 0x1B6; // 0666: whatever user the container runs as has to write it
    private const int NameAttempts = 8;
    private const int MaxNameBytes = 255;
    private const string LogSuffix = ".log";

    /// <summary>
    /// Makes a fresh, empty termination log beside the one of the attempt before, under a random name, as the kubelet does: the
    /// old message must not be read as the new attempt's.
    /// </summary>
    /// <param name="previousPath">Host path of the mount that the attempt before has. The file itself may be gone.</param>
    /// <returns>Its <see cref="FileResult.Path"/> is the new file's when the outcome is <see cref="FileOutcome.Done"/>.</returns>
    public FileResult CreateTerminationLog(string previousPath)
    {
        if (!TrySplitTerminationLog(previousPath, out string[] components))
        {
            return new FileResult(FileOutcome.OutsideRoot, previousPath);
        }

        int error = RootedDirectory.TryOpen(roots.KubeletPods, components.AsSpan(0, 3), out RootedDirectory? directory);
        if (error != 0)
        {
            return Failure(error, previousPath);
        }

        using (directory)
        {
            for (int i = 0; i < NameAttempts; i++)
            {
                // Of a UUID, as the kubelet's are.
                string name = Guid.NewGuid().ToString("N")[..8];
                error = directory!.CreateFile(name, TerminationLogMode, likeName: components[3]);
                if (error == 0)
                {
                    return new FileResult(FileOutcome.Done, Path.Combine(Path.GetDirectoryName(previousPath)!, name));
                }

                if (error != EEXIST)
                {
                    break;
                }
            }
        }

        return Failure(error, previousPath);
    }

    /// <summary>Removes an attempt's termination log.</summary>
    public FileResult RemoveTerminationLog(string path) => TrySplitTerminationLog(path, out string[] components)
        ? Remove(roots.KubeletPods, components.AsSpan(0, 3), components[3], path)
        : new FileResult(FileOutcome.OutsideRoot, path);

    /// <summary>
    /// Makes the link in <see cref="ContainerFileRoots.ContainerLogs"/> that log collectors follow. As the kubelet does it: after the
    /// start, and only if the log is there.
    /// </summary>
    /// <param name="logPath">The sandbox's log directory and the container's log path, joined.</param>
    /// <param name="podName">The pod's name.</param>
    /// <param name="podNamespace">The pod's namespace.</param>
    /// <param name="containerName">The container's name in its pod.</param>
    /// <param name="containerId">The backend's id of the attempt.</param>
    public FileResult LinkLog(string logPath, string podName, string podNamespace, string containerName, string containerId)
    {
        if (!TrySplitLog(logPath, out string[] components))
        {
            return new FileResult(FileOutcome.OutsideRoot, logPath);
        }

        string link = LinkName(podName, podNamespace, containerName, containerId);
        string linkPath = Path.Combine(roots.ContainerLogs, link);
        if (!RootedDirectory.IsPlainName(link))
        {
            return new FileResult(FileOutcome.OutsideRoot, linkPath);
        }

        int error = RootedDirectory.TryOpen(roots.PodLogs, components.AsSpan(0, 2), out RootedDirectory? logs);
        if (error != 0)
        {
            return Failure(error, logPath);
        }

        using (logs)
        {
            // Through a link of somebody else, collectors with root's rights would read any file of the node.
            if (logs!.ReadLink(components[2]) is not null)
            {
                return new FileResult(FileOutcome.Hostile, logPath);
            }

            if (!logs.IsRegularFile(components[2]))
            {
                return new FileResult(FileOutcome.Absent, logPath);
            }
        }

        error = RootedDirectory.TryOpen(roots.ContainerLogs, [], out RootedDirectory? links);
        if (error != 0)
        {
            return Failure(error, linkPath);
        }

        using (links)
        {
            error = links!.Link(link, logPath);
            if (error == EEXIST)
            {
                if (links.ReadLink(link) == logPath)
                {
                    return new FileResult(FileOutcome.Done, linkPath);
                }

                // The name holds the container's id, so whatever has it cannot be of use to anybody else.
                error = links.Remove(link);
                error = error == 0 || error == ENOENT ? links.Link(link, logPath) : error;
            }

            return error == 0 ? new FileResult(FileOutcome.Done, linkPath) : Failure(error, linkPath);
        }
    }

    /// <summary>Removes the link that <see cref="LinkLog"/>, or the kubelet, made for a container.</summary>
    public FileResult RemoveLink(string podName, string podNamespace, string containerName, string containerId)
    {
        string link = LinkName(podName, podNamespace, containerName, containerId);
        string linkPath = Path.Combine(roots.ContainerLogs, link);
        return RootedDirectory.IsPlainName(link)
            ? Remove(roots.ContainerLogs, [], link, linkPath)
            : new FileResult(FileOutcome.OutsideRoot, linkPath);
    }

    /// <summary>Opens an attempt's log, to be rotated.</summary>
    /// <param name="logPath">The sandbox's log directory and the container's log path, joined.</param>
    /// <param name="log">Null when the outcome is not <see cref="FileOutcome.Done"/>. To be disposed.</param>
    public FileResult OpenLog(string logPath, out ContainerLog? log)
    {
        log = null;
        if (!TrySplitLog(logPath, out string[] components))
        {
            return new FileResult(FileOutcome.OutsideRoot, logPath);
        }

        int error = RootedDirectory.TryOpen(roots.PodLogs, components.AsSpan(0, 2), out RootedDirectory? directory);
        if (error != 0)
        {
            return Failure(error, logPath);
        }

        log = new ContainerLog(directory!, components[2], logPath);
        return new FileResult(FileOutcome.Done, logPath);
    }

    /// <summary>
    /// Removes an attempt's log and what rotation made of it: <c>0.log</c>, <c>0.log.20260102-030405</c>, the same with <c>.gz</c>
    /// and <c>.tmp</c>. Other attempts' logs stay.
    /// </summary>
    /// <param name="logPath">The sandbox's log directory and the container's log path, joined.</param>
    public FileResult RemoveLogs(string logPath)
    {
        if (!TrySplitLog(logPath, out string[] components))
        {
            return new FileResult(FileOutcome.OutsideRoot, logPath);
        }

        int error = RootedDirectory.TryOpen(roots.PodLogs, components.AsSpan(0, 2), out RootedDirectory? directory);
        if (error != 0)
        {
            return Removal(error, logPath);
        }

        using (directory)
        {
            IReadOnlyList<string> names;
            try
            {
                names = directory!.FileNames();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Without a list the log itself can still go.
                return Removal(directory!.Remove(components[2]), logPath);
            }

            var result = new FileResult(FileOutcome.Absent, logPath);
            string rotated = components[2] + '.';
            foreach (string name in names)
            {
                if (name != components[2] && !name.StartsWith(rotated, StringComparison.Ordinal))
                {
                    continue;
                }

                FileResult removed = Removal(directory.Remove(name), Path.Combine(Path.GetDirectoryName(logPath)!, name));
                result = !removed.IsDone && result.IsDone ? removed
                    : removed.Outcome == FileOutcome.Done && result.IsDone ? new FileResult(FileOutcome.Done, logPath)
                    : result;
            }

            return result;
        }
    }

    /// <summary>
    /// <c>&lt;pod&gt;_&lt;namespace&gt;_&lt;container&gt;-&lt;id&gt;.log</c>, cut before the suffix where it is longer than file names may be:
    /// the kubelet's naming.
    /// </summary>
    internal static string LinkName(string podName, string podNamespace, string containerName, string containerId)
    {
        byte[] name = Encoding.UTF8.GetBytes($"{podName}_{podNamespace}_{containerName}-{containerId}");
        return Encoding.UTF8.GetString(name, 0, Math.Min(name.Length, MaxNameBytes - LogSuffix.Length)) + LogSuffix;
    }

    private bool TrySplitTerminationLog(string path, out string[] components) =>
        TrySplit(roots.KubeletPods, path, out components)
        && components.Length == 4
        && components[1] == "containers"
        && components[3].Length == 8
        && components[3].All(char.IsAsciiHexDigitLower);

    private bool TrySplitLog(string path, out string[] components) =>
        TrySplit(roots.PodLogs, path, out components)
        && components.Length == 3
        && components[2].EndsWith(LogSuffix, StringComparison.Ordinal)
        && uint.TryParse(components[2].AsSpan(0, components[2].Length - LogSuffix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out _);

    /// <summary>The names of <paramref name="path"/> below <paramref name="root"/>, each a plain one; ways up are refused, not resolved.</summary>
    private static bool TrySplit(string root, string path, out string[] components)
    {
        string prefix = root.TrimEnd('/') + '/';
        components = path.StartsWith(prefix, StringComparison.Ordinal) ? path[prefix.Length..].Split('/') : [];
        return components.Length > 0 && components.All(component => RootedDirectory.IsPlainName(component));
    }

    private static FileResult Remove(string root, ReadOnlySpan<string> components, string name, string path)
    {
        int error = RootedDirectory.TryOpen(root, components, out RootedDirectory? directory);
        if (error != 0)
        {
            return Removal(error, path);
        }

        using (directory)
        {
            return Removal(directory!.Remove(name), path);
        }
    }

    private static FileResult Removal(int error, string path) => error == 0 ? new FileResult(FileOutcome.Done, path) : Failure(error, path);

    internal static FileResult Failure(int error, string path)
    {
        FileOutcome outcome = error == ENOENT ? FileOutcome.Absent
            : error == ENOSPC || error == EDQUOT ? FileOutcome.NoSpace
            : error == EROFS ? FileOutcome.ReadOnly
            : RootedDirectory.IsHostile(error) ? FileOutcome.Hostile
            : FileOutcome.Failed;
        return new FileResult(outcome, path, error);
    }
}
