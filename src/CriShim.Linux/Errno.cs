using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>Names for the errno values that operators meet.</summary>
public static class Errno
{
    /// <summary>Process or system limit of open files is reached: waiting helps, nothing else.</summary>
    public static bool IsOutOfDescriptors(int error) => error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;

    /// <summary>Text such as <c>connection refused (ECONNREFUSED)</c>.</summary>
    public static string Name(int error)
    {
        if (error == ENOENT)
        {
            return "no such file (ENOENT)";
        }

        if (error == ECONNREFUSED)
        {
            return "connection refused (ECONNREFUSED)";
        }

        if (error == EAGAIN)
        {
            return "its queue of connections is full (EAGAIN)";
        }

        if (error == EACCES)
        {
            return "permission denied (EACCES)";
        }

        if (error == ECONNRESET)
        {
            return "connection reset (ECONNRESET)";
        }

        if (error == EPIPE)
        {
            return "connection closed (EPIPE)";
        }

        if (error == EMFILE || error == ENFILE)
        {
            return "too many open files (EMFILE)";
        }

        if (error == ENAMETOOLONG)
        {
            return "path too long (ENAMETOOLONG)";
        }

        if (error == ENOTSOCK)
        {
            return "not a socket (ENOTSOCK)";
        }

        if (error == ENOSPC)
        {
            return "no space left (ENOSPC)";
        }

        if (error == EROFS)
        {
            return "read-only file system (EROFS)";
        }

        if (error == ELOOP)
        {
            return "a symbolic link (ELOOP)";
        }

        if (error == ENOTDIR)
        {
            return "not a directory (ENOTDIR)";
        }

        return $"errno {error}";
    }
}
