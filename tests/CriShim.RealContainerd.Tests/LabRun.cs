using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>A test's crishim before a lab's containerd, both to be killed, and a relay between them that can hold calls.</summary>
internal abstract class LabRun : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(45);

    private readonly StringBuilder _logs = new();
    /// <summary>What containerd notes late, it notes within milliseconds.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(5);

    private bool _isDirect;
    private bool _wasContainerdKilled;
    private long? _lostSince;

    /// <param name="lab">Of containerd.</param>
    /// <param name="relay">Before containerd; this run's from here on.</param>
    /// <param name="folder">For the run's own files, below the lab's.</param>
    /// <param name="flags">Of crishim.</param>
    protected LabRun(SidecarLab lab, HoldingRelay relay, string folder, string[] flags)
    {
        Lab = lab;
        Relay = relay;
        Folder = folder;
        Flags = flags;
        Bare = new CriCaller(lab.Containerd.SocketPath);
        Caller = new CriCaller(Path.Combine(folder, "crishim.sock"));
    }

    /// <summary>Of the next crishim.</summary>
    public string[] Flags { get; set; }

    public HoldingRelay Relay { get; }

    /// <summary>Through crishim.</summary>
    public CriCaller Caller { get; }

    /// <summary>containerd's own socket: what is really there.</summary>
    public CriCaller Bare { get; }

    public CrishimProcess Crishim { get; private set; } = null!;

    /// <summary>Of all crishims of this run.</summary>
    public string Log => _logs + Crishim?.Log;

    protected SidecarLab Lab { get; }

    protected string Folder { get; }

    /// <summary>The pod's; removed with the run.</summary>
    protected abstract string SandboxId { get; }

    /// <summary>From the next start on crishim has containerd's own socket before it: a crash cancels what containerd is at.</summary>
    public void PassTheRelay() => _isDirect = true;

    public async Task StartCrishimAsync()
    {
        _logs.Append(Crishim?.Log);
        string containerd = _isDirect ? Lab.Containerd.SocketPath : Relay.SocketPath;
        Crishim = await CrishimProcess.ServeAsync(
            Path.Combine(Folder, "crishim.sock"), containerd, Folder, ["--config", Lab.ConfigFile, .. Flags]);
    }

    /// <summary>kill -9.</summary>
    public async Task KillCrishimAsync()
    {
        await Crishim.KillAsync();
        await Crishim.DisposeAsync();
    }

    /// <summary>kill -9.</summary>
    public async Task KillContainerdAsync()
    {
        _wasContainerdKilled = true;
        await Lab.Containerd.KillAsync();
        Relay.Cut();
    }

    public Task StartContainerdAsync() => Lab.Containerd.StartAsync();

    /// <summary>
    /// containerd 1.6 that was killed can lose the exit that falls into its own start: for its CRI the container runs for ever, its task
    /// is stopped, and no StopContainer or StopPodSandbox of anybody returns. Only another start mends that, which is one more kill to
    /// stand for whoever is tested.
    /// </summary>
    public async Task MendLostExitAsync()
    {
        if (!_wasContainerdKilled || !await HasLostExitAsync())
        {
            _lostSince = null;
        }
        else if ((_lostSince ??= TimeProvider.System.GetTimestamp()) is { } since && TimeProvider.System.GetElapsedTime(since) > LostAfter)
        {
            _lostSince = null;
            await KillContainerdAsync();
            await StartContainerdAsync();
        }
    }

    private async Task<bool> HasLostExitAsync()
    {
        try
        {
            DateTime deadline = TimeProvider.System.GetUtcNow().UtcDateTime + Patience;
            ListContainersResponse list = await Bare.Runtime.ListContainersAsync(
                new ListContainersRequest
                {
                    Filter = new ContainerFilter
                    {
                        PodSandboxId = SandboxId, State = new ContainerStateValue { State = ContainerState.ContainerRunning },
                    },
                },
                deadline: deadline);
            foreach (Container container in list.Containers)
            {
                ContainerStatusResponse status = await Bare.Runtime.ContainerStatusAsync(
                    new ContainerStatusRequest { ContainerId = container.Id, Verbose = true }, deadline: deadline);
                using var info = System.Text.Json.JsonDocument.Parse(status.Info["info"]);
                int pid = info.RootElement.GetProperty("pid").GetInt32();
                if (status.Status.State == ContainerState.ContainerRunning && !Directory.Exists($"/proc/{pid}"))
                {
                    return true;
                }
            }

            return false;
        }
        catch (RpcException)
        {
            // It is being started again.
            return false;
        }
    }

    /// <summary>How often it was logged.</summary>
    public int Count(string text) => Log.Split(text).Length - 1;

    public Task LoggedAsync(string text, int times = 1) =>
        BecomesTrueAsync($"crishim has logged '{text}' {times} times", () => Task.FromResult(Count(text) >= times));

    /// <summary>Waits, and tells in its failure what all the others have logged.</summary>
    public async Task BecomesTrueAsync(string what, Func<Task<bool>> holds)
    {
        try
        {
            await Condition.BecomesTrueAsync(what, Patience, holds);
        }
        catch (TimeoutException failure)
        {
            throw Explain(failure.Message, failure);
        }
    }

    public virtual Xunit.Sdk.XunitException Explain(string what, Exception? failure = null) => new(
        $"{what}\n--- calls: {string.Join(' ', Relay.Methods.TakeLast(40))}\n--- containerd {Lab.Version} ---\n{Lab.Containerd.LogTail}\n"
        + $"--- crishim ---\n{string.Join('\n', Log.Split('\n').TakeLast(80))}", failure);

    /// <summary>crishim had no fault.</summary>
    public void CheckLog()
    {
        foreach (string fault in new[] { "Supervision of sandbox", "Unhandled exception", "goes through without it" })
        {
            if (Log.Contains(fault, StringComparison.Ordinal))
            {
                throw Explain($"crishim logged '{fault}'");
            }
        }
    }

    public virtual async ValueTask DisposeAsync()
    {
        if (Crishim is { } crishim)
        {
            await crishim.DisposeAsync();
        }

        if (Lab.Containerd.ProcessId is null)
        {
            await Lab.Containerd.StartAsync();
        }

        try
        {
            if (_wasContainerdKilled && await HasLostExitAsync())
            {
                await KillContainerdAsync();
                await StartContainerdAsync();
            }

            await RunningPod.StopSandboxAsync(Bare, SandboxId);
            await Bare.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = SandboxId });
        }
        catch (RpcException gone) when (gone.StatusCode == StatusCode.NotFound)
        {
            // The test removed it, or did not get that far.
        }

        await Relay.DisposeAsync();
        Caller.Dispose();
        Bare.Dispose();
    }
}
