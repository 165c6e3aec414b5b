using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>A node that crishim's package was installed on before it booted, by the script that kind's image is built with.</summary>
public sealed class InstalledNode : IAsyncDisposable
{
    private InstalledNode(TestSupport.Lab.SystemdNode node)
    {
        Node = node;
    }

    public TestSupport.Lab.SystemdNode Node { get; }

    /// <summary>Through crishim.</summary>
    public CriCaller Caller { get; private set; } = null!;

    /// <summary>containerd's own socket.</summary>
    public CriCaller Bare { get; private set; } = null!;

    public static async Task<InstalledNode> BootAsync()
    {
        var installed = new InstalledNode(await TestSupport.Lab.SystemdNode.CreateAsync());
        try
        {
            string bundle = await UnpackBundleAsync(installed.Node.Shared);
            // The Dockerfile's own step.
            await installed.Node.BuildAsync(Path.Combine(bundle, "install-node.sh"), Path.Combine(bundle, "crishim.deb"));
            await installed.Node.BootAsync();
            await installed.Node.LoadImagesAsync();
            installed.Caller = new CriCaller(installed.Node.At("/run/crishim/crishim.sock"));
            installed.Bare = new CriCaller(installed.Node.At("/run/containerd/containerd.sock"));
            return installed;
        }
        catch
        {
            await installed.DisposeAsync();
            throw;
        }
    }

    /// <summary>The native executable that all of it is about.</summary>
    public static string Executable
    {
        get
        {
            string executable = Environment.GetEnvironmentVariable("CRISHIM_BIN") is { Length: > 0 } named
                ? named
                : Path.Combine(Repository.Root, "out", "crishim");
            return File.Exists(executable)
                ? executable
                : throw new LabException($"{executable} is not there: a node gets the native executable. Run: make build");
        }
    }

    /// <summary>A file of the repository's systemd folder.</summary>
    public static string Packaging(params string[] path) => Path.Combine([Repository.Root, "systemd", .. path]);

    /// <summary>crishim's package; its path. Not packed by default: that is quicker.</summary>
    public static async Task<string> BuildDebAsync(string folder, string version, string compression = "none") =>
        (await Tool.RunAsync(Packaging("deb", "build.sh"), Executable, version, folder, compression)).Trim();

    /// <summary>What make kind-bundle makes, with version 1.0 of the package; its folder.</summary>
    public static async Task<string> UnpackBundleAsync(string folder)
    {
        string archive = (await Tool.RunAsync(Packaging("kind", "bundle.sh"), Executable, "1.0", folder, "none")).Trim();
        await Tool.RunAsync("tar", "-C", folder, "-xzf", archive);
        return Path.Combine(folder, "crishim-kind");
    }

    public PodRecipe Recipe(string pod) => new(pod, Path.Combine(Node.Shared, "logs"), Node.CgroupParent) { HostNetwork = true };

    /// <summary>Starts a pod of one container that runs until it is told to end.</summary>
    public async Task<RunningPod> StartPodAsync(string name)
    {
        PodRecipe recipe = Recipe(name);
        RunningPod pod = await RunningPod.StartAsync(Caller, recipe);
        await pod.RunAsync(recipe.Container("main", "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done"));
        return pod;
    }

    /// <summary>Process ids of the containers that run, by containerd's own word; each container's id before it.</summary>
    public async Task<string> RunningAsync()
    {
        ListContainersResponse list = await Bare.Runtime.ListContainersAsync(new ListContainersRequest
        {
            Filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
        });
        var running = new List<string>();
        foreach (Container container in list.Containers.OrderBy(container => container.Id, StringComparer.Ordinal))
        {
            ContainerStatusResponse status = await Bare.Runtime.ContainerStatusAsync(
                new ContainerStatusRequest { ContainerId = container.Id, Verbose = true });
            using var info = System.Text.Json.JsonDocument.Parse(status.Info["info"]);
            running.Add($"{container.Metadata.Name} {info.RootElement.GetProperty("pid").GetInt32()}");
        }

        return string.Join(", ", running);
    }

    public async Task<int> MainProcessAsync() =>
        int.Parse(await Node.PropertyAsync("crishim.service", "MainPID"), CultureInfo.InvariantCulture);

    public async ValueTask DisposeAsync()
    {
        Caller?.Dispose();
        Bare?.Dispose();
        await Node.DisposeAsync();
    }
}
