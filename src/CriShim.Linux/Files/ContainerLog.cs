using System.IO.Compression;
using Microsoft.Win32.SafeHandles;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Files;

/// <summary>One file of a container's log: the log itself, or what rotation made of it.</summary>
/// <param name="Name">Plain name in the log's directory.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct LogFile(string Name, long Size);

/// <summary>
/// An attempt's log with what rotation made of it, in a directory that was opened without following links: see
/// <see cref="ContainerFiles.OpenLog"/>.
/// </summary>
public sealed class ContainerLog : IDisposable
{
    private const int OwnerOnly = 0x180; // 0600, as containerd makes logs 0640: nobody else gets to read what was compressed

    private readonly RootedDirectory _directory;
    private readonly string _path;

    internal ContainerLog(RootedDirectory directory, string name, string path)
    {
        _directory = directory;
        Name = name;
        _path = path;
    }

    /// <summary>The log's own name, such as <c>0.log</c>.</summary>
    public string Name { get; }

    /// <summary>The log and what was made of it. Regular files only: whatever else somebody put there is left alone.</summary>
    /// <exception cref="IOException">The directory cannot be read.</exception>
    public IReadOnlyList<LogFile> Files()
    {
        var files = new List<LogFile>();
        foreach (string name in _directory.FileNames())
        {
            if ((name == Name || name.StartsWith(Name + '.', StringComparison.Ordinal)) && _directory.SizeOf(name) is { } size)
            {
                files.Add(new LogFile(name, size));
            }
        }

        return files;
    }

    /// <summary>Renames one of <see cref="Files"/>.</summary>
    public FileResult Rename(string name, string newName) => Result(_directory.Rename(name, newName), name);

    /// <summary>Removes one of <see cref="Files"/>.</summary>
    public FileResult Remove(string name) => Result(_directory.Remove(name), name);

    /// <summary>Makes NAME.gz of NAME by way of NAME.tmp, so that a half of it never has the last name; then removes NAME.</summary>
    public FileResult Compress(string name)
    {
        int error = _directory.OpenForReading(name, out SafeFileHandle? source);
        if (error != 0)
        {
            return Result(error, name);
        }

        string temporary = name + ".tmp";
        using (source)
        {
            error = _directory.CreateFile(temporary, OwnerOnly, likeName: name);
            error = error == 0 ? _directory.OpenForWriting(temporary, out SafeFileHandle? target) is var opened and not 0 ? opened : Copy(source!, target!) : error;
        }

        error = error == 0 ? _directory.Rename(temporary, name + ".gz") : error;
        if (error != 0)
        {
            _ = _directory.Remove(temporary);
            return Result(error, temporary);
        }

        return Result(_directory.Remove(name), name);
    }

    /// <inheritdoc/>
    public void Dispose() => _directory.Dispose();

    private static int Copy(SafeFileHandle source, SafeFileHandle target)
    {
        try
        {
            using var from = new FileStream(source, FileAccess.Read);
            using var to = new FileStream(target, FileAccess.Write);
            using var compressed = new GZipStream(to, CompressionLevel.Fastest);
            from.CopyTo(compressed);
            return 0;
        }
        catch (IOException e)
        {
            return e.HResult is > 0 and < 4096 ? e.HResult : EIO;
        }
    }

    private FileResult Result(int error, string name)
    {
        string path = Path.Combine(Path.GetDirectoryName(_path)!, name);
        return error == 0 ? new FileResult(FileOutcome.Done, path) : ContainerFiles.Failure(error, path);
    }
}
