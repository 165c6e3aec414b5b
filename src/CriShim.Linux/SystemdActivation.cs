using System.Globalization;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace CriShim.Linux;

/// <summary>Takes over the listening socket that systemd made for a .socket unit (sd_listen_fds(3)).</summary>
public static class SystemdActivation
{
    private const int FirstDescriptor = 3; // SD_LISTEN_FDS_START

    private static readonly string[] OurNames = ["crishim", "crishim.socket"];

    /// <summary>The socket that systemd passed to this process; null when it passed none.</summary>
    /// <remarks>The environment variables are removed, so that no child process believes that they are for it.</remarks>
    /// <exception cref="UnixListenerException">Something was passed that cannot be served.</exception>
    public static UnixListener? TakeListener()
    {
        string? pid = Environment.GetEnvironmentVariable("LISTEN_PID");
        string? count = Environment.GetEnvironmentVariable("LISTEN_FDS");
        string? names = Environment.GetEnvironmentVariable("LISTEN_FDNAMES");
        foreach (string variable in (ReadOnlySpan<string>)["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"])
        {
            Environment.SetEnvironmentVariable(variable, null);
        }

        return TakeListener(pid, count, names, FirstDescriptor);
    }

    internal static UnixListener? TakeListener(string? pid, string? count, string? names, int firstDescriptor)
    {
        // Variables meant for a parent of ours: not an error, sd_listen_fds(3) has them ignored.
        if (pid is null || count is null || pid != Environment.ProcessId.ToString(CultureInfo.InvariantCulture))
        {
            return null;
        }

        if (!int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int passed) || passed > 1024)
        {
            throw new UnixListenerException($"systemd socket activation: LISTEN_FDS is \"{count}\", which is no number of sockets");
        }

        if (passed == 0)
        {
            return null;
        }

        for (int descriptor = firstDescriptor; descriptor < firstDescriptor + passed; descriptor++)
        {
            SetCloseOnExec(descriptor);
        }

        int chosen = firstDescriptor + Choose(passed, names);
        return UnixListener.Inherit(chosen, Verify(chosen));
    }

    private static int Choose(int passed, string? names)
    {
        if (passed == 1)
        {
            return 0;
        }

        string[] given = names?.Split(':') ?? [];
        int[] ours = [.. Enumerable.Range(0, Math.Min(passed, given.Length)).Where(i => OurNames.Contains(given[i]))];
        return ours.Length == 1
            ? ours[0]
            : throw new UnixListenerException(
                $"systemd socket activation: {passed} sockets were passed, named {(given.Length == 0 ? "nothing" : string.Join(", ", given))}; "
                + $"exactly one of them must be named {string.Join(" or ", OurNames)} (FileDescriptorName= of the .socket unit)");
    }

    private static unsafe string Verify(int descriptor)
    {
        if (ReadOption(descriptor, SO_DOMAIN) != AF_UNIX || ReadOption(descriptor, SO_TYPE) != SOCK_STREAM)
        {
            throw new UnixListenerException(
                "systemd socket activation: the passed socket is no Unix stream socket; the .socket unit needs ListenStream= with a path");
        }

        if (ReadOption(descriptor, SO_ACCEPTCONN) != 1)
        {
            throw new UnixListenerException("systemd socket activation: the passed socket does not listen; the .socket unit needs Accept=no");
        }

        sockaddr_un address;
        socklen_t length = sizeof(sockaddr_un);
        Check(getsockname(descriptor, (sockaddr*)&address, &length), "getsockname");
        string path = UnixSocketPath.FromAddress(address, (int)length);
        if (!path.StartsWith('/'))
        {
            // Every local process may connect to an abstract socket, and who may speak CRI is root.
            throw new UnixListenerException(
                $"systemd socket activation: the passed socket's address is \"{path}\"; it must be an absolute path, since only files have permissions");
        }

        int flags = fcntl(descriptor, F_GETFL);
        Check(flags, "fcntl");
        Check(fcntl(descriptor, F_SETFL, flags | O_NONBLOCK), "fcntl");
        return path;
    }

    private static unsafe int ReadOption(int descriptor, int option)
    {
        int value;
        socklen_t length = sizeof(int);
        Check(getsockopt(descriptor, SOL_SOCKET, option, &value, &length), $"descriptor {descriptor} is no socket: getsockopt");
        return value;
    }

    private static void SetCloseOnExec(int descriptor)
    {
        int flags = fcntl(descriptor, F_GETFD);
        Check(flags, $"descriptor {descriptor} is not open: fcntl");
        Check(fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC), "fcntl");
    }

    private static void Check(int result, string call)
    {
        try
        {
            SystemCallException.ThrowIfFailed(result, call);
        }
        catch (SystemCallException e)
        {
            throw new UnixListenerException($"systemd socket activation: {e.Message}", e);
        }
    }
}
