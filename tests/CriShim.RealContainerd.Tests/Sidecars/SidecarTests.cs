using System.Text;
using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.KubeletDouble;
using CriShim.TestSupport.Lab;
using Google.Protobuf;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>What callers and the machine see of sidecars that die.</summary>
public abstract class SidecarTests(SidecarLab lab)
{
    private const string Sidecar = KubeletPod.Sidecar;

    [Theory]
    [InlineData("3", 3)]
    [InlineData("0", 0)]
    [InlineData("oom", 137)]
    public async Task Death_KubeletRelistsAtEveryStep_NeverSeesItDead(string code, int exitCode)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(
            lab, pod => pod.Spec(Sidecar).Linux.Resources.MemoryLimitInBytes = code == "oom" ? 24 << 20 : 0);
        RelayHold create = run.Relay.Hold("CreateContainer", HoldPoint.Received);
        RelayHold created = run.Relay.Hold("CreateContainer", HoldPoint.Answered);
        RelayHold start = run.Relay.Hold("StartContainer", HoldPoint.Received);
        RelayHold started = run.Relay.Hold("StartContainer", HoldPoint.Answered);

        string dead = await run.DieAsync(code);
        foreach (RelayHold step in new[] { create, created, start, started })
        {
            await step.ReachedAsync();
            await run.Kubelet.RelistAsync();
            // A caller's filter is for what it is shown.
            Assert.Equal([dead], await ShownAsync(run, ContainerState.ContainerRunning));
            Assert.Empty(await ShownAsync(run, ContainerState.ContainerExited));
            Assert.Empty(await ShownAsync(run, ContainerState.ContainerCreated));
            step.Release();
        }

        await run.LoggedAsync("runs again");
        await run.Kubelet.RelistAsync();

        Container now = await run.SettlesAsync(1);
        Assert.Equal(1, run.Kubelet.RestartCount(Sidecar));
        Assert.Equal((now.Id, ContainerState.ContainerRunning), (run.Kubelet.Newest(Sidecar).Id, run.Kubelet.Newest(Sidecar).State));
        Assert.Equal((dead, exitCode), (run.Kubelet.Before(Sidecar)!.Id, run.Kubelet.Before(Sidecar)!.ExitCode));
        Assert.Empty(run.Kubelet.Creates);
        Assert.Contains(code switch { "0" => "CleanExit", "oom" => "OutOfMemory", _ => "ErrorExit" }, run.Log, StringComparison.Ordinal);
        run.Check();
    }

    [Fact]
    public async Task Death_OfASidecar_IsToldInVerboseStatusesBesideAllThatContainerdSays()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        string dead = await run.DieAsync("3");
        Container next = await run.SettlesAsync(1);
        var request = new ContainerStatusRequest { ContainerId = next.Id, Verbose = true };

        ContainerStatusResponse through = await run.Caller.Runtime.ContainerStatusAsync(request);
        ContainerStatusResponse bare = await run.Bare.Runtime.ContainerStatusAsync(request);
        ContainerStatusResponse terse = await run.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = next.Id });
        PodSandboxStatusResponse pod = await run.Caller.Runtime.PodSandboxStatusAsync(
            new PodSandboxStatusRequest { PodSandboxId = run.Kubelet.SandboxId, Verbose = true });
        StatusResponse node = await run.Caller.Runtime.StatusAsync(new StatusRequest { Verbose = true });

        using JsonDocument said = JsonDocument.Parse(through.Info["crishim"]);
        JsonElement ended = said.RootElement.GetProperty("attempts")[0];
        Assert.Equal(("sidecar", "native", 1), (Text(said.RootElement, "role"), Text(said.RootElement, "kind"), said.RootElement.GetProperty("attempt").GetInt32()));
        Assert.Equal((dead, 3), (Text(ended, "containerId"), ended.GetProperty("exitCode").GetInt32()));
        Assert.True(through.Info.Remove("crishim"));
        Assert.Equal(bare.Status, through.Status);
        Assert.Equal(bare.Info.Keys.Order(), through.Info.Keys.Order());
        Assert.Empty(terse.Info);
        Assert.Equal(Sidecar, Text(JsonDocument.Parse(pod.Info["crishim"]).RootElement.GetProperty("containers")[0], "name"));
        Assert.Equal("on", Text(JsonDocument.Parse(node.Info["crishim"]).RootElement, "supervisionMode"));
        run.Check();

        static string Text(JsonElement element, string property) => element.GetProperty(property).GetString()!;
    }

    [Fact]
    public async Task Death_OfASidecar_GivesTheNextAttemptAllThatAKubeletGives()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        ContainerStatus before = run.Kubelet.Newest(Sidecar);

        await run.DieAsync("3");
        Container next = await run.SettlesAsync(1);
        await Condition.BecomesTrueAsync("its log is linked", SidecarRun.Patience, () => Path.Exists(run.Pod.LogLink(Sidecar, next.Id)));

        ContainerStatus status = (await run.Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = next.Id })).Status;
        Assert.Equal((1u, "1", run.Pod.LogFile(Sidecar, 1)), (status.Metadata.Attempt, status.Annotations["io.kubernetes.container.restartCount"], status.LogPath));
        Assert.Equal(before.Labels, status.Labels);
        status.Annotations["io.kubernetes.container.restartCount"] = "0";
        Assert.Equal(before.Annotations, status.Annotations);
        Assert.Equal(run.Pod.LogFile(Sidecar, 1), File.ResolveLinkTarget(run.Pod.LogLink(Sidecar, next.Id), returnFinalTarget: false)!.FullName);
        await Condition.BecomesTrueAsync("it logs", SidecarRun.Patience, () =>
            File.ReadAllText(run.Pod.LogFile(Sidecar, 1), Encoding.UTF8).Contains("stdout F proxy is up\n", StringComparison.Ordinal));
        string fresh = TerminationLog(status), old = TerminationLog(before);
        Assert.NotEqual(old, fresh);
        Assert.Equal(("last words\n", ""), (await File.ReadAllTextAsync(old), await File.ReadAllTextAsync(fresh)));
        await run.Kubelet.RelistAsync();
        Assert.Equal("", run.Kubelet.Newest(Sidecar).Message);
        run.Check();
    }

    [Fact]
    public async Task Deaths_NoKubelet_AreRestartedWithGrowingDelaysAndLeaveOneDeadInstance()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        string first = run.Kubelet.Newest(Sidecar).Id;
        foreach ((uint attempt, int delay) in new[] { (1u, 0), (2u, 250), (3u, 500), (4u, 1000) })
        {
            string dead = await run.KillSidecarAsync();
            Container next = await run.SettlesAsync(attempt);

            ContainerStatus ended = (await run.Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = dead })).Status;
            Assert.InRange(next.CreatedAt - ended.FinishedAt, delay * 1_000_000L, long.MaxValue);
        }

        await Condition.BecomesTrueAsync("one dead instance is left, with its files", SidecarRun.Patience, async () =>
            (await run.LineageAsync()).Length == 2
            && Directory.GetFiles(Path.GetDirectoryName(run.Pod.LogFile(Sidecar, 0))!).Select(Path.GetFileName).Order().SequenceEqual(["3.log", "4.log"])
            && run.Pod.TerminationLogs(Sidecar).Length == 2);
        Assert.False(Path.Exists(run.Pod.LogLink(Sidecar, first)));

        // The kubelet is back.
        await run.Kubelet.RelistAsync();
        Assert.Equal(4, run.Kubelet.RestartCount(Sidecar));
        Assert.Empty(run.Kubelet.Creates);
        run.Check();
    }

    [Fact]
    public async Task Deaths_KubeletRelistsEverySecond_NeverConfuseIt()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        // In the milliseconds before the event it may see one dead, and beat crishim to it; that confuses nobody.
        run.Kubelet.ExpectsSidecarsRunning = false;
        run.Kubelet.Start();

        for (uint attempt = 1; attempt <= 3; attempt++)
        {
            await run.KillSidecarAsync();
            await run.SettlesAsync(attempt);
        }

        await Condition.BecomesTrueAsync("the kubelet knows", SidecarRun.Patience, () => run.Kubelet.RestartCount(Sidecar) == 3);
        Assert.Equal(ContainerState.ContainerRunning, run.Kubelet.Newest(Sidecar).State);
        run.Check();
    }

    [Fact]
    public async Task UpdateContainerResources_ThenADeath_HoldsForTheNextAttempt()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        string first = run.Kubelet.Newest(Sidecar).Id;
        // Two, for the last one does not say all.
        await run.Caller.Runtime.UpdateContainerResourcesAsync(new UpdateContainerResourcesRequest
        {
            ContainerId = first, Linux = new LinuxContainerResources { CpuShares = 512 },
        });
        await run.Caller.Runtime.UpdateContainerResourcesAsync(new UpdateContainerResourcesRequest
        {
            ContainerId = first, Linux = new LinuxContainerResources { CpuQuota = 50_000, CpuPeriod = 100_000 },
        });

        await run.KillSidecarAsync();
        Container next = await run.SettlesAsync(1);

        ContainerStatusResponse status = await run.Bare.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = next.Id, Verbose = true });
        Assert.Contains("\"cpu_shares\":512", status.Info["info"], StringComparison.Ordinal);
        Assert.Contains("\"cpu_quota\":50000", status.Info["info"], StringComparison.Ordinal);
        run.Check();
    }

    // ---- Whose it is -------------------------------------------------------------------------------------------------

    [Fact]
    public async Task StopContainer_OnAnOldId_StopsTheInstanceAndLeavesItToTheKubeletUntilItStartsTheNext()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        string old = await run.KillSidecarAsync();
        Container second = await run.SettlesAsync(1);

        await run.Caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = old, Timeout = 10 });
        await run.EndsAsync(second.Id);
        await run.LoggedAsync("StoppedByCaller");
        Assert.DoesNotContain(await run.LineageAsync(), one => one.State != ContainerState.ContainerExited);

        string third = await run.Kubelet.RunContainerAsync(Sidecar, 2);
        Assert.Equal(third, (await run.SettlesAsync(2)).Id);
        await run.KillSidecarAsync();
        await run.SettlesAsync(3);
        run.Check();
    }

    [Fact]
    public async Task StopPodSandbox_WhileASidecarIsRestarted_CreatesNothingAfterAndRemoveTakesTheRecords()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold create = run.Relay.Hold("CreateContainer", HoldPoint.Answered);
        await run.KillSidecarAsync();
        await create.ReachedAsync();
        Assert.True(Directory.Exists(run.StateFolder));

        Task stop = run.Kubelet.StopSandboxAsync();
        string pod = Path.Combine(run.StateFolder, "sandbox.pod.json");
        await Condition.BecomesTrueAsync("the stop is recorded", SidecarRun.Patience, () =>
            File.Exists(pod) && File.ReadAllText(pod).Contains("\"isSandboxStopping\":true", StringComparison.Ordinal));
        create.Release();
        await stop;

        List<string> calls = [.. run.Relay.Methods];
        Assert.DoesNotContain("StartContainer", calls[(calls.LastIndexOf("CreateContainer") + 1)..]);
        Assert.All(await run.LineageAsync(), one => Assert.NotEqual(ContainerState.ContainerRunning, one.State));
        await run.Caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = run.Kubelet.SandboxId });
        Assert.False(Directory.Exists(run.StateFolder));
        Assert.Equal(calls.Count(call => call == "CreateContainer"), run.Relay.Methods.Count(call => call == "CreateContainer"));
        run.Check();
    }

    [Fact]
    public async Task StopPod_AsAKubeletDoes_EndsItWithNothingLeft()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        await run.KillSidecarAsync();
        await run.SettlesAsync(1);

        await run.Kubelet.StopPodAsync(grace: 10);

        Assert.All(await run.LineageAsync(), one => Assert.Equal(ContainerState.ContainerExited, one.State));
        Assert.Equal(0, run.Count("(Unavailable)"));
        run.Check();
    }

    [Fact]
    public async Task CallsForWhatRuns_OnAnOldId_ReachTheInstanceThatRuns()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        string old = await run.KillSidecarAsync();
        Container now = await run.SettlesAsync(1);
        await run.LoggedAsync("runs again");
        await run.Bare.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = now.Id, Cmd = { "sh", "-c", "echo second > /tmp/me" }, Timeout = 20 });

        ExecSyncResponse exec = await run.Caller.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = old, Cmd = { "cat", "/tmp/me" }, Timeout = 20 });
        Assert.Equal("second\n", exec.Stdout.ToStringUtf8());

        ExecResponse url = await run.Caller.Runtime.ExecAsync(new ExecRequest { ContainerId = old, Cmd = { "cat", "/tmp/me" }, Stdout = true });
        await using StreamingSession session = await StreamingSession.OpenAsync(url.Url, SidecarRun.Patience);
        Assert.Equal(0, await session.ReadExitCodeAsync());
        Assert.Equal("second\n", session.Text(StreamingSession.Stdout));

        string log = run.Pod.LogFile(Sidecar, 1);
        File.Move(log, log + ".rotated");
        await run.Caller.Runtime.ReopenContainerLogAsync(new ReopenContainerLogRequest { ContainerId = old });
        Assert.True(File.Exists(log));
        ContainerStatsResponse stats = await run.Caller.Runtime.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = old });
        Assert.Equal(now.Id, stats.Stats.Attributes.Id);
        run.Check();
    }

    // ---- The kubelet's own create and ours ---------------------------------------------------------------------------

    [Fact]
    public async Task Create_OfTheKubeletBesidesOurs_GetsOurInstance()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold start = run.Relay.Hold("StartContainer", HoldPoint.Received);
        await run.KillSidecarAsync();
        await start.ReachedAsync();
        string ours = (await run.LineageAsync())[^1].Id;

        Task<string> theirs = run.Kubelet.RunContainerAsync(Sidecar, 1);
        start.Release();

        Assert.Equal(ours, await theirs);
        Assert.Equal(ours, (await run.SettlesAsync(1)).Id);
        await run.Kubelet.RelistAsync();
        Assert.Equal(1, run.Kubelet.RestartCount(Sidecar));
        run.Check();
    }

    [Fact]
    public async Task List_ThatIsQuickerThanTheEvent_ShowsNoDeathAndHasItReplaced()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold exit = run.Relay.Hold("Subscribe", HoldPoint.Answered);
        await run.KillSidecarAsync();
        await exit.ReachedAsync();

        await run.Kubelet.RelistAsync();
        _ = await run.SettlesAsync(1);
        exit.Release();

        await run.Kubelet.RelistAsync();
        Assert.Empty(run.Kubelet.Creates);
        Assert.Equal(1, run.Kubelet.RestartCount(Sidecar));
        run.Check();
    }

    [Fact]
    public async Task Create_OfAKubeletThatIsQuickerThanTheEvent_IsTheOnlyOne()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold exit = run.Relay.Hold("Subscribe", HoldPoint.Answered);
        await run.KillSidecarAsync();
        await exit.ReachedAsync();

        string theirs = await run.Kubelet.RunContainerAsync(Sidecar, 1);
        Assert.Equal(theirs, (await run.SettlesAsync(1)).Id);
        exit.Release();

        // From here on it is crishim's again.
        await run.KillSidecarAsync();
        Container ours = await run.SettlesAsync(2);
        Assert.Equal([theirs, ours.Id], (await run.LineageAsync()).Select(one => one.Id));
        await run.Kubelet.RelistAsync();
        run.Check();
    }

    [Fact]
    public async Task Create_OfTheKubeletWithAnotherEnvironment_WinsAndOursIsGone()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        RelayHold start = run.Relay.Hold("StartContainer", HoldPoint.Received);
        string dead = await run.KillSidecarAsync();
        await start.ReachedAsync();
        run.Pod.Spec(Sidecar).Envs.Add(new KeyValue { Key = "SECRET", Value = ByteString.CopyFromUtf8("rotated") });

        Task<string> creating = run.Kubelet.RunContainerAsync(Sidecar, 1);
        start.Release();
        string theirs = await creating;

        Assert.Equal(theirs, (await run.SettlesAsync(1)).Id);
        Assert.Equal([dead, theirs], (await run.LineageAsync()).Select(one => one.Id));
        Assert.Equal("rotated", await EnvironmentAsync(run, theirs));
        // And so do those that follow it.
        await run.KillSidecarAsync();
        Assert.Equal("rotated", await EnvironmentAsync(run, (await run.SettlesAsync(2)).Id));
        run.Check();
    }

    [Theory]
    [InlineData("annotation", "SuperviseAnnotationOff")]
    [InlineData("observe", "SuperviseModeObserve")]
    [InlineData("off", "SuperviseModeOff")]
    public async Task Death_SupervisionIsOff_IsTheKubelets(string how, string reason)
    {
        await using SidecarRun run = await (how == "annotation"
            ? SidecarRun.StartAsync(lab, pod => pod.Annotations["crishim.io/supervise"] = "off")
            : SidecarRun.StartAsync(lab, null, "--supervise", how));
        run.Kubelet.ExpectsSidecarsRunning = false;
        await run.KillSidecarAsync();
        await run.LoggedAsync(reason);

        Assert.Equal(ContainerState.ContainerExited, Assert.Single(await run.LineageAsync()).State);
        await run.Kubelet.RelistAsync();

        Assert.Equal(["proxy/1"], run.Kubelet.Creates);
        await run.SettlesAsync(1);
        run.Check();
    }

    private static async Task<IEnumerable<string>> ShownAsync(SidecarRun run, ContainerState state)
    {
        ListContainersResponse list = await run.Caller.Runtime.ListContainersAsync(new ListContainersRequest
        {
            Filter = new ContainerFilter
            {
                PodSandboxId = run.Kubelet.SandboxId,
                State = new ContainerStateValue { State = state },
                LabelSelector = { { "io.kubernetes.container.name", Sidecar } },
            },
        });
        return list.Containers.Select(one => one.Id);
    }

    private static string TerminationLog(ContainerStatus status) =>
        status.Mounts.Single(mount => mount.ContainerPath == "/dev/termination-log").HostPath;

    private static async Task<string> EnvironmentAsync(SidecarRun run, string id) => (await run.Bare.Runtime.ExecSyncAsync(
        new ExecSyncRequest { ContainerId = id, Cmd = { "sh", "-c", "printf %s \"$SECRET\"" }, Timeout = 20 })).Stdout.ToStringUtf8();
}

[Collection(SidecarsOn16.Name)]
public sealed class SidecarsOn16Tests(Sidecars16 lab) : SidecarTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class SidecarsOn17Tests(Sidecars17 lab) : SidecarTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class SidecarsOn21Tests(Sidecars21 lab) : SidecarTests(lab);
