using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.TestSupport.Backends;

/// <summary>Pods of nothing but sidecars, with requests as long as those of the meshes and agents that sidecars are for.</summary>
public static class SidecarPods
{
    private const int Variables = 40;

    public static IReadOnlyList<string> Names { get; } = ["istio-proxy", "log-agent", "metrics-agent"];

    public static PodSandboxConfig Sandbox(int pod)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"checkout-7d9f8c6b5-{pod:x5}");
        var uid = string.Create(CultureInfo.InvariantCulture, $"5f3e2c1a-0b4d-4e6f-8a9b-{pod:x12}");
        var sidecars = string.Join(',', Names.Select(sidecar => $$"""{"name":"{{sidecar}}","kind":"native"}"""));
        return new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = name, Uid = uid, Namespace = "production" },
            Hostname = name,
            LogDirectory = $"/var/log/pods/production_{name}_{uid}",
            Labels =
            {
                ["app"] = "checkout",
                ["io.kubernetes.pod.name"] = name,
                ["io.kubernetes.pod.namespace"] = "production",
                ["io.kubernetes.pod.uid"] = uid,
            },
            Annotations =
            {
                ["crishim.io/sidecars"] = $"[{sidecars}]",
                ["kubernetes.io/config.seen"] = "2026-01-01T00:00:00.000000000Z",
                ["kubernetes.io/config.source"] = "api",
            },
        };
    }

    public static CreateContainerRequest Create(string sandboxId, PodSandboxConfig sandbox, string name)
    {
        var request = new CreateContainerRequest
        {
            PodSandboxId = sandboxId,
            SandboxConfig = sandbox,
            Config = new ContainerConfig
            {
                Metadata = new ContainerMetadata { Name = name },
                Image = new ImageSpec { Image = $"registry.example/{name}@sha256:{new string('a', 64)}", UserSpecifiedImage = name },
                Args = { "proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.cluster.local", "--proxyLogLevel=warning" },
                LogPath = $"{name}/0.log",
                Labels =
                {
                    ["io.kubernetes.container.name"] = name,
                    ["io.kubernetes.pod.name"] = sandbox.Metadata.Name,
                    ["io.kubernetes.pod.namespace"] = sandbox.Metadata.Namespace,
                    ["io.kubernetes.pod.uid"] = sandbox.Metadata.Uid,
                },
                Annotations =
                {
                    ["io.kubernetes.container.hash"] = "5f3e2c1a",
                    ["io.kubernetes.container.restartCount"] = "0",
                    ["io.kubernetes.container.terminationMessagePath"] = "/dev/termination-log",
                    ["io.kubernetes.container.terminationMessagePolicy"] = "File",
                    ["io.kubernetes.pod.terminationGracePeriod"] = "30",
                },
                Mounts =
                {
                    new Mount { ContainerPath = "/etc/hosts", HostPath = $"/var/lib/kubelet/pods/{sandbox.Metadata.Uid}/etc-hosts" },
                    new Mount { ContainerPath = "/var/run/secrets/tokens", HostPath = $"/var/lib/kubelet/pods/{sandbox.Metadata.Uid}/volumes/tokens" },
                },
                Linux = new LinuxContainerConfig
                {
                    Resources = new LinuxContainerResources { CpuPeriod = 100_000, CpuShares = 128, MemoryLimitInBytes = 1 << 28, OomScoreAdj = 980 },
                },
            },
        };
        for (var index = 0; index < Variables; index++)
        {
            request.Config.Envs.Add(new KeyValue
            {
                Key = string.Create(CultureInfo.InvariantCulture, $"CHECKOUT_SERVICE_PORT_{index}"),
                Value = ByteString.CopyFromUtf8("tcp://10.96.104.17:8080"),
            });
        }

        return request;
    }
}
