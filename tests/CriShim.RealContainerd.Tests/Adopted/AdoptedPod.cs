using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>
/// A static pod of two plain containers: <c>proxy</c>, which its annotation names a sidecar, and <c>app</c>, which completes. Its processes
/// write down what happens to them, line by line into one file: their order there is the order in which it happened.
/// </summary>
internal sealed class AdoptedPod(string manifestName, string folder, string cgroupParent)
{
    public const string Proxy = "proxy", App = "app", NodeName = "node1";

    /// <summary>It exits as a process does that knows no better.</summary>
    public const string Exit143 = "say TERM; exit 143";

    public const string Ignore = "say TERM";

    private const string Below = "/record";

    /// <summary>The kubelet's name for a static pod.</summary>
    public string Name => $"{manifestName}-{NodeName}";

    public string CgroupParent => cgroupParent;

    public string RestartPolicy { get; set; } = "Never";

    /// <summary>terminationGracePeriodSeconds.</summary>
    public int Grace { get; set; } = 30;

    /// <summary>What the annotation says of the sidecar, beside its name.</summary>
    public string Wishes { get; set; } = "";

    /// <summary>Before the sidecar's process does nothing but wait.</summary>
    public string OnStart { get; set; } = ":";

    /// <summary>What the sidecar's process does at SIGTERM.</summary>
    public string OnTerm { get; set; } = Exit143;

    /// <summary>What the main's process ends with, once it may.</summary>
    public int MainExitCode { get; set; }

    /// <summary>Does nothing until <see cref="AdoptedRun.Open"/>.</summary>
    public static string Await(string gate) => $"until [ -e {Below}/{gate} ]; do sleep 0.05; done";

    public string Manifest() =>
        StaticManifest.Of(manifestName, RestartPolicy, Grace, [new ManifestContainer(Proxy, IsInit: false), new ManifestContainer(App, IsInit: false)]);

    public PodRecipe Recipe()
    {
        var recipe = new PodRecipe(Name, Path.Combine(folder, "logs"), cgroupParent);
        recipe.Annotations["kubernetes.io/config.source"] = "file";
        recipe.Annotations["crishim.io/sidecars"] = $$"""[{"name": "{{Proxy}}"{{(Wishes.Length > 0 ? $", {Wishes}" : "")}}}]""";
        return recipe;
    }

    public ContainerConfig Container(string container, uint attempt = 0)
    {
        string body = container == Proxy
            ? $"trap '{OnTerm}' TERM\nsay up\n{OnStart}\nwhile :; do sleep 60 & wait $!; done"
            : $"say up\n{Await($"go{attempt}")}\nsay end\nexit {(attempt == 0 ? MainExitCode : 0)}";
        ContainerConfig config = Recipe().Container(container, $"say() {{ echo \"{container} $1\" >> {Below}/lines; }}\n{body}", attempt);
        config.Annotations["io.kubernetes.pod.terminationGracePeriod"] = $"{Grace}";
        config.Mounts.Add(new Mount { ContainerPath = Below, HostPath = folder });
        return config;
    }
}
