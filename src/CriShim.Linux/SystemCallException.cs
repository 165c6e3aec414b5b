using System.Runtime.InteropServices;
using Tmds.Linux;

namespace CriShim.Linux;

/// <summary>A system call failed; the message names it and its errno in words.</summary>
internal sealed class SystemCallException(string call, int error) : IOException($"{call}: {Marshal.GetPInvokeErrorMessage(error)}")
{
    public int Error { get; } = error;

    /// <summary>Must follow the call at once: anything between may change errno.</summary>
    public static void ThrowIfFailed(int result, string call)
    {
        int error = LibC.errno;
        if (result < 0)
        {
            throw new SystemCallException(call, error);
        }
    }
}
