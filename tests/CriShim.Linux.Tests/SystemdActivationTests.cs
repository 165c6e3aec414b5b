using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Tmds.Linux;

namespace CriShim.Linux.Tests;

public sealed class SystemdActivationTests : IDisposable
{
    private static int _nextDescriptor = 700; // Numbers that nothing else in the test process has.

    private readonly TempDirectory _directory = new();
    private readonly string _ownPid = Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
    private readonly List<int> _passed = [];

    public void Dispose()
    {
        _passed.ForEach(d => _ = LibC.close(d));
        _directory.Dispose();
    }

    [Fact]
    public void TakeListener_OneListeningSocket_TakesItWhateverItsName()
    {
        int first = Pass(Listening("a.sock"));

        using UnixListener? listener = SystemdActivation.TakeListener(_ownPid, "1", "unknown", first);

        Assert.NotNull(listener);
        Assert.Equal(first, listener.Descriptor);
        Assert.Equal(_directory.File("a.sock"), listener.Path);
        Assert.True(listener.IsInherited);
        Assert.NotEqual(0, LibC.fcntl(first, LibC.F_GETFL) & LibC.O_NONBLOCK);
        Assert.NotEqual(0, LibC.fcntl(first, LibC.F_GETFD) & LibC.FD_CLOEXEC);
    }

    [Fact]
    public void Dispose_InheritedSocket_LeavesItsFile()
    {
        using Socket systemds = Listening("a.sock");
        int first = Pass(systemds);

        SystemdActivation.TakeListener(_ownPid, "1", null, first)!.Dispose();

        using var caller = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        caller.Connect(new UnixDomainSocketEndPoint(_directory.File("a.sock")));
    }

    [Theory]
    [InlineData("crishim")]
    [InlineData("crishim.socket")]
    public void TakeListener_SeveralSockets_TakesTheOneWithOurName(string name)
    {
        int first = Pass(Listening("a.sock"), Listening("b.sock"));

        using UnixListener? listener = SystemdActivation.TakeListener(_ownPid, "2", "admin:" + name, first);

        Assert.Equal(_directory.File("b.sock"), listener?.Path);
    }

    [Theory]
    [InlineData("one:two", "one, two")]
    [InlineData("crishim:crishim.socket", "crishim, crishim.socket")]
    [InlineData(null, "nothing")]
    public void TakeListener_SeveralSocketsAndNotOneIsOurs_ListsTheirNames(string? names, string listed)
    {
        int first = Pass(Listening("a.sock"), Listening("b.sock"));

        var error = Assert.Throws<UnixListenerException>(() => SystemdActivation.TakeListener(_ownPid, "2", names, first));

        Assert.Contains($"named {listed};", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, "1")]
    [InlineData("1", "1")]
    [InlineData("self", null)]
    [InlineData("self", "0")]
    public void TakeListener_NothingForThisProcess_GivesNull(string? pid, string? count) =>
        Assert.Null(SystemdActivation.TakeListener(pid == "self" ? _ownPid : pid, count, null, 3));

    [Theory]
    [InlineData("many")]
    [InlineData("-1")]
    [InlineData("1000000")]
    public void TakeListener_SenselessCount_IsRefused(string count)
    {
        var error = Assert.Throws<UnixListenerException>(() => SystemdActivation.TakeListener(_ownPid, count, null, 3));

        Assert.Contains($"\"{count}\"", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TakeListener_TcpSocket_IsRefused()
    {
        using var tcp = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        tcp.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        tcp.Listen();

        Refused(Pass(tcp), "no Unix stream socket");
    }

    [Fact]
    public void TakeListener_DatagramSocket_IsRefused()
    {
        using var datagram = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        datagram.Bind(new UnixDomainSocketEndPoint(_directory.File("d.sock")));

        Refused(Pass(datagram), "no Unix stream socket");
    }

    [Fact]
    public void TakeListener_ConnectionInsteadOfListener_IsRefused()
    {
        using Socket listening = Listening("a.sock");
        using var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        connection.Connect(new UnixDomainSocketEndPoint(_directory.File("a.sock")));

        Refused(Pass(connection), "Accept=no");
    }

    [Fact]
    public void TakeListener_AbstractSocket_IsRefusedSinceItHasNoPermissions()
    {
        string name = "crishim-test-" + Guid.NewGuid();
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint("\0" + name));
        socket.Listen();

        Refused(Pass(socket), $"\"@{name}\"");
    }

    [Fact]
    public void TakeListener_DescriptorNotOpen_IsRefused() => Refused(1_000_000, "descriptor 1000000 is not open");

    [Fact]
    public void TakeListener_DescriptorOfAFile_IsRefused()
    {
        using FileStream file = File.Create(_directory.File("f"));

        Refused((int)file.SafeFileHandle.DangerousGetHandle(), "is no socket");
    }

    private void Refused(int descriptor, string reason)
    {
        var error = Assert.Throws<UnixListenerException>(() => SystemdActivation.TakeListener(_ownPid, "1", "crishim", descriptor));
        Assert.StartsWith("systemd socket activation: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    private Socket Listening(string name)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_directory.File(name)));
        socket.Listen();
        return socket;
    }

    /// <summary>Gives the sockets numbers that follow one another, without close-on-exec, as systemd does.</summary>
    private int Pass(params Socket[] sockets)
    {
        int first = Interlocked.Add(ref _nextDescriptor, sockets.Length) - sockets.Length;
        for (int i = 0; i < sockets.Length; i++)
        {
            Assert.Equal(first + i, LibC.dup2((int)sockets[i].Handle, first + i));
            _passed.Add(first + i);
        }

        return first;
    }
}
