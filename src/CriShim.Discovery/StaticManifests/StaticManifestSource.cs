using System.Threading.Channels;
using CriShim.Discovery.Reading;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.StaticManifests;

/// <summary>
/// The manifests that the kubelet runs static pods from. inotify tells of changes; a slow poll finds what it can't tell (a directory that
/// did not exist, another file system mounted over it, targets of symbolic links).
/// </summary>
public sealed class StaticManifestSource(
    StaticManifestOptions options, NodeNameResolver nodeName, TimeProvider time, ILogger<StaticManifestSource> log) : IPodSpecSource
{
    private const int MaxManifestBytes = 1024 * 1024;
    private const int MaxFiles = 1000;

    /// <summary>A file is seldom written at one go.</summary>
    private static readonly TimeSpan Settling = TimeSpan.FromMilliseconds(100);

    /// <summary>Two writes within a file system's clock tick leave the same time: only older times say that nothing has changed.</summary>
    private static readonly TimeSpan ClockTick = TimeSpan.FromSeconds(2);

    private readonly Dictionary<string, string> _told = new(StringComparer.Ordinal);

    public string Name => "static manifests";

    public PodIdentity Identity => PodIdentity.Name;

    public async Task RunAsync(IPodFactsSink sink, CancellationToken cancellationToken)
    {
        var bell = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        var files = new Dictionary<string, ReadManifest>(StringComparer.Ordinal);
        FileSystemWatcher? watcher = null;
        bool wasTold = true;
        try
        {
            while (true)
            {
                // Watched before it is read: what changes in between rings the bell.
                watcher ??= Watch(bell.Writer);
                bool hasChanged = Scan(sink, files);
                if (hasChanged && !wasTold)
                {
                    // The poll found what inotify did not tell: it watches a directory that is no longer the one of that name.
                    watcher?.Dispose();
                    watcher = Watch(bell.Writer);
                }

                wasTold = await WaitAsync(bell.Reader, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            watcher?.Dispose();
        }
    }

    private async Task<bool> WaitAsync(ChannelReader<bool> bell, CancellationToken cancellationToken)
    {
        using (var deadline = new CallDeadline(options.PollInterval, time, cancellationToken))
        {
            try
            {
                await bell.ReadAsync(deadline.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (deadline.IsOver)
            {
                return false;
            }
        }

        await Task.Delay(Settling, time, cancellationToken).ConfigureAwait(false);
        _ = bell.TryRead(out _);
        return true;
    }

    private FileSystemWatcher? Watch(ChannelWriter<bool> bell)
    {
        string directory = File.Exists(options.Path) ? Path.GetDirectoryName(options.Path)! : options.Path;
        if (!Directory.Exists(directory))
        {
            return null;
        }

        FileSystemWatcher? watcher = null;
        try
        {
            watcher = new FileSystemWatcher(directory)
            {
                NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite | NotifyFilters.Size | NotifyFilters.Attributes,
            };
            watcher.Changed += (_, _) => bell.TryWrite(true);
            watcher.Created += (_, _) => bell.TryWrite(true);
            watcher.Deleted += (_, _) => bell.TryWrite(true);
            watcher.Renamed += (_, _) => bell.TryWrite(true);
            watcher.Error += (_, _) => bell.TryWrite(true);
            watcher.EnableRaisingEvents = true;
            return watcher;
        }
        catch (Exception e) when (e is IOException or ArgumentException or UnauthorizedAccessException)
        {
            // Mostly: no inotify instances left on the node.
            log.ManifestsNotWatched(directory, e.Message);
            watcher?.Dispose();
            return null;
        }
    }

    private bool Scan(IPodFactsSink sink, Dictionary<string, ReadManifest> files)
    {
        List<string> paths;
        try
        {
            paths = ListFiles();
        }
        catch (DirectoryNotFoundException)
        {
            // The kubelet takes it for a directory without manifests.
            files.Clear();
            sink.ReplaceAll([]);
            sink.Report(PodSpecSourceState.Degraded, $"{options.Path} does not exist");
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            sink.Report(PodSpecSourceState.Degraded, $"{options.Path} cannot be read");
            return false;
        }

        bool hasChanged = false;
        foreach (string gone in files.Keys.Except(paths).ToList())
        {
            hasChanged = true;
            _ = files.Remove(gone);
        }

        foreach (string path in paths)
        {
            files.TryGetValue(path, out ReadManifest? before);
            ReadManifest? now = Read(path, before);
            if (now is null)
            {
                hasChanged |= files.Remove(path);
                continue;
            }

            hasChanged |= before is null || before.Stamp != now.Stamp;
            files[path] = now;
        }

        Publish(sink, files);
        return hasChanged;
    }

    private List<string> ListFiles()
    {
        if (File.Exists(options.Path))
        {
            return [options.Path];
        }

        // Names that start with a dot are no manifests to the kubelet: editors and configuration tools keep their halves in them.
        return
        [
            .. Directory.EnumerateFiles(options.Path).Where(p => !Path.GetFileName(p).StartsWith('.')).Take(MaxFiles).Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>Null when the file has gone, or is none to be read.</summary>
    private ReadManifest? Read(string path, ReadManifest? before)
    {
        try
        {
            var file = new FileInfo(path);
            file = file.ResolveLinkTarget(returnFinalTarget: true) as FileInfo ?? file;
            if (!file.Exists)
            {
                return null;
            }

            var stamp = new FileStamp(file.FullName, file.LastWriteTimeUtc, file.Length);
            if (before is { IsSettled: true } && before.Stamp == stamp)
            {
                return before;
            }

            bool isSettled = time.GetUtcNow().UtcDateTime - stamp.Written > ClockTick;
            return ReadContent(path, stamp, isSettled);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new ReadManifest(default, false, [], $"{path}: cannot be read");
        }
    }

    private static ReadManifest ReadContent(string path, FileStamp stamp, bool isSettled)
    {
        if (stamp.Length == 0)
        {
            // Not opened: pipes and devices have no length either, and opening a pipe waits for whoever writes to it.
            return new ReadManifest(stamp, isSettled, [], $"{path}:1: is empty, or no regular file");
        }

        try
        {
            return SmallFile.Read(path, MaxManifestBytes) is { } content
                ? new ReadManifest(stamp, isSettled, ManifestReader.Read(path, content), null)
                : new ReadManifest(stamp, isSettled, [], $"{path}:1: has more than {MaxManifestBytes} bytes");
        }
        catch (ManifestException e)
        {
            return new ReadManifest(stamp, isSettled, [], e.Message);
        }
    }

    private void Publish(IPodFactsSink sink, Dictionary<string, ReadManifest> files)
    {
        // The kubelet's name for a static pod (GeneratePodName).
        string suffix = "-" + nodeName.Resolve().ToLowerInvariant();
        var pods = new Dictionary<(string, string), (SeenPod Pod, string Path)>();
        var faults = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string path, ReadManifest file) in files.OrderBy(f => f.Key, StringComparer.Ordinal))
        {
            if (file.Fault is not null)
            {
                faults[path] = file.Fault;
            }

            foreach (PodDocument document in file.Pods)
            {
                PodFacts facts = document.Facts with { Name = document.Facts.Name + suffix };
                if (!pods.TryAdd((facts.Namespace, facts.Name), (new SeenPod(facts), path)))
                {
                    faults[path] = $"{path}: pod {document.Facts.Namespace}/{document.Facts.Name} is also in {pods[(facts.Namespace, facts.Name)].Path}";
                }
                else if (document.Loss is { } loss)
                {
                    faults[path] = $"{path}: {loss}";
                }
            }
        }

        Tell(faults);
        sink.ReplaceAll([.. pods.Values.Select(p => p.Pod)]);
        sink.Report(PodSpecSourceState.Synced);
    }

    /// <summary>Each fault once, for as long as it stays the same.</summary>
    private void Tell(Dictionary<string, string> faults)
    {
        foreach ((string path, string fault) in faults)
        {
            if (_told.GetValueOrDefault(path) != fault)
            {
                _told[path] = fault;
                log.ManifestRejected(fault);
            }
        }

        foreach (string mended in _told.Keys.Where(p => !faults.ContainsKey(p)).ToList())
        {
            _ = _told.Remove(mended);
            if (File.Exists(mended))
            {
                log.ManifestAccepted(mended);
            }
        }
    }

    private readonly record struct FileStamp(string Target, DateTime Written, long Length);

    private sealed record ReadManifest(FileStamp Stamp, bool IsSettled, IReadOnlyList<PodDocument> Pods, string? Fault);
}
