using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Files;

/// <summary>
/// A directory below a trusted root, opened without following a symbolic link anywhere below that root; what is in it is named by
/// plain file names only. Whoever can write below the root (a pod with a hostPath volume) cannot lead it elsewhere, not even by
/// renaming while it works: the descriptor stays on the directory that was checked.
/// </summary>
internal sealed unsafe class RootedDirectory : IDisposable
{
    // The number is the same on every architecture: calls that are newer than 5.1 share one table.
    private const int SysOpenat2 = 437;
    private const ulong ResolveNoMagicLinks = 0x02;
    private const ulong ResolveNoSymlinks = 0x04;
    private const ulong ResolveBeneath = 0x08;
    private const int MaxNameBytes = 255;

    private readonly int _descriptor;

    private RootedDirectory(int descriptor) => _descriptor = descriptor;

    /// <summary>Makes the fallback the only way, for its tests.</summary>
    internal static bool AvoidOpenat2 { get; set; }

    /// <summary>Opens <paramref name="components"/> one below the other, from <paramref name="root"/>.</summary>
    /// <param name="root">Trusted: it comes from the configuration, and links on the way to it are the operator's.</param>
    /// <param name="components">Checked by <see cref="IsPlainName"/>.</param>
    /// <param name="directory">Null when the errno that is returned is not 0.</param>
    public static int TryOpen(string root, ReadOnlySpan<string> components, out RootedDirectory? directory)
    {
        directory = null;
        int descriptor = OpenAt(AT_FDCWD, root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, out int error);
        if (descriptor < 0)
        {
            return error;
        }

        if (components.Length > 0)
        {
            int rootDescriptor = descriptor;
            descriptor = OpenBeneath(rootDescriptor, components, out error);
            _ = close(rootDescriptor);
            if (descriptor < 0)
            {
                return error;
            }
        }

        directory = new RootedDirectory(descriptor);
        return 0;
    }

    /// <summary>A name that is one path component and no way up.</summary>
    public static bool IsPlainName(ReadOnlySpan<char> name) =>
        name.Length > 0 && name is not "." and not ".." && name.IndexOfAny('/', '\0') < 0 && Encoding.UTF8.GetByteCount(name) <= MaxNameBytes;

    /// <summary>True when the errno says that a link, or something else that is no directory, was in the way.</summary>
    public static bool IsHostile(int error) => error == ELOOP || error == ENOTDIR || error == EXDEV;

    /// <summary>Makes an empty regular file with exactly <paramref name="mode"/>, whatever the umask is.</summary>
    /// <param name="name">Its name; EEXIST when something has it, a dangling link included.</param>
    /// <param name="mode">Permission bits.</param>
    /// <param name="likeName">A file whose owner the new one gets, as far as that is allowed.</param>
    /// <returns>errno, 0 when done.</returns>
    public int CreateFile(string name, int mode, string likeName)
    {
        int file = OpenAt(_descriptor, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0x180 /* 0600 */, out int error);
        if (file < 0)
        {
            return error;
        }

        // Pods with a user namespace: the kubelet's file may belong to another user. Not being allowed to give it away does no
        // harm, for everybody may write.
        if (TryStat(likeName, out stat like) == 0 && (like.st_mode & S_IFMT) == S_IFREG)
        {
            _ = fchown(file, like.st_uid, like.st_gid);
        }

        error = fchmod(file, (ushort)mode) < 0 ? errno : 0;
        _ = close(file);
        if (error != 0)
        {
            _ = Remove(name);
        }

        return error;
    }

    /// <summary>Removes a file or a link itself; a directory is refused by the kernel.</summary>
    /// <returns>errno, 0 when done.</returns>
    public int Remove(string name)
    {
        fixed (byte* p = Bytes(name))
        {
            return unlinkat(_descriptor, p, 0) < 0 ? errno : 0;
        }
    }

    /// <summary>Makes a symbolic link to <paramref name="target"/>, which is not looked at.</summary>
    /// <returns>errno, 0 when done.</returns>
    public int Link(string name, string target)
    {
        fixed (byte* t = Bytes(target))
        fixed (byte* p = Bytes(name))
        {
            return symlinkat(t, _descriptor, p) < 0 ? errno : 0;
        }
    }

    /// <summary>What the link <paramref name="name"/> points to; null when it is no link.</summary>
    public string? ReadLink(string name)
    {
        byte[] target = new byte[PathMax];
        fixed (byte* t = target)
        fixed (byte* p = Bytes(name))
        {
            int length = (int)readlinkat(_descriptor, p, t, (uint)target.Length);
            return length < 0 ? null : Encoding.UTF8.GetString(target, 0, length);
        }
    }

    /// <summary>True when <paramref name="name"/> is a regular file itself.</summary>
    public bool IsRegularFile(string name) => TryStat(name, out stat status) == 0 && (status.st_mode & S_IFMT) == S_IFREG;

    /// <summary>Size in bytes; null when <paramref name="name"/> is not a regular file itself.</summary>
    public long? SizeOf(string name) => TryStat(name, out stat status) == 0 && (status.st_mode & S_IFMT) == S_IFREG ? status.st_size : null;

    /// <summary>Renames within the directory; what has the new name is replaced.</summary>
    /// <returns>errno, 0 when done.</returns>
    public int Rename(string name, string newName)
    {
        try
        {
            File.Move(PathOf(name), PathOf(newName), overwrite: true);
            return 0;
        }
        catch (FileNotFoundException)
        {
            return ENOENT;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.HResult is > 0 and < 4096 ? e.HResult : EIO;
        }
    }

    /// <summary>Opens a regular file for reading.</summary>
    /// <returns>errno, 0 when done.</returns>
    public int OpenForReading(string name, out SafeFileHandle? file) => OpenRegular(name, O_RDONLY, out file);

    /// <summary>Opens a regular file for writing, from its start.</summary>
    /// <returns>errno, 0 when done.</returns>
    public int OpenForWriting(string name, out SafeFileHandle? file) => OpenRegular(name, O_WRONLY, out file);

    /// <summary>The names of this directory's files and links, subdirectories left out.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public IReadOnlyList<string> FileNames()
    {
        var names = new List<string>();
        foreach (string path in Directory.EnumerateFiles(PathOf("")))
        {
            names.Add(Path.GetFileName(path));
        }

        return names;
    }

    /// <inheritdoc/>
    public void Dispose() => _ = close(_descriptor);

    private const int PathMax = 4096;

    private static int OpenBeneath(int root, ReadOnlySpan<string> components, out int error)
    {
        int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        if (!AvoidOpenat2)
        {
            var how = new OpenHow { Flags = (ulong)flags, Resolve = ResolveBeneath | ResolveNoSymlinks | ResolveNoMagicLinks };
            fixed (byte* path = Bytes(string.Join('/', components)))
            {
                int opened = (int)(long)syscall(SysOpenat2, root, path, &how, sizeof(OpenHow));
                error = opened < 0 ? errno : 0;
                // Kernels before 5.6 do not know the call, system call filters may forbid it, and it gives up when something is
                // renamed meanwhile (EAGAIN): then one component after the other.
                if (opened >= 0 || (error != ENOSYS && error != EPERM && error != EAGAIN))
                {
                    return opened;
                }
            }
        }

        int current = root;
        error = 0;
        foreach (string component in components)
        {
            int next = OpenAt(current, component, flags, 0, out error);
            if (current != root)
            {
                _ = close(current);
            }

            if (next < 0)
            {
                return -1;
            }

            current = next;
        }

        return current;
    }

    private static int OpenAt(int directory, string path, int flags, ushort mode, out int error)
    {
        fixed (byte* p = Bytes(path))
        {
            int descriptor;
            do
            {
                descriptor = openat(directory, p, flags, mode);
                error = descriptor < 0 ? errno : 0;
            }
            while (error == EINTR);

            return descriptor;
        }
    }

    private int OpenRegular(string name, int flags, out SafeFileHandle? file)
    {
        file = null;
        // Not to wait for the other end, should it be a pipe.
        int descriptor = OpenAt(_descriptor, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0, out int error);
        if (descriptor < 0)
        {
            return error;
        }

        stat status;
        error = fstat(descriptor, &status) < 0 ? errno : (status.st_mode & S_IFMT) == S_IFREG ? 0 : ELOOP;
        if (error != 0)
        {
            _ = close(descriptor);
            return error;
        }

        file = new SafeFileHandle(descriptor, ownsHandle: true);
        return 0;
    }

    // The kernel resolves this to the very directory that is open here, under whatever name it is now.
    private string PathOf(string name) => $"/proc/self/fd/{_descriptor}/{name}";

    private int TryStat(string name, out stat status)
    {
        stat read;
        fixed (byte* p = Bytes(name))
        {
            int error = fstatat(_descriptor, p, &read, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
            status = read;
            return error;
        }
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text + '\0');

    /// <summary>struct open_how of openat2(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }
}
