using System.Net.Sockets;
using CriShim.Admin;
using CriShim.Protocol.Admin.V1;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Tests.Serving;

/// <summary>The admin socket of the process. No backend runs in any of these.</summary>
public sealed class AdminSocketTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string SocketFile => _directory.File("crishim.sock");

    private string AdminFile => _directory.File("admin.sock");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Serve_Default_AdminSocketIsForItsOwnerAlone()
    {
        await using CrishimProcess crishim = Serve();

        Assert.Equal("READY=1", await crishim.Notified());

        Assert.Equal(Convert.ToInt32("0600", 8), (int)File.GetUnixFileMode(AdminFile));
        using var channel = new UnixChannel(AdminFile);
        StatusResponse status = await new Supervisor.SupervisorClient(channel.Invoker).StatusAsync(new StatusRequest());
        Assert.Equal((SocketFile, "/nowhere/containerd.sock"), (status.ListenPath, status.ContainerdPath));
    }

    [Fact]
    public async Task Serve_AdminSocketCannotBeBound_SaysSoAndServesCallers()
    {
        await File.WriteAllTextAsync(AdminFile, "something of somebody's");
        await using CrishimProcess crishim = Serve();

        Assert.Equal("READY=1", await crishim.Notified());

        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(SocketFile));
        crishim.Signal(System.Runtime.InteropServices.PosixSignal.SIGTERM);
        Assert.Equal(0, await crishim.ExitCode());
        Assert.Contains($"cannot listen on {AdminFile}: what is there is no socket; it is left alone", await crishim.Log(), StringComparison.Ordinal);
        Assert.Equal("something of somebody's", await File.ReadAllTextAsync(AdminFile));
    }

    [Fact]
    public async Task Serve_KilledWhileDraining_TheNextOneStillDrains()
    {
        DrainState before;
        await using (CrishimProcess killed = Serve())
        {
            Assert.Equal("READY=1", await killed.Notified());
            using var channel = new UnixChannel(AdminFile);
            var request = new DrainRequest { Grace = Duration.FromTimeSpan(TimeSpan.FromMinutes(5)), Force = true };
            before = (await new Supervisor.SupervisorClient(channel.Invoker).DrainAsync(request)).Drain;
        }

        await using CrishimProcess crishim = Serve();
        Assert.Equal("READY=1", await crishim.Notified());
        using var next = new UnixChannel(AdminFile);
        DrainState after = (await new Supervisor.SupervisorClient(next.Invoker).GetDrainAsync(new GetDrainRequest())).Drain;

        Assert.Equal((before.BeganAt, before.Deadline), (after.BeganAt, after.Deadline));
        Assert.False(after.IsNodeKnown);
    }

    private CrishimProcess Serve() => CrishimProcess.Start(_directory, start =>
    {
        string[] arguments =
        [
            "serve", "--listen", SocketFile, "--containerd", "/nowhere/containerd.sock", "--admin", AdminFile, "--state-dir", _directory.File("state"), "--metrics", "off",
        ];
        foreach (string argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }
    });
}
