using System.Net.Sockets;
using CriShim.Admin;
using CriShim.Linux.Polling;
using CriShim.Protocol.Runtime.V1;
using Grpc.Core;

namespace CriShim.Commands.Doctor;

/// <summary>The socket that the kubelet and crictl connect to: who listens, who may come, and whether calls are answered.</summary>
internal sealed class CallersSocketCheck(TimeProvider time) : ICheck
{
    public string Area => "socket";

    public async Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        string path = diagnosis.Configuration.Listen.SocketPath;
        if (!File.Exists(path))
        {
            diagnosis.Blame(Area, $"{path} does not exist: crishim does not serve", "systemctl enable --now crishim.socket crishim.service");
            return;
        }

        UnixFileMode mode = File.GetUnixFileMode(path);
        if ((mode & UnixFileMode.OtherWrite) != 0)
        {
            diagnosis.Blame(
                Area, $"anybody on this node may connect to {path}, and run privileged containers (mode {Octal(mode)})",
                "SocketMode=0660 in crishim.socket, or listen.mode in the configuration; then restart what was changed");
        }

        string? listener = await FindListenerAsync(path, diagnosis, cancellationToken);
        if (listener is null)
        {
            return;
        }

        using var channel = new UnixChannel(path);
        try
        {
            VersionResponse version = await new RuntimeService.RuntimeServiceClient(channel.Invoker).VersionAsync(
                new VersionRequest(), deadline: Diagnosis.Deadline(time), cancellationToken: cancellationToken);
            diagnosis.Good(
                Area, $"{path} (mode {Octal(mode)}, held by {listener}) answers: {version.RuntimeName} {version.RuntimeVersion}, CRI {version.RuntimeApiVersion}");
            if (version.RuntimeApiVersion != "v1")
            {
                diagnosis.Warn(Area, $"the runtime speaks CRI {version.RuntimeApiVersion}, and crishim knows v1", "upgrade containerd to 1.6 or later");
            }
        }
        catch (RpcException failure)
        {
            diagnosis.Blame(
                Area, $"a call through {path} failed: {failure.StatusCode}: {failure.Status.Detail}",
                failure.StatusCode == StatusCode.DeadlineExceeded
                    ? "systemctl status crishim containerd; journalctl -u crishim"
                    : "see what is said of containerd below; journalctl -u crishim");
        }
    }

    private async Task<string?> FindListenerAsync(string path, Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Diagnosis.Patience);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), limit.Token);
        }
        catch (SocketException refused)
        {
            diagnosis.Blame(
                Area, $"nobody listens on {path}: {refused.Message}", "systemctl restart crishim.socket crishim.service; journalctl -u crishim");
            return null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            diagnosis.Blame(Area, $"{path} accepts no connection: callers queue in it", "systemctl restart crishim; journalctl -u crishim");
            return null;
        }

        // The kernel gives the process that called listen().
        int pid = PeerCredentials.Of((int)socket.Handle)?.ProcessId ?? 0;
        if (pid == 1)
        {
            return "systemd";
        }

        string name = new KubeletEvidence(diagnosis.At("/proc")).NameOf(pid) ?? "a process of another namespace";
        diagnosis.Warn(
            Area, $"{path} belongs to {name} (process {pid}), not to systemd: callers are refused while crishim restarts",
            "end that process; systemctl enable --now crishim.socket; systemctl restart crishim");
        return name;
    }

    private static string Octal(UnixFileMode mode) => "0" + Convert.ToString((int)mode, 8);
}
