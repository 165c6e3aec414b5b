using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>A Unix stream socket that listens: bound here, or inherited from systemd.</summary>
/// <remarks>
/// How a path is taken, so that no step can be overtaken by a second process doing the same, and so that the socket is never
/// reachable by more than it is meant for:
/// <list type="number">
/// <item>Lock <c>path.lock</c> for as long as we listen. Probe, unlink and bind are three system calls; without the lock two
/// processes starting at once could each find a stale file, and the second would unlink what the first has just bound.</item>
/// <item>Probe what is at the path. Only a stream socket that refuses connections is stale and may go.</item>
/// <item><c>fchmod</c> the socket to 0600 before <c>bind</c>: Linux creates the file with the mode of the socket's inode (less the
/// umask). Setting the process-wide umask instead would race with other threads.</item>
/// <item>Owner, then mode, then <c>listen</c>: until the last step a connect is refused whatever its permissions.</item>
/// </list>
/// </remarks>
public sealed class UnixListener : IDisposable
{
    /// <summary>Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn, which is 4096 by default.</summary>
    public const int Backlog = 4096;

    private const ushort ModeWhileBinding = 0x180; // 0600

    private readonly FileIdentity? _boundFile;
    private readonly PathLock? _lock;
    private int _disposed;

    private UnixListener(int descriptor, string path, FileIdentity? boundFile, PathLock? pathLock)
    {
        Descriptor = descriptor;
        Path = path;
        _boundFile = boundFile;
        _lock = pathLock;
    }

    /// <summary>The listening file descriptor: non-blocking, close-on-exec. Owned by this object.</summary>
    public int Descriptor { get; }

    /// <summary>The path callers connect to.</summary>
    public string Path { get; }

    /// <summary>True when systemd made the socket and keeps it over a restart.</summary>
    public bool IsInherited => _boundFile is null;

    /// <summary>Takes <paramref name="path"/>, replacing a stale socket file, and listens on it.</summary>
    /// <param name="path">Absolute path of at most <see cref="UnixSocketPath.MaxBytes"/> bytes. A missing directory is made, mode 0755.</param>
    /// <param name="mode">Permissions of the socket file. To connect, a process needs write permission (unix(7)).</param>
    /// <param name="owner">User id of the file; null leaves the process's own.</param>
    /// <param name="group">Group id of the file; null leaves the process's own.</param>
    /// <exception cref="UnixListenerException">The path is in use, is no socket, or a system call failed; the message says which.</exception>
    public static UnixListener Bind(string path, UnixFileMode mode, uint? owner = null, uint? group = null)
    {
        if (UnixSocketPath.FindFault(path) is { } fault)
        {
            throw new UnixListenerException($"cannot listen on {path}: {fault}");
        }

        CreateDirectory(path);
        PathLock pathLock = PathLock.Take(path);
        int descriptor = -1;
        FileIdentity? bound = null;
        try
        {
            RemoveStaleFile(path);
            descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            SystemCallException.ThrowIfFailed(descriptor, "socket");
            bound = BindFile(descriptor, path, mode, owner, group);
            SystemCallException.ThrowIfFailed(listen(descriptor, Backlog), "listen");
            return new UnixListener(descriptor, path, bound, pathLock);
        }
        catch (Exception e)
        {
            if (descriptor >= 0)
            {
                _ = close(descriptor);
            }

            if (bound is not null)
            {
                UnlinkIfStillOurs(path, bound);
            }

            pathLock.Dispose();
            throw e is SystemCallException ? new UnixListenerException($"cannot listen on {path}: {e.Message}", e) : e;
        }
    }

    /// <summary>Takes over a descriptor that already listens. The file at its path belongs to whoever made it and stays.</summary>
    internal static UnixListener Inherit(int descriptor, string path) => new(descriptor, path, boundFile: null, pathLock: null);

    /// <summary>
    /// Closes the descriptor. A file that was bound here is removed, unless something else has been put in its place; that of an
    /// inherited socket stays, and callers queue in it.
    /// </summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        // The file first: a caller that comes now finds nothing rather than a socket that refuses it.
        if (_boundFile is not null)
        {
            UnlinkIfStillOurs(Path, _boundFile);
        }

        _ = close(Descriptor);
        _lock?.Dispose();
    }

    private static void CreateDirectory(string path)
    {
        string? directory = System.IO.Path.GetDirectoryName(path);
        try
        {
            const UnixFileMode mode0755 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
                | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;
            Directory.CreateDirectory(directory ?? "/", mode0755);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UnixListenerException($"cannot listen on {path}: cannot make its directory: {e.Message}", e);
        }
    }

    private static void RemoveStaleFile(string path)
    {
        switch (UnixSocketPath.Probe(path))
        {
            case UnixSocketState.Absent:
                return;
            case UnixSocketState.Stale:
                SystemCallException.ThrowIfFailed(UnixSocketPath.Unlink(path), "unlink of the stale socket");
                return;
            case UnixSocketState.Listening:
                throw new UnixListenerException($"cannot listen on {path}: another process listens on it");
            case UnixSocketState.OtherSocket:
                throw new UnixListenerException($"cannot listen on {path}: a socket of another type is there; it is left alone");
            default:
                throw new UnixListenerException($"cannot listen on {path}: what is there is no socket; it is left alone");
        }
    }

    private static unsafe FileIdentity BindFile(int descriptor, string path, UnixFileMode mode, uint? owner, uint? group)
    {
        SystemCallException.ThrowIfFailed(fchmod(descriptor, ModeWhileBinding), "fchmod");
        sockaddr_un address = UnixSocketPath.ToAddress(path, out int length);
        SystemCallException.ThrowIfFailed(bind(descriptor, (sockaddr*)&address, length), "bind");
        FileIdentity bound = FileIdentity.OfPath(path) ?? throw new UnixListenerException($"cannot listen on {path}: it vanished");
        try
        {
            byte[] name = Encoding.UTF8.GetBytes(path + '\0');
            fixed (byte* p = name)
            {
                if (owner is not null || group is not null)
                {
                    // -1 leaves an id as it is (chown(2)).
                    SystemCallException.ThrowIfFailed(lchown(p, owner ?? uint.MaxValue, group ?? uint.MaxValue), $"chown to {Ids(owner, group)}");
                }

                SystemCallException.ThrowIfFailed(chmod(p, (ushort)mode), "chmod");
            }

            return bound;
        }
        catch (SystemCallException)
        {
            UnlinkIfStillOurs(path, bound);
            throw;
        }
    }

    private static string Ids(uint? owner, uint? group) =>
        (owner is null ? "" : $"user {owner}") + (owner is null || group is null ? "" : ", ") + (group is null ? "" : $"group {group}");

    private static void UnlinkIfStillOurs(string path, FileIdentity bound)
    {
        // No process that takes the lock can come between the two calls.
        if (bound.Equals(FileIdentity.OfPath(path)))
        {
            _ = UnixSocketPath.Unlink(path);
        }
    }
}
