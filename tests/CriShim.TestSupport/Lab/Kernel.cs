using System.Runtime.InteropServices;

namespace CriShim.TestSupport.Lab;

/// <summary>The few system calls that .NET has no name for.</summary>
public static partial class Kernel
{
    public const int SigTerm = 15;
    public const int SigKill = 9;
    private const int DetachMount = 2;

    /// <summary>False when there is no such process any more.</summary>
    public static bool Signal(int pid, int signal) => Kill(pid, signal) == 0;

    /// <summary>Takes a mount away at once, even when something still uses it.</summary>
    public static void Detach(string mountPoint) => _ = Unmount(mountPoint, DetachMount);

    /// <summary>A file system in memory, of its own size.</summary>
    public static void MountTmpfs(string mountPoint, string options)
    {
        if (Mount("tmpfs", mountPoint, "tmpfs", 0, options) != 0)
        {
            throw new LabException($"Could not mount a tmpfs at {mountPoint}: error {Marshal.GetLastPInvokeError()}. These tests need root.");
        }
    }

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, nuint flags, string data);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Unmount(string target, int flags);
}
