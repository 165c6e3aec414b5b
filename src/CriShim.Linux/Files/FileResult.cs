namespace CriShim.Linux.Files;

/// <summary>How work on a container's files ended. None of these may stop a restart: the container runs without the file.</summary>
public enum FileOutcome
{
    /// <summary>Done.</summary>
    Done,

    /// <summary>There was nothing to work on: already removed, or the directory is gone.</summary>
    Absent,

    /// <summary>The path is not below its root, or not of the shape the kubelet gives it. Nothing was touched.</summary>
    OutsideRoot,

    /// <summary>A symbolic link, or something else that is no directory, stands in the way. Nothing behind it was touched.</summary>
    Hostile,

    /// <summary>The file system, or a quota on it, is full.</summary>
    NoSpace,

    /// <summary>The file system is mounted read-only.</summary>
    ReadOnly,

    /// <summary>The kernel refused for another reason: <see cref="FileResult.Error"/> has it.</summary>
    Failed,
}

/// <summary>What became of one piece of work on a container's files.</summary>
/// <param name="Outcome">How it ended; of several files, the first that failed.</param>
/// <param name="Path">The file that was made, or the one that <paramref name="Outcome"/> is about.</param>
/// <param name="Error">The kernel's errno; 0 when none was given.</param>
public readonly record struct FileResult(FileOutcome Outcome, string Path, int Error = 0)
{
    /// <summary>The state that was wanted is there.</summary>
    public bool IsDone => Outcome is FileOutcome.Done or FileOutcome.Absent;

    /// <summary>For a log line: outcome, errno in words, path.</summary>
    public override string ToString() => Error == 0 ? $"{Outcome}: {Path}" : $"{Outcome} ({Errno.Name(Error)}): {Path}";
}
