using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Polling;

/// <summary>Who is at the other end of a connected Unix socket, by SO_PEERCRED (unix(7)): the kernel's word, as of the connect.</summary>
/// <param name="ProcessId">In this process's pid namespace; 0 where it is not visible from there.</param>
/// <param name="UserId">The effective user id.</param>
public readonly record struct PeerCredentials(int ProcessId, uint UserId)
{
    /// <summary>It is root, or the user that this process runs as.</summary>
    public bool IsRootOrSelf => UserId == 0 || UserId == (uint)geteuid();

    /// <summary>The peer of this descriptor; null where the kernel doesn't say.</summary>
    public static unsafe PeerCredentials? Of(int descriptor)
    {
        ucred credentials;
        socklen_t length = (socklen_t)(uint)sizeof(ucred);
        return getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0
            ? new PeerCredentials((int)credentials.pid, (uint)credentials.uid)
            : null;
    }
}
