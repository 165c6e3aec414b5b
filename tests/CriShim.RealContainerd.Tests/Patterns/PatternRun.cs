using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Patterns;

/// <summary>
/// Pods of patterns, started and ended as a kubelet that knows no sidecars does it: init containers one after another, each until it is
/// shown as completed; then the plain ones, in order; at deletion a stop of all that are shown running at once, then of the sandbox.
/// </summary>
internal sealed class PatternRun : LabRun
{
    private static readonly TimeSpan CallPatience = TimeSpan.FromMinutes(2);

    private readonly ConcurrentDictionary<string, string> _sandboxes = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Pod, string Container), string> _ids = new();

    private PatternRun(SidecarLab lab, HoldingRelay relay, string folder, string[] flags)
        : base(lab, relay, folder, flags)
    {
    }

    public IReadOnlyList<PatternPod> Pods { get; private set; } = [];

    public string StateFolder => Path.Combine(Folder, "state");

    protected override string SandboxId => _sandboxes.Values.FirstOrDefault() ?? "none";

    private static DateTime Deadline => TimeProvider.System.GetUtcNow().UtcDateTime + CallPatience;

    /// <param name="lab">Of containerd.</param>
    /// <param name="pods">Given a name, the folder that the pod's containers share, the kubelet's folder of logs, and the parent cgroup.</param>
    public static async Task<PatternRun> StartAsync(SidecarLab lab, params Func<string, string, string, string, PatternPod>[] pods)
    {
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, lab.NextPodName())).FullName;
        string manifests = Directory.CreateDirectory(Path.Combine(folder, "manifests")).FullName;
        HoldingRelay relay = await HoldingRelay.StartAsync(Path.Combine(folder, "relay.sock"), lab.Containerd.SocketPath);
        var run = new PatternRun(lab, relay, folder, ["--pod-manifests", manifests, "--node-name", PatternPod.NodeName]);
        try
        {
            run.Pods =
            [
                .. pods.Select(make =>
                {
                    string name = lab.NextPodName();
                    return make(name, Directory.CreateDirectory(Path.Combine(folder, name)).FullName, lab.Kubelet.PodLogs, lab.Containerd.CgroupParent);
                }),
            ];
            foreach (PatternPod pod in run.Pods)
            {
                await File.WriteAllTextAsync(Path.Combine(manifests, $"{pod.ManifestName}.yaml"), pod.Manifest());
            }

            await run.StartCrishimAsync();
            await run.LoggedAsync("Supervision knows the node");
            await run.LoggedAsync($"the static manifests source is current ({pods.Length} pods)");
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>The instance that was created here.</summary>
    public string IdOf(PatternPod pod, string container) => _ids[(pod.Name, container)];

    public string SandboxOf(PatternPod pod) => _sandboxes[pod.Name];

    // ---- What a kubelet does -----------------------------------------------------------------------------------------

    public async Task RunPodAsync(PatternPod pod)
    {
        await RunSandboxAsync(pod);
        foreach (PatternContainer container in pod.Containers)
        {
            await RunContainerAsync(pod, container);
        }
    }

    public async Task RunSandboxAsync(PatternPod pod) => _sandboxes[pod.Name] =
        (await Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = pod.Recipe().Sandbox() })).PodSandboxId;

    /// <summary>An init container: until it has completed.</summary>
    public async Task RunContainerAsync(PatternPod pod, PatternContainer container)
    {
        CreateContainerRequest create = pod.Recipe().Create(SandboxOf(pod), pod.Config(container));
        string id = (await Caller.Runtime.CreateContainerAsync(create)).ContainerId;
        _ids[(pod.Name, container.Name)] = id;
        _ = await Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, deadline: Deadline);
        if (container.IsInit)
        {
            ContainerStatus ended = await EndsAsync(pod, container.Name);
            if (ended is not { ExitCode: 0, Reason: "Completed" })
            {
                throw Explain($"init container {container.Name} ended with {ended.ExitCode}, {ended.Reason}");
            }
        }
    }

    /// <summary>As kubelet 1.28 ends a pod that is deleted.</summary>
    public async Task DeleteAsync(PatternPod pod)
    {
        ListContainersResponse list = await Caller.Runtime.ListContainersAsync(new ListContainersRequest
        {
            Filter = new ContainerFilter { PodSandboxId = SandboxOf(pod), State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
        });
        await Task.WhenAll(list.Containers.Select(container => Caller.Runtime.StopContainerAsync(
            new StopContainerRequest { ContainerId = container.Id, Timeout = pod.Grace }, deadline: Deadline).ResponseAsync));
        await StopSandboxAsync(pod);
    }

    public async Task StopSandboxAsync(PatternPod pod)
    {
        await RunningPod.StopSandboxAsync(Caller, SandboxOf(pod));
        ListContainersResponse left = await Bare.Runtime.ListContainersAsync(new ListContainersRequest
        {
            Filter = new ContainerFilter { PodSandboxId = SandboxOf(pod), State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
        });
        if (left.Containers.Count > 0)
        {
            throw Explain($"{left.Containers[0].Metadata.Name} runs after StopPodSandbox");
        }
    }

    public async Task RemoveSandboxAsync(PatternPod pod)
    {
        _ = await Caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = SandboxOf(pod) }, deadline: Deadline);
        _ = _sandboxes.TryRemove(pod.Name, out _);
    }

    // ---- What is seen ------------------------------------------------------------------------------------------------

    /// <summary>Waits until callers are shown its end, in the list and in its status; gives the status.</summary>
    public async Task<ContainerStatus> EndsAsync(PatternPod pod, string container)
    {
        ContainerStatus status = new();
        await BecomesTrueAsync($"{container} has ended", async () =>
        {
            ListContainersResponse list = await Caller.Runtime.ListContainersAsync(
                new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = SandboxOf(pod) } });
            Container? newest = list.Containers.Where(one => one.Metadata.Name == container).MaxBy(one => one.CreatedAt);
            if (newest?.State != ContainerState.ContainerExited)
            {
                return false;
            }

            status = (await Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = newest.Id })).Status;
            return status.State == ContainerState.ContainerExited;
        });
        return status;
    }

    public Task HappensAsync(PatternPod pod, string line) =>
        BecomesTrueAsync($"'{line}' was written down", () => Task.FromResult(pod.Lines.Contains(line)));

    /// <summary>The lines of a container's log, rotated files included.</summary>
    public static Task<string[]> LogOfAsync(PatternPod pod, string container) => CriLogText.ReadAsync(pod.Recipe().LogFile(container));

    public override Xunit.Sdk.XunitException Explain(string what, Exception? failure = null) =>
        base.Explain($"{what}\nwritten down: {string.Join("; ", Pods.Select(pod => string.Join(", ", pod.Lines)))}", failure);

    public override async ValueTask DisposeAsync()
    {
        foreach (string sandbox in _sandboxes.Values.Skip(1))
        {
            try
            {
                await RunningPod.StopSandboxAsync(Bare, sandbox);
                await Bare.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox });
            }
            catch (RpcException gone) when (gone.StatusCode == StatusCode.NotFound)
            {
                // It went with the test.
            }
        }

        await base.DisposeAsync();
    }
}
