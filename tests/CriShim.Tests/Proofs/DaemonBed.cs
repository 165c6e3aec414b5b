using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;

namespace CriShim.Tests.Proofs;

/// <summary>The executable between a fake node and a caller, with its log and state in a folder of its own.</summary>
internal sealed class DaemonBed : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly TempDirectory _directory;

    private DaemonBed(TempDirectory directory, FakeNode node, CrishimProcess crishim)
    {
        _directory = directory;
        Node = node;
        Crishim = crishim;
        Caller = new CriCaller(crishim.ListenPath);
    }

    public FakeNode Node { get; }

    public CrishimProcess Crishim { get; }

    public CriCaller Caller { get; }

    public string StateDirectory => _directory.File("state");

    public string Folder => _directory.Path;

    public string AdminPath => $"{Crishim.ListenPath}.a";

    /// <summary>It knows the node, which is empty.</summary>
    /// <param name="configuration">Of the configuration file; empty for the defaults.</param>
    /// <param name="more">Flags of <c>serve</c>.</param>
    public static async Task<DaemonBed> StartAsync(string configuration = "", params string[] more)
    {
        var directory = new TempDirectory();
        FakeNode node = await FakeNode.StartAsync(directory.File("node.sock"));
        string file = directory.File("crishim.yaml");
        await File.WriteAllTextAsync(file, $"kind: CriShimConfiguration\n{configuration}\n");
        CrishimProcess crishim = await CrishimProcess.ServeAsync(
            directory.File("crishim.sock"), node.SocketPath, directory.Path, ["--config", file, .. more]);
        var bed = new DaemonBed(directory, node, crishim);
        await bed.LoggedAsync("Supervision knows the node");
        await bed.LoggedAsync("Events of the backend: connected");
        return bed;
    }

    /// <summary>A pod of three sidecars, as <see cref="SidecarPods"/> has them. The sandbox's id.</summary>
    public async Task<string> RunPodAsync(int number, CancellationToken cancellation = default)
    {
        PodSandboxConfig sandbox = SidecarPods.Sandbox(number);
        RunPodSandboxResponse run = await Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = sandbox }, cancellationToken: cancellation);
        foreach (string name in SidecarPods.Names)
        {
            CreateContainerResponse created = await Caller.Runtime.CreateContainerAsync(
                SidecarPods.Create(run.PodSandboxId, sandbox, name), cancellationToken: cancellation);
            await Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId }, cancellationToken: cancellation);
        }

        return run.PodSandboxId;
    }

    /// <summary>As a kubelet: stop, remove what is dead, remove the sandbox.</summary>
    public async Task EndPodAsync(string sandboxId, CancellationToken cancellation = default)
    {
        await Caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandboxId }, cancellationToken: cancellation);
        ListContainersResponse left = await Caller.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = sandboxId } }, cancellationToken: cancellation);
        foreach (Container container in left.Containers)
        {
            await Caller.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = container.Id }, cancellationToken: cancellation);
        }

        await Caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandboxId }, cancellationToken: cancellation);
    }

    /// <summary>One of the pod's sidecars dies, and runs again.</summary>
    public async Task RestartsADeadOneAsync(string sandboxId)
    {
        string dead = Node.RunningIn(sandboxId)[0];
        Node.Kill([dead]);
        await BecomesTrueAsync($"a sidecar of {sandboxId} runs again", () =>
        {
            IReadOnlyList<string> running = Node.RunningIn(sandboxId);
            return running.Count == SidecarPods.Names.Count && !running.Contains(dead);
        });
    }

    public Task LoggedAsync(string text) => BecomesTrueAsync($"the log has '{text}'", () => Crishim.Log.Contains(text, StringComparison.Ordinal));

    /// <summary>Waits; whatever does not come has the log beside it.</summary>
    public async Task BecomesTrueAsync(string what, Func<bool> holds)
    {
        try
        {
            await Condition.BecomesTrueAsync(what, Patience, () => Crishim.HasExited ? throw new LabException($"crishim has exited.\n{Crishim.Log}") : holds());
        }
        catch (TimeoutException failure)
        {
            string log = Crishim.Log;
            throw new Xunit.Sdk.XunitException($"{failure.Message}\n{log[^Math.Min(log.Length, 20_000)..]}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        Caller.Dispose();
        await Crishim.DisposeAsync();
        await Node.DisposeAsync();
        _directory.Dispose();
    }
}
