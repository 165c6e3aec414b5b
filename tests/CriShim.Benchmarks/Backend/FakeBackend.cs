using System.Net.Sockets;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// A backend that costs next to nothing, so that what a proxy adds is not hidden behind it: one thread, one epoll set, HTTP/2
/// frames read and written by hand, answers built before the first call. It shares no code with the proxy.
/// One thread for all connections, because nginx opens a connection per concurrent call: a thread for each would
/// charge nginx for context switches that are the backend's.
/// </summary>
internal static class FakeBackend
{
    private const int EventsPerTurn = 64;
    private const int OrphanCheckMilliseconds = 2_000;

    public static unsafe int Run(string socketPath)
    {
        CannedCall[] calls =
        [
            CannedCall.Version, CannedCall.List500, CannedCall.List5000, CannedCall.List5000Marshalled, CannedCall.NothingAsked,
        ];
        foreach (var call in calls)
        {
            call.Prepare();
        }

        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(socketPath));
        listener.Listen(1024);
        listener.Blocking = false;

        var parent = getppid();
        var epoll = new EpollSet();
        var listenerDescriptor = (int)listener.Handle;
        epoll.Add(listenerDescriptor);
        var connections = new Dictionary<int, BackendConnection>();
        var events = stackalloc epoll_event[EventsPerTurn];
        while (true)
        {
            var ready = epoll.Wait(events, EventsPerTurn, OrphanCheckMilliseconds);

            // A benchmark that was killed can't clean up. PR_SET_PDEATHSIG would not do: it follows the parent's thread.
            if (ready == 0 && getppid() != parent)
            {
                return 0;
            }

            for (var index = 0; index < ready; index++)
            {
                var descriptor = events[index].data.fd;
                if (descriptor == listenerDescriptor)
                {
                    var connection = new BackendConnection(listener.Accept(), epoll, calls);
                    connections.Add(connection.Descriptor, connection);
                    epoll.Add(connection.Descriptor);
                }
                else if (connections.TryGetValue(descriptor, out var connection) && !connection.OnReady())
                {
                    // Closing takes the descriptor out of the epoll set.
                    connections.Remove(descriptor);
                    connection.Dispose();
                }
            }
        }
    }
}
