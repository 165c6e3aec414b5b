using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Teardown;

/// <summary>A running <see cref="TeardownPod"/>, and the calls that end it.</summary>
internal sealed class TeardownRun : LabRun
{
    private readonly string _records;
    private readonly Dictionary<string, string> _ids = new(StringComparer.Ordinal);
    private string _sandbox = "";

    private TeardownRun(SidecarLab lab, HoldingRelay relay, TeardownPod pod, string folder, string records, string[] flags)
        : base(lab, relay, folder, flags)
    {
        Pod = pod;
        _records = records;
    }

    public TeardownPod Pod { get; }

    /// <summary>In the order in which it happened.</summary>
    public IReadOnlyList<WrittenLine> Lines => WrittenLine.Read(Path.Combine(_records, "lines"));

    protected override string SandboxId => _sandbox;

    public static async Task<TeardownRun> StartAsync(SidecarLab lab, Action<TeardownPod>? change = null, params string[] flags)
    {
        string name = lab.NextPodName();
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, name)).FullName;
        string records = Directory.CreateDirectory(Path.Combine(folder, "record")).FullName;
        var pod = new TeardownPod(name, records, lab.Containerd.CgroupParent);
        change?.Invoke(pod);
        HoldingRelay relay = await HoldingRelay.StartAsync(Path.Combine(folder, "relay.sock"), lab.Containerd.SocketPath);
        var run = new TeardownRun(lab, relay, pod, folder, records, flags);
        try
        {
            await run.StartCrishimAsync();
            await run.RunPodAsync();
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>The first instance's.</summary>
    public string IdOf(string container) => _ids[container];

    /// <summary>Lets those go on that wait for it.</summary>
    public void Open(string gate) => File.WriteAllText(Path.Combine(_records, gate), "");

    // ---- Calls -------------------------------------------------------------------------------------------------------

    /// <summary>With the deadline of a kubelet's, which is its time-out and two minutes.</summary>
    public async Task StopContainerAsync(string container, int timeout = 20, CancellationToken cancellationToken = default) =>
        await Caller.Runtime.StopContainerAsync(
            new StopContainerRequest { ContainerId = IdOf(container), Timeout = timeout },
            deadline: In(timeout + 120), cancellationToken: cancellationToken);

    /// <summary>As kubelet 1.28 does: all at once, sidecars and mains alike.</summary>
    public Task StopAllAsync(CancellationToken cancellationToken = default) =>
        Task.WhenAll(TeardownPod.Names.Select(name => StopContainerAsync(name, cancellationToken: cancellationToken)));

    public async Task StopSandboxAsync(double deadline = 120, CancellationToken cancellationToken = default) =>
        await Caller.Runtime.StopPodSandboxAsync(
            new StopPodSandboxRequest { PodSandboxId = _sandbox }, deadline: In(deadline), cancellationToken: cancellationToken);

    public async Task RemoveSandboxAsync() =>
        await Caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = _sandbox }, deadline: In(120));

    public async Task RemoveContainerAsync(string container) =>
        await Caller.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = IdOf(container) }, deadline: In(120));

    // ---- What is seen ------------------------------------------------------------------------------------------------

    /// <summary>Waits until it was written down.</summary>
    public Task HappensAsync(string line, int times = 1) => BecomesTrueAsync(
        $"'{line}' was written down {times} times", () => Task.FromResult(Lines.Count(one => one.Text == line) >= times));

    public TimeSpan At(string line) => Lines.First(one => one.Text == line).At;

    /// <summary>Of the container's first instance.</summary>
    public async Task<ContainerStatus> StatusAsync(string container) =>
        (await Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = IdOf(container) })).Status;

    /// <summary>By the clock that processes write down; containerd's own is the wall's.</summary>
    public async Task<TimeSpan> FinishedAtAsync(string container)
    {
        long finishedAt = (await StatusAsync(container)).FinishedAt;
        TimeSpan ago = TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch.AddTicks(finishedAt / 100);
        return WrittenLine.Uptime() - ago;
    }

    /// <summary>Waits until containerd says that the sandbox is not ready; then nothing of the pod is left running.</summary>
    public async Task SandboxEndsAsync()
    {
        await BecomesTrueAsync("the sandbox has ended", async () =>
        {
            await MendLostExitAsync();
            try
            {
                PodSandboxStatusResponse status =
                    await Bare.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = _sandbox });
                return status.Status.State == PodSandboxState.SandboxNotready;
            }
            catch (RpcException failure) when (failure.StatusCode == StatusCode.NotFound)
            {
                return true;
            }
            catch (RpcException)
            {
                // containerd is being started again.
                return false;
            }
        });
        await AssertNothingRunsAsync();
    }

    /// <summary>Neither for containerd nor on the machine.</summary>
    public async Task AssertNothingRunsAsync()
    {
        ListContainersResponse list = await Bare.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } });
        Assert.DoesNotContain(list.Containers, container => container.State != ContainerState.ContainerExited);
        int[] left = [.. Processes()];
        if (left.Length > 0)
        {
            throw Explain($"processes {string.Join(", ", left)} of the pod are left");
        }
    }

    /// <summary>All that the pod's containers wrote down, but for "up" and "tick".</summary>
    public void AssertOrder(params string[] order)
    {
        string[] seen = [.. Lines.Where(line => line.What is not ("up" or "tick")).Select(line => line.Text)];
        if (!seen.SequenceEqual(order))
        {
            throw Explain($"expected: {string.Join(", ", order)}\nseen: {string.Join(", ", Lines)}");
        }
    }

    /// <summary>Both mains, in any order, have their signal and end before the sidecars get theirs, the last started first.</summary>
    /// <param name="isContainerdForgetful">It was killed: the one signal that it sends to a container is one for each of its lives.</param>
    public void AssertEndedInOrder(bool isContainerdForgetful = false)
    {
        IEnumerable<string> told = Lines.Where(line => line.What is not ("up" or "tick")).Select(line => line.Text);
        string[] seen = [.. isContainerdForgetful ? told.Distinct() : told];
        bool mains = seen.Take(4).Order().SequenceEqual(["app TERM", "app end", "web TERM", "web end"]);
        bool sidecars = seen.Skip(4).SequenceEqual(["proxy TERM", "proxy end", "log TERM", "log end"]);
        if (!mains || !sidecars)
        {
            throw Explain($"not in order: {string.Join(", ", Lines)}");
        }

        CheckLog();
    }

    public override Xunit.Sdk.XunitException Explain(string what, Exception? failure = null) =>
        base.Explain(
            $"{what}\nwritten down: {string.Join(", ", Lines.Select(line => $"{line.Text} {line.At.TotalSeconds:0.00}"))}", failure);

    private async Task RunPodAsync()
    {
        await LoggedAsync("Supervision knows the node");
        PodRecipe recipe = Pod.Recipe();
        _sandbox = (await Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = recipe.Sandbox() })).PodSandboxId;
        foreach (string name in TeardownPod.Names)
        {
            CreateContainerRequest create = recipe.Create(_sandbox, Pod.Container(name));
            string id = (await Caller.Runtime.CreateContainerAsync(create)).ContainerId;
            _ids[name] = id;
            await Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id });
            await HappensAsync($"{name} up");
        }
    }

    private IEnumerable<int> Processes()
    {
        string cgroup = $"{Pod.CgroupParent}/pod{Pod.Uid}/";
        foreach (string process in Directory.EnumerateDirectories("/proc").Where(path => char.IsAsciiDigit(Path.GetFileName(path)[0])))
        {
            string text;
            try
            {
                text = File.ReadAllText(Path.Combine(process, "cgroup"));
            }
            catch (IOException)
            {
                continue;
            }

            if (text.Contains(cgroup, StringComparison.Ordinal))
            {
                yield return int.Parse(Path.GetFileName(process), CultureInfo.InvariantCulture);
            }
        }
    }

    private static DateTime In(double seconds) => TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(seconds);
}
