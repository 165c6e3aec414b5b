using System.Net;
using System.Net.Sockets;

namespace CriShim.TestSupport;

/// <summary>
/// A TCP port on loopback for a server that is told its port. It lies below those that the kernel gives to connections, or to whoever
/// asks for any: between this and the server's start nobody else is likely to take it.
/// </summary>
public static class FreePort
{
    private const int First = 20_000;
    private const int Last = 32_000;

    public static int Take()
    {
        while (true)
        {
            int port = Random.Shared.Next(First, Last);
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
                return port;
            }
            catch (SocketException)
            {
                // Somebody's.
            }
        }
    }
}
