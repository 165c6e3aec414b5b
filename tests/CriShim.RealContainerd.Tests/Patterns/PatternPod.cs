using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Patterns;

/// <summary>One container of a pattern.</summary>
/// <param name="Name">Its name.</param>
/// <param name="IsInit">An init container of the spec.</param>
/// <param name="Script">For busybox's shell; <c>say WORD</c> writes "NAME WORD" down.</param>
/// <param name="Limits">CPU in millis and memory in Mi; null: none.</param>
internal sealed record PatternContainer(string Name, bool IsInit, string Script, (int Cpu, int Memory)? Limits = null);

/// <summary>A static pod of a pattern that users copy: what its containers share is below /shared, and so is what they write down.</summary>
internal sealed class PatternPod(string manifestName, string folder, string podLogs, string cgroupParent)
{
    public const string NodeName = "node1", Shared = "/shared";

    /// <summary>The kubelet's name for a static pod.</summary>
    public string Name => $"{manifestName}-{NodeName}";

    public string ManifestName => manifestName;

    /// <summary>Where /shared is on this machine.</summary>
    public string Folder => folder;

    public required string Sidecars { get; init; }

    public required IReadOnlyList<PatternContainer> Containers { get; init; }

    public string RestartPolicy { get; init; } = "Always";

    public int Grace { get; init; } = 20;

    /// <summary>What was written down, in the order in which it happened.</summary>
    public string[] Lines => File.Exists(Path.Combine(folder, "lines")) ? File.ReadAllLines(Path.Combine(folder, "lines")) : [];

    public string Manifest() => StaticManifest.Of(manifestName, RestartPolicy, Grace, Containers.Select(container => new ManifestContainer(
        container.Name, container.IsInit,
        container.Limits is var (cpu, memory) ? [$"resources: {{limits: {{cpu: {cpu}m, memory: {memory}Mi}}}}"] : [])));

    public PodRecipe Recipe()
    {
        var recipe = new PodRecipe(Name, podLogs, cgroupParent);
        recipe.Annotations["kubernetes.io/config.source"] = "file";
        recipe.Annotations["crishim.io/sidecars"] = Sidecars;
        return recipe;
    }

    public ContainerConfig Config(PatternContainer container, uint attempt = 0)
    {
        string say = $"say() {{ echo \"{container.Name} $1\" >> {Shared}/lines; }}\n";
        ContainerConfig config = Recipe().Container(container.Name, say + container.Script, attempt);
        config.Annotations["io.kubernetes.pod.terminationGracePeriod"] = $"{Grace}";
        config.Mounts.Add(new Mount { ContainerPath = Shared, HostPath = folder });
        if (container.Limits is var (cpu, memory))
        {
            config.Linux.Resources.CpuQuota = cpu * 100;
            config.Linux.Resources.MemoryLimitInBytes = (long)memory << 20;
        }

        return config;
    }
}
