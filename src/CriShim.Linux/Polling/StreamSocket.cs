using System.Text;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux.Polling;

/// <summary>
/// Non-blocking Unix stream sockets by their descriptors. Results below zero are negated errno values: on the forwarding path
/// an exception would cost more than the call.
/// </summary>
public static unsafe class StreamSocket
{
    /// <summary>The longest path a Unix socket address can hold, in bytes without the closing zero.</summary>
    public const int MaxPathBytes = 107;

    /// <summary>No more can be done now.</summary>
    public static int WouldBlock { get; } = -EAGAIN;

    /// <summary>Takes one connection from a listener: its descriptor (non-blocking, close-on-exec), or a negated errno.</summary>
    public static int Accept(int listener)
    {
        int descriptor;
        do
        {
            descriptor = accept4(listener, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
        }
        while (descriptor < 0 && errno == EINTR);
        return descriptor >= 0 ? descriptor : -errno;
    }

    /// <summary>
    /// Connects to a Unix socket. This never waits: the kernel connects at once, or says ENOENT, ECONNREFUSED, or EAGAIN when
    /// the listener's queue is full.
    /// </summary>
    /// <returns>The descriptor (non-blocking, close-on-exec), or a negated errno.</returns>
    public static int Connect(string path)
    {
        sockaddr_un address = default;
        int length = Encoding.UTF8.GetByteCount(path);
        if (length > MaxPathBytes)
        {
            return -ENAMETOOLONG;
        }

        address.sun_family = AF_UNIX;
        Encoding.UTF8.GetBytes(path, new Span<byte>(address.sun_path, length));
        int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (descriptor < 0)
        {
            return -errno;
        }

        socklen_t size = (socklen_t)(uint)(sockaddr_un.sun_path_offset + length + 1);
        while (connect(descriptor, (sockaddr*)&address, size) < 0)
        {
            int error = errno;
            if (error != EINTR)
            {
                _ = close(descriptor);
                return -error;
            }
        }

        return descriptor;
    }

    /// <summary>Reads what is there: the number of bytes, 0 at the end of the stream, or a negated errno.</summary>
    public static int Receive(int descriptor, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                long received = (long)recv(descriptor, start, (size_t)(ulong)buffer.Length, 0);
                if (received >= 0)
                {
                    return (int)received;
                }

                int error = errno;
                if (error != EINTR)
                {
                    return -error;
                }
            }
        }
    }

    /// <summary>Writes what fits: the number of bytes, or a negated errno. A broken socket raises no SIGPIPE.</summary>
    public static int Send(int descriptor, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            while (true)
            {
                long sent = (long)send(descriptor, start, (size_t)(ulong)bytes.Length, MSG_NOSIGNAL);
                if (sent >= 0)
                {
                    return (int)sent;
                }

                int error = errno;
                if (error != EINTR)
                {
                    return -error;
                }
            }
        }
    }

    /// <summary>Closes a descriptor.</summary>
    public static void Close(int descriptor) => _ = close(descriptor);
}
