using System.Security.Cryptography;
using System.Text;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Benchmarks.Backend;

/// <summary>Lists of containers as a kubelet's containerd returns them: its labels, annotations, ids and digests.</summary>
internal static class ContainerList
{
    private static readonly string[] Workloads =
    [
        "coredns", "checkout", "payments-api", "istio-proxy", "log-agent", "ingress-nginx-controller", "metrics-exporter",
    ];

    /// <summary>The same list for the same <paramref name="count"/>, always.</summary>
    public static ListContainersResponse Build(int count)
    {
        var response = new ListContainersResponse();
        for (var index = 0; index < count; index++)
        {
            response.Containers.Add(BuildContainer(index));
        }

        return response;
    }

    private static Container BuildContainer(int index)
    {
        var workload = Workloads[index % Workloads.Length];
        var image = $"sha256:{Digest("image", index % Workloads.Length)}";
        var pod = index / 2;
        var uid = Digest("uid", pod);
        return new Container
        {
            Id = Digest("container", index),
            PodSandboxId = Digest("sandbox", pod),
            Metadata = new ContainerMetadata { Name = workload, Attempt = (uint)(index % 3) },
            Image = new ImageSpec { Image = image },
            ImageRef = image,
            State = index % 10 == 9 ? ContainerState.ContainerExited : ContainerState.ContainerRunning,
            CreatedAt = 1_760_000_000_000_000_000L + (index * 1_000_003L),
            Labels =
            {
                ["io.kubernetes.container.name"] = workload,
                ["io.kubernetes.pod.name"] = $"{workload}-{Digest("set", pod)[..10]}-{Digest("pod", pod)[..5]}",
                ["io.kubernetes.pod.namespace"] = "production",
                ["io.kubernetes.pod.uid"] = $"{uid[..8]}-{uid[8..12]}-4{uid[13..16]}-8{uid[17..20]}-{uid[20..32]}",
            },
            Annotations =
            {
                ["io.kubernetes.container.hash"] = Digest("hash", index)[..8],
                ["io.kubernetes.container.restartCount"] = (index % 3).ToString(System.Globalization.CultureInfo.InvariantCulture),
                ["io.kubernetes.container.terminationMessagePath"] = "/dev/termination-log",
                ["io.kubernetes.container.terminationMessagePolicy"] = "File",
                ["io.kubernetes.pod.terminationGracePeriod"] = "30",
            },
        };
    }

    private static string Digest(string kind, int index) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes($"{kind}/{index}")));
}
