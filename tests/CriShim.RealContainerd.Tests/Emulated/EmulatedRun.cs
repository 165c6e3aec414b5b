using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>An <see cref="EmulatedPod"/>, created and started as a kubelet does it: the app once the init container is shown completed.</summary>
internal sealed class EmulatedRun : LabRun
{
    private readonly string _records;
    private string _sandbox = "";

    private EmulatedRun(SidecarLab lab, HoldingRelay relay, EmulatedPod pod, string folder, string records, string[] flags)
        : base(lab, relay, folder, flags)
    {
        Pod = pod;
        _records = records;
    }

    public EmulatedPod Pod { get; }

    public string Sandbox => _sandbox;

    public string StateFolder => Path.Combine(Folder, "state", _sandbox);

    /// <summary>The id that callers know the sidecar by.</summary>
    public string Proxy { get; private set; } = "";

    public string App { get; private set; } = "";

    /// <summary>What was written down, in the order in which it happened.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            string file = Path.Combine(_records, "lines");
            return File.Exists(file) ? File.ReadAllLines(file) : [];
        }
    }

    protected override string SandboxId => _sandbox;

    /// <summary>A pod whose sandbox runs.</summary>
    public static async Task<EmulatedRun> BeginAsync(SidecarLab lab, Action<EmulatedPod>? change = null)
    {
        string name = lab.NextPodName();
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, name)).FullName;
        string records = Directory.CreateDirectory(Path.Combine(folder, "record")).FullName;
        string manifests = Directory.CreateDirectory(Path.Combine(folder, "manifests")).FullName;
        var pod = new EmulatedPod(name, records, lab.Kubelet.PodLogs, lab.Containerd.CgroupParent);
        change?.Invoke(pod);
        await File.WriteAllTextAsync(Path.Combine(manifests, "pod.yaml"), pod.Manifest());
        HoldingRelay relay = await HoldingRelay.StartAsync(Path.Combine(folder, "relay.sock"), lab.Containerd.SocketPath);
        string[] flags = ["--pod-manifests", manifests, "--node-name", EmulatedPod.NodeName];
        var run = new EmulatedRun(lab, relay, pod, folder, records, flags);
        try
        {
            await run.StartCrishimAsync();
            await run.LoggedAsync("Supervision knows the node");
            await run.LoggedAsync("the static manifests source is current (1 pods)");
            run._sandbox = (await run.Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = pod.Recipe().Sandbox() })).PodSandboxId;
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>A pod whose sidecar is shown completed, and whose app runs.</summary>
    public static async Task<EmulatedRun> StartAsync(SidecarLab lab, Action<EmulatedPod>? change = null)
    {
        EmulatedRun run = await BeginAsync(lab, change);
        try
        {
            await run.StartProxyAsync();
            _ = await run.IsShownCompletedAsync();
            await run.HappensAsync("proxy up");
            await run.StartAppAsync();
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    // ---- Calls -------------------------------------------------------------------------------------------------------

    public async Task StartProxyAsync(uint attempt = 0) => Proxy = await StartAsync(EmulatedPod.Proxy, attempt);

    public async Task StartAppAsync()
    {
        App = await StartAsync(EmulatedPod.App, 0);
        await HappensAsync("app up");
    }

    /// <summary>Lets those go on that wait for it.</summary>
    public void Open(string gate) => File.WriteAllText(Path.Combine(_records, gate), "");

    public async Task RemoveAsync(string id, double patience = 30) => await Caller.Runtime.RemoveContainerAsync(
        new RemoveContainerRequest { ContainerId = id }, deadline: TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(patience));

    /// <summary>kill -9 of the sidecar that runs, behind crishim's back; gives its id.</summary>
    public async Task<string> KillProxyAsync()
    {
        string id = (await ListAsync(Bare)).Single(one => one.State == ContainerState.ContainerRunning).Id;
        await Bare.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = id, Timeout = 0 });
        return id;
    }

    /// <summary>The process of the sidecar that runs.</summary>
    public async Task<int> PidOfProxyAsync()
    {
        Container running = await RunsAsync();
        ContainerStatusResponse status =
            await Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = running.Id, Verbose = true });
        using var info = System.Text.Json.JsonDocument.Parse(status.Info["info"]);
        return info.RootElement.GetProperty("pid").GetInt32();
    }

    /// <summary>kill -9, also where no containerd is there to do it.</summary>
    public static void KillProcess(int pid)
    {
        using System.Diagnostics.Process process = System.Diagnostics.Process.GetProcessById(pid);
        process.Kill();
    }

    /// <summary>All that crishim has written down is lost.</summary>
    public void LoseRecords()
    {
        foreach (string folder in Directory.GetDirectories(Path.Combine(Folder, "state")))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    // ---- What is seen ------------------------------------------------------------------------------------------------

    /// <summary>Waits until it was written down.</summary>
    public Task HappensAsync(string line, int times = 1) => BecomesTrueAsync(
        $"'{line}' was written down {times} times", () => Task.FromResult(Lines.Count(one => one == line) >= times));

    /// <summary>All instances of the sidecar, oldest first.</summary>
    public async Task<Container[]> ListAsync(CriCaller caller, ContainerState? state = null)
    {
        var filter = new ContainerFilter { PodSandboxId = _sandbox };
        if (state is { } wanted)
        {
            filter.State = new ContainerStateValue { State = wanted };
        }

        ListContainersResponse list = await caller.Runtime.ListContainersAsync(new ListContainersRequest { Filter = filter });
        return [.. list.Containers.Where(one => one.Metadata.Name == EmulatedPod.Proxy).OrderBy(one => one.CreatedAt)];
    }

    public async Task<ContainerStatus> StatusAsync(CriCaller caller, string id) =>
        (await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id })).Status;

    /// <summary>Waits until exactly one instance of the sidecar runs, by containerd's own word; gives it.</summary>
    public async Task<Container> RunsAsync(uint attempt = 0)
    {
        Container? running = null;
        await BecomesTrueAsync($"attempt {attempt} of the sidecar runs", async () =>
        {
            running = (await ListAsync(Bare)).SingleOrDefault(one => one.State == ContainerState.ContainerRunning);
            return running?.Metadata.Attempt >= attempt;
        });
        return running!;
    }

    /// <summary>Waits until callers are shown the sidecar as ended, in the list and in its status; gives the status.</summary>
    public async Task<ContainerStatus> IsShownEndedAsync()
    {
        ContainerStatus status = new();
        await BecomesTrueAsync("the sidecar is shown as ended", async () =>
        {
            try
            {
                Container? newest = (await ListAsync(Caller)).LastOrDefault();
                status = newest is null ? new() : await StatusAsync(Caller, newest.Id);
                return newest?.State == ContainerState.ContainerExited && status.State == ContainerState.ContainerExited;
            }
            catch (RpcException)
            {
                // Of those one was killed and is being started again.
                return false;
            }
        });
        return status;
    }

    public async Task<ContainerStatus> IsShownCompletedAsync()
    {
        ContainerStatus shown = await IsShownEndedAsync();
        if (shown is not { ExitCode: 0, Reason: "Completed", FinishedAt: > 0 } || shown.FinishedAt < shown.StartedAt)
        {
            throw Explain($"shown is {shown}");
        }

        CheckLog();
        return shown;
    }

    /// <summary>The sidecar's signal came after the app's end.</summary>
    public void AssertEndedAfterApp()
    {
        string[] seen = [.. Lines.Where(line => line is "app end" or "proxy TERM").Distinct()];
        if (!seen.SequenceEqual(["app end", "proxy TERM"]))
        {
            throw Explain("not in order");
        }
    }

    public override Xunit.Sdk.XunitException Explain(string what, Exception? failure = null) =>
        base.Explain($"{what}\nwritten down: {string.Join(", ", Lines)}", failure);

    private async Task<string> StartAsync(string name, uint attempt)
    {
        CreateContainerRequest create = Pod.Recipe().Create(_sandbox, Pod.Container(name, attempt));
        string id = (await Caller.Runtime.CreateContainerAsync(create)).ContainerId;
        _ = await Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id });
        return id;
    }
}
