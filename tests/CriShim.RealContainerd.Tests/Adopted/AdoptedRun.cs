using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>An <see cref="AdoptedPod"/>, created and started as a kubelet does it: one container after another, in the order of the spec.</summary>
internal sealed class AdoptedRun : LabRun
{
    private readonly string _records;
    private readonly Dictionary<string, string> _ids = new(StringComparer.Ordinal);
    private string _sandbox = "";

    private AdoptedRun(SidecarLab lab, HoldingRelay relay, AdoptedPod pod, string folder, string records, string[] flags)
        : base(lab, relay, folder, flags)
    {
        Pod = pod;
        _records = records;
    }

    public AdoptedPod Pod { get; }

    public string Sandbox => _sandbox;

    public string PodAddress { get; private set; } = "";

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

    public static async Task<AdoptedRun> StartAsync(SidecarLab lab, Action<AdoptedPod>? change = null, bool withMain = true)
    {
        string name = lab.NextPodName();
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, name)).FullName;
        string records = Directory.CreateDirectory(Path.Combine(folder, "record")).FullName;
        string manifests = Directory.CreateDirectory(Path.Combine(folder, "manifests")).FullName;
        var pod = new AdoptedPod(name, records, lab.Containerd.CgroupParent);
        change?.Invoke(pod);
        await File.WriteAllTextAsync(Path.Combine(manifests, "pod.yaml"), pod.Manifest());
        HoldingRelay relay = await HoldingRelay.StartAsync(Path.Combine(folder, "relay.sock"), lab.Containerd.SocketPath);
        string[] flags = ["--pod-manifests", manifests, "--node-name", AdoptedPod.NodeName];
        var run = new AdoptedRun(lab, relay, pod, folder, records, flags);
        try
        {
            await run.StartCrishimAsync();
            await run.LoggedAsync("Supervision knows the node");
            await run.LoggedAsync("the static manifests source is current (1 pods)");
            await run.RunSandboxAsync();
            await run.StartContainerAsync(await run.CreateContainerAsync(AdoptedPod.Proxy));
            await run.HappensAsync("proxy up");
            if (withMain)
            {
                await run.StartContainerAsync(await run.CreateContainerAsync(AdoptedPod.App));
                await run.HappensAsync("app up");
            }

            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>The instance that the test itself created last.</summary>
    public string IdOf(string container) => _ids[container];

    /// <summary>Lets those go on that wait for it.</summary>
    public void Open(string gate) => File.WriteAllText(Path.Combine(_records, gate), "");

    /// <summary>Lets the main end.</summary>
    public void EndMain(int attempt = 0) => Open($"go{attempt}");

    // ---- Calls -------------------------------------------------------------------------------------------------------

    public async Task<string> CreateContainerAsync(string name, uint attempt = 0)
    {
        CreateContainerRequest create = Pod.Recipe().Create(_sandbox, Pod.Container(name, attempt));
        return _ids[name] = (await Caller.Runtime.CreateContainerAsync(create)).ContainerId;
    }

    /// <param name="id">The container.</param>
    /// <param name="patience">In seconds; a kubelet has two minutes.</param>
    public async Task StartContainerAsync(string id, double patience = 120) => await Caller.Runtime.StartContainerAsync(
        new StartContainerRequest { ContainerId = id }, deadline: TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(patience));

    /// <summary>kill -9 of the sidecar that runs, behind crishim's back; gives its id.</summary>
    public async Task<string> KillProxyAsync()
    {
        string id = (await ListAsync(Bare)).Single(one => one.State == ContainerState.ContainerRunning).Id;
        await Bare.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = id, Timeout = 0 });
        return id;
    }

    // ---- What is seen ------------------------------------------------------------------------------------------------

    /// <summary>Waits until it was written down.</summary>
    public Task HappensAsync(string line, int times = 1) => BecomesTrueAsync(
        $"'{line}' was written down {times} times", () => Task.FromResult(Lines.Count(one => one == line) >= times));

    /// <summary>All instances of the sidecar, oldest first.</summary>
    public async Task<Container[]> ListAsync(CriCaller caller)
    {
        ListContainersResponse list = await caller.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } });
        return [.. list.Containers.Where(one => one.Metadata.Name == AdoptedPod.Proxy).OrderBy(one => one.CreatedAt)];
    }

    public static async Task<ContainerStatus> StatusAsync(CriCaller caller, string id) =>
        (await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id })).Status;

    /// <summary>Waits until callers are shown this of the sidecar's newest instance, in the list and in its status; gives the status.</summary>
    /// <param name="state">What is to be shown.</param>
    /// <param name="attempt">Which attempt that instance is at least.</param>
    public async Task<ContainerStatus> IsShownAsync(ContainerState state, uint attempt = 0)
    {
        ContainerStatus status = new();
        await BecomesTrueAsync($"the sidecar's attempt {attempt} is shown {state}", async () =>
        {
            try
            {
                Container? newest = (await ListAsync(Caller)).LastOrDefault();
                status = newest is null ? new() : await StatusAsync(Caller, newest.Id);
                return newest?.State == state && status.State == state && status.Metadata.Attempt >= attempt;
            }
            catch (Grpc.Core.RpcException)
            {
                // Of those one was killed and is being started again.
                return false;
            }
        });
        return status;
    }

    /// <summary>
    /// The main has completed, and the sidecar after it: shown as completed with its true exit code in the message alone, while containerd
    /// has the code itself.
    /// </summary>
    /// <param name="trueExitCodes">One of them is the true one.</param>
    public async Task<ContainerStatus> IsShownCompletedAsync(params int[] trueExitCodes)
    {
        ContainerStatus shown = await IsShownAsync(ContainerState.ContainerExited);
        ContainerStatus bare = await StatusAsync(Bare, shown.Id);
        Assert.Equal(ContainerState.ContainerExited, bare.State);
        Assert.Contains(bare.ExitCode, trueExitCodes);
        if (shown is not { ExitCode: 0, Reason: "Completed" } || shown.FinishedAt != bare.FinishedAt
            || !shown.Message.Contains($"exit code {bare.ExitCode} ", StringComparison.Ordinal))
        {
            throw Explain($"shown is {shown}");
        }

        CheckLog();
        return shown;
    }

    /// <summary>The sidecar's signal came after the main's end, and once.</summary>
    /// <param name="isContainerdForgetful">It was killed: the one signal that it sends to a container is one for each of its lives.</param>
    public void AssertEndedAfterMain(bool isContainerdForgetful = false)
    {
        IEnumerable<string> lines = Lines.Where(line => line is "app end" or "proxy TERM");
        string[] seen = [.. isContainerdForgetful ? lines.Distinct() : lines];
        if (!seen.SequenceEqual(["app end", "proxy TERM"]))
        {
            throw Explain("not in order");
        }
    }

    public override Xunit.Sdk.XunitException Explain(string what, Exception? failure = null) =>
        base.Explain($"{what}\nwritten down: {string.Join(", ", Lines)}", failure);

    private async Task RunSandboxAsync()
    {
        _sandbox = (await Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = Pod.Recipe().Sandbox() })).PodSandboxId;
        PodSandboxStatusResponse status = await Caller.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = _sandbox });
        PodAddress = status.Status.Network.Ip;
    }
}
