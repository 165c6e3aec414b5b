using CriShim.Admin;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Commands.Doctor;

/// <summary>The crishim that serves, by its admin socket.</summary>
internal sealed class ServingCheck(TimeProvider time) : ICheck
{
    public string Area => "crishim";

    public async Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        if (diagnosis.Configuration.Admin.SocketPath is not { } path)
        {
            diagnosis.Note(Area, "the admin socket is off (admin.address): crishim's commands can ask nothing");
            return;
        }

        using var channel = new UnixChannel(path);
        try
        {
            Protocol.Admin.V1.StatusResponse status = await new Supervisor.SupervisorClient(channel.Invoker).StatusAsync(
                new Protocol.Admin.V1.StatusRequest(), deadline: Diagnosis.Deadline(time), cancellationToken: cancellationToken);
            diagnosis.ServedMode = status.SupervisionMode;
            diagnosis.Good(Area, $"version {status.Version} serves; supervision is {status.SupervisionMode}");
            if (status.Version != VersionCommand.Version)
            {
                diagnosis.Warn(
                    Area, $"version {status.Version} serves, and this executable is {VersionCommand.Version}", "systemctl restart crishim");
            }

            if (status.ListenPath != diagnosis.Configuration.Listen.SocketPath
                || status.ContainerdPath != diagnosis.Configuration.Containerd.SocketPath)
            {
                diagnosis.Warn(
                    Area, $"it serves {status.ListenPath} → {status.ContainerdPath}, and the configuration says something else",
                    "systemctl restart crishim");
            }

            if (status.IsDraining)
            {
                diagnosis.Warn(Area, "the node is being drained: no pod starts", "crishim drain --cancel, when that is over");
            }
        }
        catch (RpcException failure)
        {
            bool isStale = File.Exists(path) && failure.StatusCode == StatusCode.Unavailable;
            diagnosis.Blame(
                Area, $"no crishim serves at {path}{(isStale ? ", a socket that was left over" : "")}: {failure.StatusCode}",
                "systemctl restart crishim; journalctl -u crishim");
        }
    }
}
