namespace CriShim.Containerd.Events;

/// <summary>Why there is a stretch of time whose exits may be missing.</summary>
public enum GapReason
{
    /// <summary>No subscription could be made: nobody listens, or the call failed.</summary>
    Unreachable,

    /// <summary>The subscription ended, by containerd's stop or kill.</summary>
    Ended,

    /// <summary>The connection is up, but an event that was to come did not: containerd hangs.</summary>
    Silent,

    /// <summary>More exits waited to be read than are kept.</summary>
    Overflow,
}

/// <summary>One entry of the ordered stream that <see cref="ContainerdEvents"/> gives.</summary>
public abstract record BackendEvent;

/// <summary>
/// From here on no exit is missed. What ended before this may have been missed: list containers now. Follows each
/// <see cref="Gap"/>; an exit may already come between the two.
/// </summary>
public sealed record Connected : BackendEvent;

/// <summary>From some moment before this one, exits may be missing, until the next <see cref="Connected"/>.</summary>
/// <param name="Reason">Why.</param>
public sealed record Gap(GapReason Reason) : BackendEvent;

/// <summary>The first process of a container has ended. Ends of what was executed in it are left out.</summary>
/// <param name="ContainerId">A container's id, or a pod sandbox's: its pause container ends like any other.</param>
/// <param name="ExitCode">0 to 255; 128 plus the signal's number when killed by one.</param>
/// <param name="ExitedAt">By containerd's clock.</param>
/// <param name="OomSeen">
/// The kernel killed some process of the container for lack of memory shortly before. The report may also come late, as
/// <see cref="ContainerOutOfMemory"/>.
/// </param>
public sealed record ContainerExited(string ContainerId, uint ExitCode, DateTimeOffset ExitedAt, bool OomSeen) : BackendEvent;

/// <summary>
/// The kernel killed a process of the container for lack of memory. Often its first one, and then the exit follows, or came just
/// before; if it was another one, the container may well live on.
/// </summary>
/// <param name="ContainerId">The container's id.</param>
public sealed record ContainerOutOfMemory(string ContainerId) : BackendEvent;
