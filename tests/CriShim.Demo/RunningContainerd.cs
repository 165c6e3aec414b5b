using System.Text.Json;
using System.Text.RegularExpressions;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.Demo;

/// <summary>The containerd that the machine already has. Whatever the demo adds to it (images under names of its own) it removes again.</summary>
internal sealed partial class RunningContainerd : Ground
{
    private const string Rehearsal = "crishim-demo-rehearsal";
    private const string Busybox = "crishim.local/demo/busybox:latest";

    private readonly string _ctr;
    private readonly List<string> _imported = [];
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("crishim-demo-");
    private string _version = "";
    private string _cgroupParent = "";
    private bool _hostNetwork;

    private RunningContainerd(string socketPath, string ctr)
    {
        SocketPath = socketPath;
        _ctr = ctr;
    }

    public override string Description => $"the containerd {_version} that runs on this machine";

    public override string SocketPath { get; }

    public override string Folder => _folder.FullName;

    public override string BusyboxImage => Busybox;

    /// <summary>Null when none answers or it can't run a pod; in the second case with the reason.</summary>
    public static async Task<(Ground? Ground, string? Refusal)> TryAsync(CancellationToken cancellationToken)
    {
        var socketPath = Environment.GetEnvironmentVariable("CONTAINERD_ADDRESS") is { Length: > 0 } named ? named : "/run/containerd/containerd.sock";
        if (!File.Exists(socketPath) || await VersionAsync(socketPath, cancellationToken) is not { } version)
        {
            return (null, null);
        }

        if (KubeletRuns())
        {
            return (null, "A kubelet runs here. It ends pods that it does not know, so its containerd is left alone.");
        }

        await LabImages.ProvideAsync();
        var ctr = OnPath("ctr");
        if (ctr is null)
        {
            await ContainerdVersion.V21.ProvideAsync();
            ctr = Path.Combine(ContainerdVersion.V21.Binaries, "ctr");
        }

        var ground = new RunningContainerd(socketPath, ctr) { _version = version };
        try
        {
            await ground.PrepareAsync(cancellationToken);
            return (ground, null);
        }
        catch (Exception failure) when (failure is RpcException or LabException)
        {
            await ground.DisposeAsync();
            var reason = failure is RpcException rpc ? rpc.Status.Detail : failure.Message.Split('\n')[0];
            return (null, $"The running containerd could not run a pod, so it is left alone ({reason}).");
        }
        catch
        {
            await ground.DisposeAsync();
            throw;
        }
    }

    public override PodRecipe Pod(string name) => new(name, Path.Combine(Folder, "logs"), _cgroupParent) { HostNetwork = _hostNetwork };

    public override async ValueTask DisposeAsync()
    {
        try
        {
            using var caller = new CriCaller(SocketPath);
            await RemovePodsAsync(caller);
            foreach (var image in _imported)
            {
                await RemoveImageAsync(caller, image);
            }
        }
        catch (Exception failure) when (failure is RpcException or LabException)
        {
            // containerd is gone and there is nobody to ask; say what it will still have when it is back.
            await Console.Error.WriteLineAsync($"Could not clean up on {SocketPath}: {failure.Message}");
        }

        _folder.Delete(recursive: true);
    }

    /// <summary>Also a sandbox whose start has failed can be left behind, and one whose id never arrived.</summary>
    private static async Task RemovePodsAsync(CriCaller caller)
    {
        foreach (var name in new[] { Rehearsal, Story.PodName })
        {
            var filter = new PodSandboxFilter { LabelSelector = { { "io.kubernetes.pod.name", name }, { "io.kubernetes.pod.uid", $"{name}-uid" } } };
            var left = await caller.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest { Filter = filter });
            foreach (var sandbox in left.Items)
            {
                await caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox.Id });
                await caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox.Id });
            }
        }
    }

    private async Task RemoveImageAsync(CriCaller caller, string name)
    {
        var image = (await caller.Images.ImageStatusAsync(new ImageStatusRequest { Image = new ImageSpec { Image = name } })).Image;
        if (image is null || image.RepoTags.Any(tag => !_imported.Contains(tag)))
        {
            // Somebody else has given it a name too: take ours only.
            await LabImages.RemoveAsync(_ctr, SocketPath, name);
            return;
        }

        // CRI also knows it by its id, and takes that away too only when it is asked itself.
        await caller.Images.RemoveImageAsync(new RemoveImageRequest { Image = new ImageSpec { Image = name } });
    }

    private async Task PrepareAsync(CancellationToken cancellationToken)
    {
        using var caller = new CriCaller(SocketPath);
        var status = await caller.Runtime.StatusAsync(new StatusRequest { Verbose = true }, cancellationToken: cancellationToken);
        if (status.Status.Conditions.FirstOrDefault(condition => condition.Type == "NetworkReady") is { Status: false })
        {
            _hostNetwork = true;
            Notes.Add("This containerd has no CNI network yet: the pod uses the host's.");
        }

        var config = status.Info.TryGetValue("config", out var json) ? json : "{}";
        // With the systemd driver runc wants a slice; containerd passes on what it is given.
        _cgroupParent = Holds(config, "SystemdCgroup", JsonValueKind.True) ? "system.slice" : "";

        await ImportAsync(caller, LabImages.BusyboxArchive, Busybox, cancellationToken);
        if (Find(config, "sandboxImage") is { } pause)
        {
            await ImportAsync(caller, LabImages.PauseArchive, pause, cancellationToken);
        }

        await RehearseAsync(caller, cancellationToken);
    }

    /// <summary>
    /// Runs an empty pod and takes it away. This is also how containerd 2.x tells its pause image's name: it is not in the
    /// status, but in the message of the failure to get it.
    /// </summary>
    private async Task RehearseAsync(CriCaller caller, CancellationToken cancellationToken)
    {
        for (var again = false; ; again = true)
        {
            string sandbox;
            try
            {
                // Without a registry at hand, containerd tries for minutes to pull its pause image: some seconds are enough to know.
                var run = await caller.Runtime.RunPodSandboxAsync(
                    new RunPodSandboxRequest { Config = Pod(Rehearsal).Sandbox() },
                    deadline: TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(20), cancellationToken: cancellationToken);
                sandbox = run.PodSandboxId;
            }
            catch (RpcException failure) when (!again && SandboxImage().Match(failure.Status.Detail) is { Success: true } match)
            {
                await ImportAsync(caller, LabImages.PauseArchive, match.Groups[1].Value, cancellationToken);
                continue;
            }

            await caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox }, cancellationToken: CancellationToken.None);
            await caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox }, cancellationToken: CancellationToken.None);
            return;
        }
    }

    private async Task ImportAsync(CriCaller caller, string archive, string name, CancellationToken cancellationToken)
    {
        var request = new ImageStatusRequest { Image = new ImageSpec { Image = name } };
        if ((await caller.Images.ImageStatusAsync(request, cancellationToken: cancellationToken)).Image is not null)
        {
            return;
        }

        _imported.Add(name);
        await LabImages.ImportAsync(_ctr, SocketPath, archive, name);
        await Condition.BecomesTrueAsync($"containerd's CRI knows {name}", TimeSpan.FromSeconds(20), async () =>
            (await caller.Images.ImageStatusAsync(request, cancellationToken: cancellationToken)).Image is not null);
        Notes.Add($"The image {name} was imported for the demo and is removed again.");
    }

    private static async Task<string?> VersionAsync(string socketPath, CancellationToken cancellationToken)
    {
        using var caller = new CriCaller(socketPath);
        try
        {
            var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(3);
            var version = await caller.Runtime.VersionAsync(new VersionRequest(), deadline: deadline, cancellationToken: cancellationToken);
            return version.RuntimeVersion;
        }
        catch (RpcException)
        {
            // Docker's containerd has CRI turned off; others may not be there at all.
            return null;
        }
    }

    private static bool KubeletRuns() => Directory.EnumerateDirectories("/proc").Any(process =>
    {
        try
        {
            return File.ReadAllText(Path.Combine(process, "comm")).Trim() == "kubelet";
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    });

    private static string? OnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private static string? Find(string json, string key) =>
        Walk(json, key).FirstOrDefault(value => value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 }) is { ValueKind: JsonValueKind.String } found
            ? found.GetString()
            : null;

    private static bool Holds(string json, string key, JsonValueKind kind) => Walk(json, key).Any(value => value.ValueKind == kind);

    private static List<JsonElement> Walk(string json, string key)
    {
        var found = new List<JsonElement>();
        try
        {
            Collect(JsonDocument.Parse(json).RootElement);
        }
        catch (JsonException)
        {
        }

        return found;

        void Collect(JsonElement element)
        {
            switch (element.ValueKind)
            {
                case JsonValueKind.Object:
                    foreach (var property in element.EnumerateObject())
                    {
                        if (property.Name == key)
                        {
                            found.Add(property.Value);
                        }

                        Collect(property.Value);
                    }

                    break;
                case JsonValueKind.Array:
                    foreach (var item in element.EnumerateArray())
                    {
                        Collect(item);
                    }

                    break;
            }
        }
    }

    [GeneratedRegex("sandbox image \\\\?\"([^\"\\\\]+)")]
    private static partial Regex SandboxImage();
}
