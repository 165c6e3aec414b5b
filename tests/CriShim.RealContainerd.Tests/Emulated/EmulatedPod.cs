using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>
/// A static pod of an init container <c>proxy</c>, which its annotation names a sidecar, and a container <c>app</c>, which is nothing without
/// it. Its processes write down what happens to them, line by line into one file: their order there is the order in which it happened.
/// </summary>
internal sealed class EmulatedPod(string manifestName, string folder, string podLogs, string cgroupParent)
{
    public const string Proxy = "proxy", App = "app", NodeName = "node1";

    private const string Below = "/record";

    /// <summary>The kubelet's name for a static pod.</summary>
    public string Name => $"{manifestName}-{NodeName}";

    public string RestartPolicy { get; set; } = "Always";

    /// <summary>What the annotation says of the sidecar, beside its name.</summary>
    public string Wishes { get; set; } = "";

    /// <summary>Before the sidecar's process does nothing but wait.</summary>
    public string OnStart { get; set; } = ":";

    /// <summary>What the sidecar's process does at SIGTERM.</summary>
    public string OnTerm { get; set; } = "say TERM; exit 143";

    /// <summary>A startup probe that passes once the gate is open.</summary>
    public static string ProbeOf(string gate, int failureThreshold) =>
        "\"startupProbe\": {\"exec\": {\"command\": [\"/bin/sh\", \"-c\", \"[ -e " + Below + "/" + gate
        + " ]\"]}, \"periodSeconds\": 1, \"failureThreshold\": " + failureThreshold + "}";

    public string Manifest() =>
        StaticManifest.Of(manifestName, RestartPolicy, 20, [new ManifestContainer(Proxy, IsInit: true), new ManifestContainer(App, IsInit: false)]);

    public PodRecipe Recipe()
    {
        var recipe = new PodRecipe(Name, podLogs, cgroupParent);
        recipe.Annotations["kubernetes.io/config.source"] = "file";
        recipe.Annotations["crishim.io/sidecars"] = $$"""[{"name": "{{Proxy}}"{{(Wishes.Length > 0 ? $", {Wishes}" : "")}}}]""";
        return recipe;
    }

    public ContainerConfig Container(string container, uint attempt = 0)
    {
        string body = container == Proxy
            ? $"trap '{OnTerm}' TERM\nsay up\n{OnStart}\nwhile :; do sleep 60 & wait $!; done"
            : $"trap 'say TERM; say end; exit 0' TERM\nsay up\nuntil [ -e {Below}/go ]; do sleep 0.05; done\nsay end";
        ContainerConfig config = Recipe().Container(container, $"say() {{ echo \"{container} $1\" >> {Below}/lines; }}\n{body}", attempt);
        config.Annotations["io.kubernetes.pod.terminationGracePeriod"] = "20";
        config.Mounts.Add(new Mount { ContainerPath = Below, HostPath = folder });
        return config;
    }
}
