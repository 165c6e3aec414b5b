using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.KubeletDouble;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>One pod with a sidecar under a double of the kubelet, crishim between it and containerd, and a relay before containerd.</summary>
internal sealed class SidecarRun : LabRun
{
    public const string Sidecar = KubeletPod.Sidecar;

    private SidecarRun(SidecarLab lab, HoldingRelay relay, KubeletPod pod, string folder, string[] flags)
        : base(lab, relay, folder, flags)
    {
        Pod = pod;
        // The requests of one kubelet with one containerd, the others' with the others.
        Kubelet = new PodKubelet(Caller, pod, replacesCreated: lab.Version.IsAtLeast2);
    }

    public KubeletPod Pod { get; }

    public PodKubelet Kubelet { get; }

    public string StateFolder => Path.Combine(Folder, "state", Kubelet.SandboxId);

    public static async Task<SidecarRun> StartAsync(SidecarLab lab, Action<KubeletPod>? change = null, params string[] flags)
    {
        string name = lab.NextPodName();
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, name)).FullName;
        var pod = new KubeletPod(lab.Version.IsAtLeast2 ? "1.36" : "1.28", name, lab.Kubelet, lab.Containerd.CgroupParent);
        change?.Invoke(pod);
        HoldingRelay relay = await HoldingRelay.StartAsync(Path.Combine(folder, "relay.sock"), lab.Containerd.SocketPath);
        var run = new SidecarRun(lab, relay, pod, folder, flags);
        try
        {
            await run.StartCrishimAsync();
            await run.LoggedAsync("Supervision knows the node");
            await run.Kubelet.RunPodAsync();
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>What containerd has of the sidecar, oldest first. Two that run are a failure whenever they are seen.</summary>
    public async Task<Container[]> LineageAsync()
    {
        ListContainersResponse list = await Bare.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = Kubelet.SandboxId } });
        Container[] lineage = [.. list.Containers.Where(container => container.Metadata.Name == Sidecar).OrderBy(container => container.CreatedAt)];
        return lineage.Count(one => one.State == ContainerState.ContainerRunning) <= 1
            ? lineage
            : throw Explain($"two run at a time: {Describe(lineage)}");
    }

    /// <summary>Lets the running sidecar end with this code (or "oom"); gives its id. It is dead when this returns.</summary>
    public async Task<string> DieAsync(string code)
    {
        string id = (await RunningAsync())!.Id;
        await Bare.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = id, Cmd = { "sh", "-c", $"echo {code} > /tmp/code" }, Timeout = 20 });
        await EndsAsync(id);
        return id;
    }

    /// <summary>kill -9 of the sidecar, behind crishim's back.</summary>
    public async Task<string> KillSidecarAsync()
    {
        string id = (await RunningAsync())!.Id;
        await Bare.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = id, Timeout = 0 });
        return id;
    }

    public async Task<Container?> RunningAsync() => (await LineageAsync()).SingleOrDefault(one => one.State == ContainerState.ContainerRunning);

    /// <summary>
    /// Waits until the lineage is at rest: one instance that runs, of an attempt from <paramref name="least"/> to <paramref name="most"/>,
    /// none that is only created, and at most one that is dead; and callers are shown the same.
    /// </summary>
    public async Task<Container> SettlesAsync(uint least, uint? most = null)
    {
        Container[] seen = [];
        try
        {
            await Condition.BecomesTrueAsync($"attempt {least} to {most ?? least} runs alone", Patience, async () =>
            {
                try
                {
                    seen = await LineageAsync();
                }
                catch (RpcException away) when (away.StatusCode is StatusCode.Unavailable or StatusCode.Unknown)
                {
                    return false;
                }

                bool isAtRest = seen.Count(one => one.State == ContainerState.ContainerRunning) == 1
                    && seen.All(one => one.State is ContainerState.ContainerRunning or ContainerState.ContainerExited)
                    && seen.Length <= 2
                    && seen[^1].State == ContainerState.ContainerRunning
                    && seen[^1].Metadata.Attempt >= least;
                return isAtRest && await IsShownAsync(seen[^1].Id);
            });
        }
        catch (TimeoutException failure)
        {
            throw Explain($"{failure.Message} There is: {Describe(seen)}", failure);
        }

        if (seen[^1].Metadata.Attempt > (most ?? least))
        {
            throw Explain($"attempt {least} to {most ?? least} was to run. There is: {Describe(seen)}");
        }

        return seen[^1];
    }

    public Task EndsAsync(string id) => Condition.BecomesTrueAsync("the sidecar has ended", Patience, async () =>
        (await Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id })).Status.State == ContainerState.ContainerExited);

    /// <summary>The double saw nothing that would have confused a real kubelet, and crishim had no fault.</summary>
    public void Check()
    {
        if (Kubelet.Violations.Count > 0)
        {
            throw Explain($"the kubelet saw: {string.Join("; ", Kubelet.Violations)}");
        }

        CheckLog();
    }

    public override async ValueTask DisposeAsync()
    {
        await Kubelet.DisposeAsync();
        await base.DisposeAsync();
    }

    protected override string SandboxId => Kubelet.SandboxId;

    private async Task<bool> IsShownAsync(string id)
    {
        try
        {
            ContainerStatusResponse status = await Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id });
            return status.Status.State == ContainerState.ContainerRunning;
        }
        catch (RpcException hidden) when (hidden.StatusCode is StatusCode.NotFound or StatusCode.Unavailable)
        {
            return false;
        }
    }

    private static string Describe(Container[] lineage) =>
        string.Join(", ", lineage.Select(one => $"{one.Metadata.Attempt} {one.State} {one.Id[..12]}"));
}
