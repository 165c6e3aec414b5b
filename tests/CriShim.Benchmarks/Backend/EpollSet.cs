using System.Runtime.InteropServices;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// Level-triggered, and asks for writability only while a socket is full: on a Unix socket every read of the peer would
/// otherwise wake the loop. A full socket is not read from.
/// </summary>
internal sealed unsafe class EpollSet
{
    private readonly int _descriptor = epoll_create1(EPOLL_CLOEXEC);

    public void Add(int descriptor) => Control(EPOLL_CTL_ADD, descriptor, EPOLLIN);

    public void AwaitRoom(int descriptor, bool full) =>
        Control(EPOLL_CTL_MOD, descriptor, full ? EPOLLOUT : EPOLLIN);

    public int Wait(epoll_event* events, int capacity, int timeoutMilliseconds) =>
        epoll_wait(_descriptor, events, capacity, timeoutMilliseconds);

    private void Control(int operation, int descriptor, int wanted)
    {
        var registration = new epoll_event { events = wanted };
        registration.data.fd = descriptor;
        if (epoll_ctl(_descriptor, operation, descriptor, &registration) != 0)
        {
            throw new InvalidOperationException($"epoll_ctl failed, errno {Marshal.GetLastPInvokeError()}");
        }
    }
}
