using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.KubeletDouble;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>What makes a container of a <see cref="ChaosPod"/> a sidecar.</summary>
internal enum SidecarForm
{
    Native,
    Emulated,
    Adopted,
}

/// <param name="Name">Its name.</param>
/// <param name="Form">Null: the main container.</param>
internal sealed record ChaosContainer(string Name, SidecarForm? Form)
{
    public bool IsInit => Form is SidecarForm.Native or SidecarForm.Emulated;
}

/// <summary>
/// A static pod of sidecars of one form, or of all three, and a main container. Each process carries a mark in its command line, by which it
/// is found in /proc, and writes down what happens to it, line by line into one file of the pod: their order there is that in which it happened.
/// </summary>
internal sealed class ChaosPod(string manifestName, string folder, KubeletDirectories directories, string cgroupParent, IReadOnlyList<ChaosContainer> containers)
{
    public const string NodeName = "node1", Main = "app";

    /// <summary>terminationGracePeriodSeconds: in an undisturbed end, mains and sidecars need about a second.</summary>
    public const int Grace = 60;

    private const string Below = "/record", MarkPrefix = "# chaos ";

    /// <summary>The kubelet's name for a static pod.</summary>
    public string Name => $"{manifestName}-{NodeName}";

    public string Uid => Recipe().Uid;

    /// <summary>In the order of the spec, which is the start order: init containers first.</summary>
    public IReadOnlyList<ChaosContainer> Containers => containers;

    public IEnumerable<ChaosContainer> Sidecars => containers.Where(container => container.Form is not null);

    /// <summary>The order in which they end: the main, then adopted and emulated ones, then native ones, each in reverse start order.</summary>
    public IReadOnlyList<string> EndOrder =>
    [
        Main,
        .. Sidecars.Where(one => one.Form != SidecarForm.Native).Reverse().Select(one => one.Name),
        .. Sidecars.Where(one => one.Form == SidecarForm.Native).Reverse().Select(one => one.Name),
    ];

    public string LogDirectory => Recipe().LogDirectory;

    /// <summary>One of three forms, or all of them in a pod.</summary>
    public static IReadOnlyList<ChaosContainer> Shape(int number) => (number % 4) switch
    {
        0 => [new("proxy", SidecarForm.Native), new(Main, null)],
        1 => [new("proxy", SidecarForm.Emulated), new(Main, null)],
        2 => [new("proxy", SidecarForm.Adopted), new(Main, null)],
        _ => [new("log", SidecarForm.Native), new("proxy", SidecarForm.Emulated), new("agent", SidecarForm.Adopted), new(Main, null)],
    };

    /// <summary>By which a container's process is known, whoever started it.</summary>
    public string MarkOf(string container) => $"{Name}/{container}";

    /// <summary>The mark in a process's command line, or null.</summary>
    public static string? MarkIn(string commandLine)
    {
        int start = commandLine.IndexOf(MarkPrefix, StringComparison.Ordinal);
        if (start < 0)
        {
            return null;
        }

        start += MarkPrefix.Length;
        int end = commandLine.IndexOfAny(['\n', '\0'], start);
        return end < 0 ? commandLine[start..] : commandLine[start..end];
    }

    public IReadOnlyList<WrittenLine> Lines() => WrittenLine.Read(Path.Combine(folder, "lines"));

    public string Manifest() => StaticManifest.Of(manifestName, "Always", Grace, containers.Select(container => new ManifestContainer(
        container.Name, container.IsInit, container.Form == SidecarForm.Native ? ["restartPolicy: Always"] : [])));

    public PodSandboxConfig Sandbox(uint attempt)
    {
        PodSandboxConfig config = Recipe().Sandbox();
        config.Metadata.Attempt = attempt;
        return config;
    }

    public string LogFolder(string container) => Path.Combine(LogDirectory, container);

    public string LinkOf(string container, string id) => Path.Combine(directories.ContainerLogs, $"{Name}_default_{container}-{id}.log");

    /// <summary>With all that a kubelet makes for it on disk.</summary>
    public CreateContainerRequest Create(string sandboxId, uint sandboxAttempt, ChaosContainer container, uint attempt)
    {
        string take = container.Form is null ? "sleep 0.3" : "sleep 0.1";
        ContainerConfig config = Recipe().Container(container.Name, $$"""
            {{MarkPrefix}}{{MarkOf(container.Name)}}
            say() { read up idle < /proc/uptime; echo "{{container.Name}} $1 $up" >> {{Below}}/lines; }
            trap 'say TERM; {{take}}; say end; exit {{(container.Form is null ? 0 : 143)}}' TERM
            say up
            while :; do sleep 600 & wait $!; done
            """, attempt);
        config.Annotations["io.kubernetes.pod.terminationGracePeriod"] = $"{Grace}";
        config.Mounts.Add(new Mount { ContainerPath = Below, HostPath = folder });
        _ = Directory.CreateDirectory(LogFolder(container.Name));
        _ = Directory.CreateDirectory(directories.ContainerLogs);
        return new CreateContainerRequest { PodSandboxId = sandboxId, Config = config, SandboxConfig = Sandbox(sandboxAttempt) };
    }

    public void Link(string container, uint attempt, string id)
    {
        string link = LinkOf(container, id);
        File.Delete(link);
        File.CreateSymbolicLink(link, Path.Combine(LogFolder(container), $"{attempt}.log"));
    }

    private PodRecipe Recipe()
    {
        var recipe = new PodRecipe(Name, directories.PodLogs, cgroupParent);
        recipe.Annotations["kubernetes.io/config.source"] = "file";
        string[] named = [.. Sidecars.Where(one => one.Form != SidecarForm.Native).Select(one => one.Name)];
        if (named.Length > 0)
        {
            recipe.Annotations["crishim.io/sidecars"] = string.Join(',', named);
        }

        return recipe;
    }
}
