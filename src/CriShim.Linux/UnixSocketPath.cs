using System.Runtime.InteropServices;
using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>Rules of a Unix socket's path, and what is found there.</summary>
public static class UnixSocketPath
{
    /// <summary>sun_path has 108 bytes, one of them for the final NUL (unix(7)).</summary>
    public const int MaxBytes = 107;

    /// <summary>What is wrong with a path, to be put behind the path and a colon; null when nothing is.</summary>
    public static string? FindFault(string path)
    {
        if (path.Length == 0 || path[0] != '/')
        {
            return "must be an absolute path";
        }

        if (path.Contains('\0', StringComparison.Ordinal))
        {
            return "must not contain a NUL";
        }

        if (path.EndsWith('/') || path.EndsWith("/.", StringComparison.Ordinal) || path.EndsWith("/..", StringComparison.Ordinal))
        {
            return "must be the path of a socket, not of a directory";
        }

        int bytes = Encoding.UTF8.GetByteCount(path);
        return bytes > MaxBytes ? $"must have at most {MaxBytes} bytes (it has {bytes}); the kernel takes no longer one for a socket" : null;
    }

    /// <summary>Whether two paths lead to the same socket: also through links, and when neither file exists yet.</summary>
    public static bool AreSame(string one, string other)
    {
        if (Path.GetFullPath(one) == Path.GetFullPath(other))
        {
            return true;
        }

        try
        {
            if (FileIdentity.OfTarget(one) is { } file && file.Equals(FileIdentity.OfTarget(other)))
            {
                return true;
            }

            // /var/run is a link to /run on most systems.
            return Path.GetFileName(one) == Path.GetFileName(other)
                && FileIdentity.OfTarget(Path.GetDirectoryName(one) ?? "/") is { } directory
                && directory.Equals(FileIdentity.OfTarget(Path.GetDirectoryName(other) ?? "/"));
        }
        catch (SystemCallException)
        {
            return false; // Not allowed to look: the paths as text are all there is.
        }
    }

    /// <summary>Finds out what is at the path by a connect, which a live listener sees as a caller that leaves at once.</summary>
    internal static unsafe UnixSocketState Probe(string path)
    {
        if (FileIdentity.Read(path, follow: false, out bool isSocket) is null)
        {
            return UnixSocketState.Absent;
        }

        if (!isSocket)
        {
            return UnixSocketState.NotASocket;
        }

        int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        SystemCallException.ThrowIfFailed(descriptor, "socket");
        sockaddr_un address = ToAddress(path, out int length);
        int result = connect(descriptor, (sockaddr*)&address, length);
        int error = errno;
        _ = close(descriptor);
        return result == 0 || error == EAGAIN ? UnixSocketState.Listening // EAGAIN: it listens, and its backlog is full.
            : error == ECONNREFUSED ? UnixSocketState.Stale
            : error == ENOENT ? UnixSocketState.Absent
            : error == EPROTOTYPE ? UnixSocketState.OtherSocket
            : throw new SystemCallException("connect to what is there", error);
    }

    internal static unsafe int Unlink(string path)
    {
        fixed (byte* p = Encoding.UTF8.GetBytes(path + '\0'))
        {
            return unlink(p);
        }
    }

    /// <summary>The path must have passed <see cref="FindFault"/>.</summary>
    internal static unsafe sockaddr_un ToAddress(string path, out int length)
    {
        var address = default(sockaddr_un);
        address.sun_family = AF_UNIX;
        int bytes = Encoding.UTF8.GetBytes(path, new Span<byte>((byte*)&address + sockaddr_un.sun_path_offset, MaxBytes));
        length = sockaddr_un.sun_path_offset + bytes + 1;
        return address;
    }

    /// <summary>
    /// The path of a bound address as the kernel gives it: without a final NUL if it fills sun_path, of zero length if unnamed, and
    /// starting with NUL if abstract, which is given here as '@'.
    /// </summary>
    internal static unsafe string FromAddress(in sockaddr_un address, int length)
    {
        ReadOnlySpan<byte> raw = MemoryMarshal.AsBytes(new ReadOnlySpan<sockaddr_un>(in address))[..Math.Min(length, sizeof(sockaddr_un))];
        ReadOnlySpan<byte> path = raw.Length > sockaddr_un.sun_path_offset ? raw[sockaddr_un.sun_path_offset..] : [];
        if (path.IsEmpty)
        {
            return "";
        }

        if (path[0] == 0)
        {
            return "@" + Encoding.UTF8.GetString(path[1..]);
        }

        int end = path.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? path : path[..end]);
    }
}

/// <summary>What is found at a path that is to be listened on.</summary>
internal enum UnixSocketState
{
    Absent,

    /// <summary>A stream socket that nobody listens on: left behind by a process that was killed.</summary>
    Stale,
    Listening,

    /// <summary>A datagram or seqpacket socket.</summary>
    OtherSocket,
    NotASocket,
}
