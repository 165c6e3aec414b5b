using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>
/// The right to bind, replace and remove the socket at a path: a lock on <c>path.lock</c>, held as long as the process listens. The
/// kernel frees it when the process dies, however it dies.
/// </summary>
/// <remarks>
/// An open-file-description lock (fcntl(2)): unlike a POSIX lock it excludes a second listener of the same process too, and is not lost
/// when some other descriptor of the file is closed.
/// </remarks>
internal sealed class PathLock : IDisposable
{
    private readonly string _file;
    private readonly int _descriptor;

    private PathLock(string file, int descriptor)
    {
        _file = file;
        _descriptor = descriptor;
    }

    /// <exception cref="UnixListenerException">Another process holds it, or the file cannot be opened.</exception>
    public static PathLock Take(string path)
    {
        string file = path + ".lock";
        while (true)
        {
            int descriptor = Open(file);
            int error = descriptor < 0 ? errno : 0;
            if (descriptor < 0)
            {
                throw new UnixListenerException($"cannot listen on {path}: {new SystemCallException($"open of {file}", error).Message}");
            }

            if (TryLock(descriptor, out error))
            {
                // The holder before us may have removed the file between our open and our lock; a lock on a file that nobody else
                // can open protects nothing.
                if (FileIdentity.OfDescriptor(descriptor).Equals(FileIdentity.OfPath(file)))
                {
                    return new PathLock(file, descriptor);
                }

                _ = close(descriptor);
                continue;
            }

            _ = close(descriptor);
            throw new UnixListenerException(error == EAGAIN || error == EACCES
                ? $"cannot listen on {path}: another process listens on it, or is about to (it holds {file})"
                : $"cannot listen on {path}: {new SystemCallException($"lock of {file}", error).Message}");
        }
    }

    public void Dispose()
    {
        Unlink();
        _ = close(_descriptor);
    }

    private static unsafe int Open(string file)
    {
        fixed (byte* p = Encoding.UTF8.GetBytes(file + '\0'))
        {
            return open(p, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0x180 /* 0600 */);
        }
    }

    private static unsafe bool TryLock(int descriptor, out int error)
    {
        var request = new flock { l_type = (short)F_WRLCK, l_whence = 0 /* SEEK_SET; length 0: the whole file */ };
        int result = fcntl(descriptor, F_OFD_SETLK, &request);
        error = errno;
        return result == 0;
    }

    private unsafe void Unlink()
    {
        fixed (byte* p = Encoding.UTF8.GetBytes(_file + '\0'))
        {
            _ = unlink(p);
        }
    }
}
