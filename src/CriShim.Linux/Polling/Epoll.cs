using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Polling;

/// <summary>What became possible on a descriptor.</summary>
[Flags]
public enum Readiness
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Bytes, a connection, or the end of the stream can be read.</summary>
    Readable = 1,

    /// <summary>Bytes can be written.</summary>
    Writable = 2,

    /// <summary>The peer closed its sending side, or the socket broke: read on to the end to learn how.</summary>
    HungUp = 4,
}

/// <summary>One readiness report of <see cref="Epoll.Wait"/>.</summary>
/// <param name="Token">The token given to <see cref="Epoll.Add"/>.</param>
/// <param name="Readiness">What became possible.</param>
public readonly record struct ReadinessReport(ulong Token, Readiness Readiness);

/// <summary>An epoll(7) instance. Not thread-safe: it belongs to the thread that waits on it.</summary>
public sealed unsafe class Epoll : IDisposable
{
    private readonly int _descriptor;
    private readonly epoll_event[] _events = GC.AllocateArray<epoll_event>(256, pinned: true);

    /// <summary>Creates the instance.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public Epoll()
    {
        _descriptor = epoll_create1(EPOLL_CLOEXEC);
        if (_descriptor < 0)
        {
            throw new IOException($"epoll_create1: {Errno.Name(errno)}");
        }
    }

    /// <summary>
    /// Registers <paramref name="descriptor"/>. Edge-triggered registrations report each change once: the owner reads
    /// until a short read.
    /// </summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void Add(int descriptor, ulong token, bool edgeTriggered) =>
        Control(EPOLL_CTL_ADD, descriptor, token, EPOLLIN | EPOLLRDHUP | (edgeTriggered ? EPOLLET : 0));

    /// <summary>
    /// Asks for <see cref="Readiness.Writable"/> too, or no more, of an edge-triggered registration. Each change reports anew
    /// what is possible.
    /// </summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void WatchWritable(int descriptor, ulong token, bool writable) =>
        Control(EPOLL_CTL_MOD, descriptor, token, EPOLLIN | EPOLLRDHUP | EPOLLET | (writable ? EPOLLOUT : 0));

    /// <summary>Forgets <paramref name="descriptor"/>; it stays open.</summary>
    public void Remove(int descriptor)
    {
        epoll_event unused = default;
        _ = epoll_ctl(_descriptor, EPOLL_CTL_DEL, descriptor, &unused);
    }

    /// <summary>Waits up to <paramref name="timeoutMilliseconds"/> (-1: for ever) and fills <paramref name="reports"/>.</summary>
    /// <returns>The number of reports.</returns>
    /// <exception cref="IOException">The kernel refused.</exception>
    public int Wait(Span<ReadinessReport> reports, int timeoutMilliseconds)
    {
        int count;
        fixed (epoll_event* events = _events)
        {
            count = epoll_wait(_descriptor, events, Math.Min(reports.Length, _events.Length), timeoutMilliseconds);
        }

        if (count < 0)
        {
            // A signal handler ran on this thread: nothing became ready.
            return errno == EINTR ? 0 : throw new IOException($"epoll_wait: {Errno.Name(errno)}");
        }

        for (int i = 0; i < count; i++)
        {
            int bits = _events[i].events;
            Readiness readiness = Readiness.None;
            if ((bits & EPOLLIN) != 0)
            {
                readiness |= Readiness.Readable;
            }

            if ((bits & EPOLLOUT) != 0)
            {
                readiness |= Readiness.Writable;
            }

            if ((bits & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
            {
                readiness |= Readiness.HungUp | Readiness.Readable;
            }

            reports[i] = new ReadinessReport(_events[i].data.u64, readiness);
        }

        return count;
    }

    /// <inheritdoc/>
    public void Dispose() => _ = close(_descriptor);

    private void Control(int operation, int descriptor, ulong token, int events)
    {
        epoll_event change = default;
        change.events = events;
        change.data.u64 = token;
        if (epoll_ctl(_descriptor, operation, descriptor, &change) < 0)
        {
            throw new IOException($"epoll_ctl: {Errno.Name(errno)}");
        }
    }
}
