using System.Text.Json;
using System.Text.RegularExpressions;
using CriShim.Admin;
using CriShim.Protocol.Runtime.V1;
using Grpc.Core;

namespace CriShim.Commands.Doctor;

/// <summary>containerd itself: its version, and what of its configuration breaks nodes.</summary>
internal sealed partial class BackendCheck(TimeProvider time) : ICheck
{
    private const int SystemResource = 24; // CAP_SYS_RESOURCE

    public string Area => "containerd";

    public async Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        string path = diagnosis.Configuration.Containerd.SocketPath;
        using var channel = new UnixChannel(path);
        var runtime = new RuntimeService.RuntimeServiceClient(channel.Invoker);
        CallOptions Options() => new(
            deadline: Diagnosis.Deadline(time), cancellationToken: cancellationToken);
        try
        {
            VersionResponse version = await runtime.VersionAsync(new VersionRequest(), Options());
            LookAtVersion(diagnosis, path, version);
            ListPodSandboxResponse pods = await runtime.ListPodSandboxAsync(new ListPodSandboxRequest(), Options());
            diagnosis.Pods = pods.Items.ToDictionary(pod => pod.Id, pod => $"{pod.Metadata?.Namespace}/{pod.Metadata?.Name}");
            StatusResponse status = await runtime.StatusAsync(new StatusRequest { Verbose = true }, Options());
            LookAtConditions(diagnosis, status);
            LookAtConfiguration(diagnosis, status);
        }
        catch (RpcException failure) when (failure.StatusCode == StatusCode.Unimplemented)
        {
            diagnosis.Blame(
                Area, $"containerd at {path} does not serve CRI",
                "take \"cri\" out of disabled_plugins in /etc/containerd/config.toml (Docker's packages put it there); systemctl restart containerd");
        }
        catch (RpcException failure)
        {
            diagnosis.Blame(
                Area, $"containerd does not answer at {path}: {failure.StatusCode}: {failure.Status.Detail}",
                "systemctl status containerd; if it listens elsewhere: containerd.address in crishim's configuration");
        }
    }

    private void LookAtVersion(Diagnosis diagnosis, string path, VersionResponse version)
    {
        Match numbers = Numbers().Match(version.RuntimeVersion);
        bool isContainerd = version.RuntimeName == "containerd";
        if (!isContainerd || !numbers.Success)
        {
            diagnosis.Warn(
                Area, $"{path} is served by {version.RuntimeName} {version.RuntimeVersion}: crishim is made for containerd 1.6, 1.7 and 2.x",
                "point containerd.address at containerd's socket");
            return;
        }

        bool isKnown = numbers.Groups[1].Value is "1.6" or "1.7" || numbers.Groups[1].Value.StartsWith("2.", StringComparison.Ordinal);
        if (isKnown)
        {
            diagnosis.Good(Area, $"containerd {version.RuntimeVersion} answers at {path}");
        }
        else
        {
            diagnosis.Warn(Area, $"containerd {version.RuntimeVersion} is no version that crishim is tested with", "use containerd 1.6, 1.7 or 2.x");
        }
    }

    private void LookAtConditions(Diagnosis diagnosis, StatusResponse status)
    {
        foreach (RuntimeCondition condition in status.Status?.Conditions ?? [])
        {
            if (condition is { Status: false, Type: "RuntimeReady" or "NetworkReady" })
            {
                diagnosis.Warn(
                    Area, $"{condition.Type} is false: {condition.Reason}: {condition.Message}",
                    condition.Type == "NetworkReady" ? "install a network plugin (/etc/cni/net.d)" : "journalctl -u containerd");
            }
        }
    }

    /// <summary>containerd's effective configuration, as its CRI plugin gives it with a verbose status.</summary>
    private void LookAtConfiguration(Diagnosis diagnosis, StatusResponse status)
    {
        if (!status.Info.TryGetValue("config", out string? text))
        {
            return;
        }

        using JsonDocument? config = Parse(text);
        if (config is null)
        {
            return;
        }

        bool? systemdCgroup = FindBool(config.RootElement, "SystemdCgroup");
        foreach (KubeletSettings kubelet in diagnosis.Kubelets)
        {
            if (systemdCgroup is { } isSystemd && kubelet.CgroupDriver is { } driver && (driver == "systemd") != isSystemd)
            {
                diagnosis.Blame(
                    Area, $"the kubelet's cgroup driver is {driver}, and containerd's is {(isSystemd ? "systemd" : "cgroupfs")}",
                    $"SystemdCgroup = {(driver == "systemd" ? "true" : "false")} in the runc options of /etc/containerd/config.toml; "
                    + "systemctl restart containerd");
            }
        }

        if (FindBool(config.RootElement, "restrictOOMScoreAdj") == false && LacksSystemResource(diagnosis))
        {
            diagnosis.Warn(
                Area, "containerd may not lower OOM scores here (no CAP_SYS_RESOURCE), and is not told so: pods can't start",
                "restrict_oom_score_adj = true in /etc/containerd/config.toml, or give the node's container the capability");
        }
    }

    private static bool LacksSystemResource(Diagnosis diagnosis)
    {
        try
        {
            // What a process of this node can have at most is what its first process has.
            string? line = File.ReadLines(diagnosis.At("/proc/1/status")).FirstOrDefault(l => l.StartsWith("CapBnd:", StringComparison.Ordinal));
            return line is not null && (Convert.ToUInt64(line["CapBnd:".Length..].Trim(), 16) & (1UL << SystemResource)) == 0;
        }
        catch (Exception unseen) when (unseen is IOException or UnauthorizedAccessException or FormatException)
        {
            return false;
        }
    }

    private static JsonDocument? Parse(string text)
    {
        try
        {
            return JsonDocument.Parse(text);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>The first of that name, wherever this version of containerd has it.</summary>
    private static bool? FindBool(JsonElement element, string name)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            return null;
        }

        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (string.Equals(property.Name, name, StringComparison.OrdinalIgnoreCase)
                && property.Value.ValueKind is JsonValueKind.True or JsonValueKind.False)
            {
                return property.Value.GetBoolean();
            }

            if (FindBool(property.Value, name) is { } found)
            {
                return found;
            }
        }

        return null;
    }

    [GeneratedRegex(@"^v?(\d+\.\d+)")]
    private static partial Regex Numbers();
}
