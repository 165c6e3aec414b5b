using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>Which file this is, whatever it is called: device and inode.</summary>
internal sealed record FileIdentity(ulong Device, ulong Inode)
{
    /// <summary>The file at <paramref name="path"/>, a symbolic link itself rather than what it points to; null when none.</summary>
    public static FileIdentity? OfPath(string path) => Read(path, follow: false, out _);

    /// <summary>As <see cref="OfPath"/>, with symbolic links followed.</summary>
    public static FileIdentity? OfTarget(string path) => Read(path, follow: true, out _);

    /// <summary>As <see cref="OfPath"/>, and whether the file is a socket.</summary>
    public static unsafe FileIdentity? Read(string path, bool follow, out bool isSocket)
    {
        stat status;
        int result;
        fixed (byte* p = Encoding.UTF8.GetBytes(path + '\0'))
        {
            result = follow ? LibC.stat(p, &status) : lstat(p, &status);
        }

        int error = errno;
        isSocket = false;
        if (result < 0)
        {
            return error == ENOENT || error == ENOTDIR ? null : throw new SystemCallException("stat", error);
        }

        isSocket = (status.st_mode & S_IFMT) == S_IFSOCK;
        return new FileIdentity(status.st_dev, status.st_ino);
    }

    /// <summary>The file behind an open descriptor.</summary>
    public static unsafe FileIdentity OfDescriptor(int descriptor)
    {
        stat status;
        SystemCallException.ThrowIfFailed(fstat(descriptor, &status), "fstat");
        return new FileIdentity(status.st_dev, status.st_ino);
    }
}
