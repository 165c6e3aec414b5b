using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace CriShim.Tests.Serving;

/// <summary>The process as systemd and an operator see it. No backend runs in any of these.</summary>
public sealed class ServeProcessTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string SocketFile => _directory.File("crishim.sock");

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(PosixSignal.SIGTERM)]
    [InlineData(PosixSignal.SIGINT)]
    public async Task Serve_UntilSignal_NotifiesInOrderAndExitsWithZero(PosixSignal signal)
    {
        await using CrishimProcess crishim = Serve();

        Assert.Equal("READY=1", await crishim.Notified());
        Connect();
        crishim.Signal(signal);

        Assert.Equal("STOPPING=1", await crishim.Notified());
        Assert.Equal(0, await crishim.ExitCode());
        Assert.False(File.Exists(SocketFile));
        Assert.False(File.Exists(SocketFile + ".lock"));
    }

    [Fact]
    public async Task Serve_Default_SocketHasMode0660()
    {
        await using CrishimProcess crishim = Serve();

        Assert.Equal("READY=1", await crishim.Notified());

        Assert.Equal(Convert.ToInt32("0660", 8), (int)File.GetUnixFileMode(SocketFile));
    }

    [Fact]
    public async Task Serve_ModeAndGroupFromFile_SocketHasThem()
    {
        string file = _directory.File("c.yaml");
        await File.WriteAllTextAsync(file, "listen: {mode: '0600', group: tty}");
        await using CrishimProcess crishim = Serve("--config", file);

        Assert.Equal("READY=1", await crishim.Notified());

        Assert.Equal(Convert.ToInt32("0600", 8), (int)File.GetUnixFileMode(SocketFile));
        Assert.Equal(5u, GroupOf(SocketFile));
    }

    [Fact]
    public async Task Serve_AfterOneWasKilled_ReplacesTheStaleSocket()
    {
        await using (CrishimProcess killed = Serve())
        {
            Assert.Equal("READY=1", await killed.Notified());
        }

        Assert.True(File.Exists(SocketFile));
        await using CrishimProcess crishim = Serve();

        Assert.Equal("READY=1", await crishim.Notified());
        Connect();
    }

    [Fact]
    public async Task Serve_WhileAnotherServes_IsRefusedAndTheOtherGoesOn()
    {
        await using CrishimProcess first = Serve();
        Assert.Equal("READY=1", await first.Notified());

        await using CrishimProcess second = Serve();

        Assert.Equal(1, await second.ExitCode());
        Assert.Contains($"cannot listen on {SocketFile}: another process listens on it", await second.Log(), StringComparison.Ordinal);
        Connect();
    }

    [Fact]
    public async Task Serve_FaultyFlag_ExitsWithTwo()
    {
        await using CrishimProcess crishim = Serve("--log-level", "loud");

        Assert.Equal(2, await crishim.ExitCode());
        Assert.StartsWith("crishim: --log-level: \"loud\": ", await crishim.Log(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_JsonLog_EveryLineIsAnObject()
    {
        await using CrishimProcess crishim = Serve("--log-format", "json", "--log-level", "debug");
        Assert.Equal("READY=1", await crishim.Notified());
        crishim.Signal(PosixSignal.SIGTERM);
        Assert.Equal(0, await crishim.ExitCode());

        string[] lines = (await crishim.Log()).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        Assert.NotEmpty(lines);
        Assert.All(lines, line =>
        {
            using JsonDocument json = JsonDocument.Parse(line);
            Assert.EndsWith("Z", json.RootElement.GetProperty("Timestamp").GetString(), StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task Serve_ConsoleLog_SaysStartAndStopOnOneLineEach()
    {
        await using CrishimProcess crishim = Serve();
        Assert.Equal("READY=1", await crishim.Notified());
        crishim.Signal(PosixSignal.SIGTERM);
        Assert.Equal(0, await crishim.ExitCode());

        string log = await crishim.Log();

        Assert.Matches(@"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info: CriShim\.Serve\[1\] crishim \S+ serves \S+/crishim\.sock for /nowhere", log);
        Assert.Matches(@"(?m)^\S+Z info: CriShim\.Serve\[2\] SIGTERM: stopping; running calls get 10s$", log);
    }

    [Fact]
    public async Task Serve_UnderSystemdsSocket_TakesItAndLeavesItsFile()
    {
        // systemd-socket-activate stands for the .socket unit; it starts the service with the first caller.
        string notify = "";
        await using CrishimProcess crishim = CrishimProcess.Start(
            _directory,
            start =>
            {
                notify = start.Environment["NOTIFY_SOCKET"]!;
                start.ArgumentList.Insert(0, "-l");
                start.ArgumentList.Insert(1, SocketFile);
                start.ArgumentList.Insert(2, $"--setenv=NOTIFY_SOCKET={notify}");
                AddServeArguments(start.ArgumentList, _directory.File("unused.sock"));
            },
            "systemd-socket-activate");
        using Socket caller = await ConnectOnceListening();

        Assert.Equal("READY=1", await crishim.Notified());
        crishim.Signal(PosixSignal.SIGTERM);

        Assert.Equal("STOPPING=1", await crishim.Notified());
        Assert.Equal(0, await crishim.ExitCode());
        Assert.True(File.Exists(SocketFile));
        Assert.False(File.Exists(_directory.File("unused.sock")));
        Assert.Contains($"systemd's socket {SocketFile} is served; listen.address", await crishim.Log(), StringComparison.Ordinal);
    }

    private CrishimProcess Serve(params string[] more) => CrishimProcess.Start(_directory, start =>
    {
        AddServeArguments(start.ArgumentList, SocketFile);
        foreach (string argument in more)
        {
            start.ArgumentList.Add(argument);
        }
    });

    private static void AddServeArguments(System.Collections.ObjectModel.Collection<string> arguments, string listen)
    {
        string[] whole = ["serve", "--listen", "unix://" + listen, "--containerd", "/nowhere/containerd.sock", "--admin", listen + ".admin", "--metrics", "off"];
        foreach (string argument in whole)
        {
            arguments.Add(argument);
        }
    }

    private void Connect()
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(SocketFile));
    }

    private async Task<Socket> ConnectOnceListening()
    {
        using var appeared = new SemaphoreSlim(0);
        using var watcher = new FileSystemWatcher(_directory.Path, Path.GetFileName(SocketFile));
        watcher.Created += (_, _) => appeared.Release();
        watcher.EnableRaisingEvents = true;
        while (true)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(SocketFile));
                return socket;
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressNotAvailable or SocketError.ConnectionRefused)
            {
                socket.Dispose();
            }

            // Between its creation and listen() the file refuses: look again soon after.
            _ = await appeared.WaitAsync(TimeSpan.FromMilliseconds(20));
        }
    }

    private static unsafe uint GroupOf(string path)
    {
        Tmds.Linux.stat status;
        fixed (byte* p = System.Text.Encoding.UTF8.GetBytes(path + '\0'))
        {
            Assert.Equal(0, Tmds.Linux.LibC.lstat(p, &status));
        }

        return status.st_gid;
    }
}
