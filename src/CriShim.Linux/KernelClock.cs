using System.Runtime.InteropServices;

namespace CriShim.Linux;

/// <summary>What the kernel knows about its clock.</summary>
public static partial class KernelClock
{
    // struct timex has 208 bytes; its first field, modes, is 0: nothing is set (adjtimex(2)).
    private const int BufferLength = 512;
    private const int TimeError = 5; // TIME_ERROR

    /// <summary>Whether something keeps the clock right (NTP, PTP, a hypervisor's agent); null where the kernel doesn't say.</summary>
    public static unsafe bool? IsSynchronised()
    {
        byte* buffer = stackalloc byte[BufferLength];
        new Span<byte>(buffer, BufferLength).Clear();
        return AdjTimeX(buffer) switch
        {
            < 0 => null,
            TimeError => false,
            _ => true,
        };
    }

    [LibraryImport("libc", EntryPoint = "adjtimex")]
    private static unsafe partial int AdjTimeX(byte* buffer);
}
