using System.CommandLine;
using CriShim.Admin;
using CriShim.Commands;
using CriShim.Commands.Drain;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Tests.Serving;

/// <summary>The drain of a node that shuts down, where systemd starts nothing again. No backend runs, so that no drain ends by itself.</summary>
public sealed class DrainAtShutdownTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string ConfigFile => _directory.File("c.yaml");

    private string AdminFile => _directory.File("admin.sock");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task OnlyAtShutdown_CrishimIsKilled_AnotherOneGoesOnUntilTheCommandEnds()
    {
        await File.WriteAllTextAsync(
            ConfigFile,
            $"containerd: {{address: /nowhere/containerd.sock}}\nsupervision: {{stateDirectory: {_directory.File("state")}}}\n"
            + $"admin: {{address: {AdminFile}}}\nmetrics: {{address: \"off\"}}\nlisten: {{address: {_directory.File("crishim.sock")}}}");
        await using CrishimProcess crishim = CrishimProcess.Start(_directory, start =>
        {
            start.ArgumentList.Add("serve");
            start.ArgumentList.Add("--config");
            start.ArgumentList.Add(ConfigFile);
        });
        Assert.Equal("READY=1", await crishim.Notified());

        await using var output = new StringWriter();
        Task<int> drain = DrainAsync(output);
        DrainState begun = await DrainOfAsync(drain);
        using (var process = System.Diagnostics.Process.GetProcessById(crishim.Id))
        {
            process.Kill();
        }

        // Its socket refuses from here on; whoever answers next is another one.
        _ = await crishim.ExitCode();
        DrainState taken = await DrainOfAsync(drain);
        using (var channel = new UnixChannel(AdminFile))
        {
            await new Supervisor.SupervisorClient(channel.Invoker).CancelDrainAsync(new CancelDrainRequest());
        }

        Assert.Equal(ExitCode.Failure, await drain);
        Assert.Equal((begun.BeganAt, begun.Deadline), (taken.BeganAt, taken.Deadline));
        Assert.False(File.Exists(AdminFile), "the substitute has ended, and its socket with it");
    }

    private async Task<int> DrainAsync(TextWriter output)
    {
        string systemctl = _directory.File("systemctl");
        await File.WriteAllTextAsync(systemctl, "#!/bin/sh\necho 1 shutdown.target start waiting\n");
        File.SetUnixFileMode(systemctl, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        string host = Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : "dotnet";
        var command = new DrainCommand(
            new KubeletEvidence(), new QueuedShutdown(systemctl), [host, CrishimProcess.Assembly], TimeProvider.System);
        return await new RootCommand { command.Command }.Parse(["drain", "--only-at-shutdown", "--grace", "5m", "--config", ConfigFile])
            .InvokeAsync(new InvocationConfiguration { Output = output, Error = output, ProcessTerminationTimeout = null });
    }

    /// <summary>The drain, once somebody serves it; fails if the command ends before.</summary>
    private async Task<DrainState> DrainOfAsync(Task<int> command)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            Assert.False(command.IsCompleted, "the command has ended");
            try
            {
                using var channel = new UnixChannel(AdminFile);
                if ((await new Supervisor.SupervisorClient(channel.Invoker).GetDrainAsync(new GetDrainRequest())).Drain is { } state)
                {
                    return state;
                }
            }
            catch (RpcException away) when (away.StatusCode is StatusCode.Unavailable or StatusCode.Internal)
            {
                // Not yet.
            }

            await Task.Delay(20, limit.Token);
        }
    }
}
