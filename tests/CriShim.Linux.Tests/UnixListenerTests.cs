using System.Net.Sockets;
using Tmds.Linux;

namespace CriShim.Linux.Tests;

public sealed class UnixListenerTests : IDisposable
{
    private const UnixFileMode Mode0600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Mode0660 = Mode0600 | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    private readonly TempDirectory _directory = new();

    private string SocketFile => _directory.File("s.sock");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Bind_FreePath_Listens()
    {
        using UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);

        Connect(SocketFile);
        Assert.Equal(SocketFile, listener.Path);
        Assert.False(listener.IsInherited);
    }

    [Fact]
    public void Bind_FreePath_DescriptorIsNonBlockingAndCloseOnExec()
    {
        using UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);

        Assert.NotEqual(0, LibC.fcntl(listener.Descriptor, LibC.F_GETFL) & LibC.O_NONBLOCK);
        Assert.NotEqual(0, LibC.fcntl(listener.Descriptor, LibC.F_GETFD) & LibC.FD_CLOEXEC);
    }

    [Theory]
    [InlineData(Mode0600)]
    [InlineData(Mode0660)]
    [InlineData(Mode0660 | UnixFileMode.OtherWrite)] // Beyond the usual umask of 022.
    public void Bind_WithMode_FileHasExactlyThatMode(UnixFileMode mode)
    {
        using UnixListener listener = UnixListener.Bind(SocketFile, mode);

        Assert.Equal(mode, File.GetUnixFileMode(SocketFile));
    }

    [Fact]
    public void Bind_WithOwnerAndGroup_FileBelongsToThem()
    {
        using UnixListener listener = UnixListener.Bind(SocketFile, Mode0660, owner: 1234, group: 4321);

        Assert.Equal((1234u, 4321u), OwnersOf(SocketFile));
    }

    [Fact]
    public void Bind_WithGroupAlone_OwnerIsThisProcess()
    {
        using UnixListener listener = UnixListener.Bind(SocketFile, Mode0660, group: 4321);

        Assert.Equal(((uint)LibC.geteuid(), 4321u), OwnersOf(SocketFile));
    }

    [Fact]
    public void Bind_MissingDirectories_MakesThem()
    {
        string path = _directory.File("a/b/s.sock");

        using UnixListener listener = UnixListener.Bind(path, Mode0660);

        Connect(path);
    }

    [Fact]
    public void Bind_StaleFile_ReplacesIt()
    {
        LeaveStaleFile();

        using UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);

        Connect(SocketFile);
    }

    [Fact]
    public void Bind_LiveListenerOfAnotherKind_IsRefusedAndLeftAlone()
    {
        using var other = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        other.Bind(new UnixDomainSocketEndPoint(SocketFile));
        other.Listen();

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Equal($"cannot listen on {SocketFile}: another process listens on it", error.Message);
        Connect(SocketFile);
        Assert.Equal(["s.sock"], FileNames()); // No lock stays behind either.
    }

    [Fact]
    public void Bind_LiveListenerWithFullBacklog_IsRefused()
    {
        using var other = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        other.Bind(new UnixDomainSocketEndPoint(SocketFile));
        other.Listen(1);
        using var queued = new FullBacklog(SocketFile);

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Contains("another process listens on it", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_WhileOurOwnListens_IsRefused()
    {
        using UnixListener first = UnixListener.Bind(SocketFile, Mode0660);

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Contains("another process listens on it", error.Message, StringComparison.Ordinal);
        Connect(SocketFile);
    }

    [Fact]
    public async Task Bind_ManyAtOnceOverAStaleFile_ExactlyOneWins()
    {
        for (int round = 0; round < 20; round++)
        {
            LeaveStaleFile();
            using var start = new Barrier(8);
            Task<UnixListener?>[] starters = [.. Enumerable.Range(0, 8).Select(_ => Task.Factory.StartNew(
                () =>
                {
                    start.SignalAndWait();
                    try
                    {
                        return UnixListener.Bind(SocketFile, Mode0660);
                    }
                    catch (UnixListenerException)
                    {
                        return null;
                    }
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default))];

            UnixListener winner = Assert.Single((await Task.WhenAll(starters)).OfType<UnixListener>());

            Connect(SocketFile);
            winner.Dispose();
            Assert.Empty(FileNames());
        }
    }

    [Fact]
    public void Bind_RegularFileThere_IsRefusedAndLeftAlone()
    {
        File.WriteAllText(SocketFile, "precious");

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Contains("is no socket", error.Message, StringComparison.Ordinal);
        Assert.Equal("precious", File.ReadAllText(SocketFile));
    }

    [Fact]
    public void Bind_SymbolicLinkThere_IsRefusedAndLeftAlone()
    {
        File.CreateSymbolicLink(SocketFile, _directory.File("elsewhere"));

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Contains("is no socket", error.Message, StringComparison.Ordinal);
        Assert.NotNull(new FileInfo(SocketFile).LinkTarget);
    }

    [Fact]
    public void Bind_DatagramSocketThere_IsRefusedAndLeftAlone()
    {
        using var other = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        other.Bind(new UnixDomainSocketEndPoint(SocketFile));

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(SocketFile, Mode0660));

        Assert.Contains("a socket of another type", error.Message, StringComparison.Ordinal);
        Assert.True(File.Exists(SocketFile));
    }

    [Theory]
    [InlineData("relative.sock", "absolute")]
    [InlineData("", "absolute")]
    [InlineData("/tmp/", "directory")]
    [InlineData("/tmp/a\0b", "NUL")]
    public void Bind_PathThatCannotBeOne_SaysWhy(string path, string reason)
    {
        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(path, Mode0660));

        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bind_LongestPath_Listens()
    {
        string path = _directory.File(new string('x', UnixSocketPath.MaxBytes - _directory.Path.Length - 1));

        using UnixListener listener = UnixListener.Bind(path, Mode0660);

        Connect(path);
    }

    [Fact]
    public void Bind_PathOneByteTooLong_SaysHowLongItMayBe()
    {
        // Two bytes each in UTF-8: the kernel counts bytes.
        string path = _directory.File(new string('ä', (UnixSocketPath.MaxBytes - _directory.Path.Length) / 2 + 1));

        var error = Assert.Throws<UnixListenerException>(() => UnixListener.Bind(path, Mode0660));

        Assert.Contains("at most 107 bytes", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Dispose_OwnSocket_RemovesFileAndLock()
    {
        UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);

        listener.Dispose();

        Assert.Empty(FileNames());
    }

    [Fact]
    public void Dispose_Twice_DoesNotCloseWhatHasTheNumberNow()
    {
        UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);
        listener.Dispose();
        using UnixListener second = UnixListener.Bind(SocketFile, Mode0660);

        listener.Dispose();

        Connect(SocketFile);
    }

    [Fact]
    public void Dispose_AnotherFileInItsPlace_LeavesThat()
    {
        UnixListener listener = UnixListener.Bind(SocketFile, Mode0660);
        File.Delete(SocketFile);
        File.WriteAllText(SocketFile, "precious");

        listener.Dispose();

        Assert.Equal("precious", File.ReadAllText(SocketFile));
    }

    private static void Connect(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(path)); // Throws unless somebody listens.
    }

    private static unsafe (uint Owner, uint Group) OwnersOf(string path)
    {
        stat status;
        fixed (byte* p = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
        {
            Assert.Equal(0, LibC.lstat(p, &status));
        }

        return (status.st_uid, status.st_gid);
    }

    private string[] FileNames() => [.. Directory.GetFileSystemEntries(_directory.Path).Select(f => Path.GetFileName(f))];

    /// <summary>As a process leaves it that was killed: .NET would remove the file with the socket, so that it is renamed before.</summary>
    private void LeaveStaleFile()
    {
        string bound = _directory.File("bound");
        using (var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            socket.Bind(new UnixDomainSocketEndPoint(bound));
            socket.Listen();
            File.Move(bound, SocketFile);
        }

        Assert.Equal(UnixSocketState.Stale, UnixSocketPath.Probe(SocketFile));
    }

    private sealed class FullBacklog : IDisposable
    {
        private readonly List<Socket> _queued = [];

        public FullBacklog(string path)
        {
            for (int i = 0; i < 100; i++)
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
                _queued.Add(socket);
                try
                {
                    socket.Connect(new UnixDomainSocketEndPoint(path));
                }
                catch (SocketException)
                {
                    return;
                }
            }

            Assert.Fail("the backlog never got full");
        }

        public void Dispose() => _queued.ForEach(s => s.Dispose());
    }
}
