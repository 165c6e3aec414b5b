using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Teardown;

/// <summary>
/// A pod of two sidecars, <c>log</c> and <c>proxy</c> in their start order, and two mains, <c>app</c> and <c>web</c>. Its processes
/// themselves write down what happens to them, line by line into one file: their order there is the order in which it happened.
/// </summary>
internal sealed class TeardownPod(string name, string folder, string cgroupParent)
{
    public const string Log = "log", Proxy = "proxy", App = "app", Web = "web";

    private const string Below = "/record";

    /// <summary>In start order.</summary>
    public static IReadOnlyList<string> Names { get; } = [Log, Proxy, App, Web];

    public string Uid { get; } = $"{name}-uid";

    public string CgroupParent => cgroupParent;

    /// <summary>terminationGracePeriodSeconds.</summary>
    public int Grace { get; set; } = 30;

    /// <summary>Any annotation of the pod, beside the one that names its sidecars.</summary>
    public Dictionary<string, string> Annotations { get; } = [];

    /// <summary>What a process does between SIGTERM and its end; by default what takes it a moment.</summary>
    public Dictionary<string, string> OnTerm { get; } = [];

    /// <summary>Shell commands of exec preStop hooks.</summary>
    public Dictionary<string, string> PreStop { get; } = [];

    /// <summary>teardownReserve of sidecars, as the annotation has it.</summary>
    public Dictionary<string, string> Reserve { get; } = [];

    /// <summary>It goes on when it gets SIGTERM, and writes down that time passes.</summary>
    public const string Ignore = "while :; do sleep 0.5; say tick; done";

    /// <summary>Does nothing until <see cref="TeardownRun.Open"/>.</summary>
    public static string Await(string gate) => $"until [ -e {Below}/{gate} ]; do sleep 0.05; done";

    /// <summary>Does nothing until something was written down.</summary>
    public static string AwaitLine(string line) => $"until grep -q \"^{line} \" {Below}/lines; do sleep 0.05; done";

    /// <summary>Writes a line down, from anywhere in the pod.</summary>
    public static string Say(string line) => $"read up idle < /proc/uptime; echo \"{line} $up\" >> {Below}/lines";

    public PodRecipe Recipe()
    {
        var recipe = new PodRecipe(name, Path.Combine(folder, "logs"), cgroupParent);
        recipe.Annotations["crishim.io/sidecars"] = JsonSerializer.Serialize(new[] { Log, Proxy }.Select(
            sidecar => new { name = sidecar, kind = "native", teardownReserve = Reserve.GetValueOrDefault(sidecar, "0s") }));
        foreach ((string key, string value) in Annotations)
        {
            recipe.Annotations[key] = value;
        }

        return recipe;
    }

    public ContainerConfig Container(string container)
    {
        ContainerConfig config = Recipe().Container(container, $$"""
            say() { {{Say($"{container} $1")}}; }
            trap 'say TERM; {{OnTerm.GetValueOrDefault(container, "sleep 0.2")}}; say end; exit 0' TERM
            say up
            while :; do sleep 60 & wait $!; done
            """);
        config.Annotations["io.kubernetes.pod.terminationGracePeriod"] = $"{Grace}";
        if (PreStop.TryGetValue(container, out string? hook))
        {
            config.Annotations["io.kubernetes.container.preStopHandler"] =
                JsonSerializer.Serialize(new { exec = new { command = HookCommand(hook) } });
        }

        config.Mounts.Add(new Mount { ContainerPath = Below, HostPath = folder });
        return config;
    }

    public static string[] HookCommand(string hook) => ["/bin/sh", "-c", hook];
}
