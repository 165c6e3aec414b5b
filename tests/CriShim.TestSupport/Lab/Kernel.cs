using System.Runtime.InteropServices;

namespace CriShim.TestSupport.Lab;

/// <summary>The few system calls that .NET has no name for.</summary>
public static partial class Kernel
{
    public const int SigTerm = 15;
    public const int SigKill = 9;
    public const int SigStop = 19;
    public const int SigContinue = 18;
    private const int DetachMount = 2;
    private const int MountReadOnly = 1;
    private const int MountAgain = 32;

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

    /// <summary>Makes a mount read-only, or writable again. False while a file there is open for writing.</summary>
    public static bool MakeReadOnly(string mountPoint, bool isReadOnly) =>
        Mount("tmpfs", mountPoint, "tmpfs", (nuint)(MountAgain | (isReadOnly ? MountReadOnly : 0)), "") == 0;

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, nuint flags, string data);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Unmount(string target, int flags);
}
