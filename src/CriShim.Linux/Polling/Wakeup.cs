using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Polling;

/// <summary>An eventfd(2) by which other threads wake the one that waits on an <see cref="Epoll"/>.</summary>
public sealed unsafe class Wakeup : IDisposable
{
    /// <summary>Creates the descriptor.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public Wakeup()
    {
        Descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (Descriptor < 0)
        {
            throw new IOException($"eventfd: {Errno.Name(errno)}");
        }
    }

    /// <summary>Readable after <see cref="Signal"/>, until <see cref="Reset"/>.</summary>
    public int Descriptor { get; }

    /// <summary>Makes the descriptor readable. Safe from any thread.</summary>
    public void Signal()
    {
        ulong one = 1;
        // EAGAIN means that the counter is full, so that the waiter is awake anyway.
        _ = write(Descriptor, &one, sizeof(ulong));
    }

    /// <summary>Makes the descriptor unreadable again.</summary>
    public void Reset()
    {
        ulong value;
        _ = read(Descriptor, &value, sizeof(ulong));
    }

    /// <inheritdoc/>
    public void Dispose() => _ = close(Descriptor);
}
