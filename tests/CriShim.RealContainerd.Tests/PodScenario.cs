using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>
/// The life of one pod, by every call a kubelet makes and some that it should not. It checks that things really happen (the log
/// has the line, the pod answers), and leaves in the transcript what a caller saw of each call.
/// </summary>
internal sealed class PodScenario(Transcript transcript, PrivateContainerd containerd)
{
    private const string Unknown = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly PodRecipe _pod = new("scenario", Path.Combine(containerd.Folder, "logs"), containerd.CgroupParent);
    private string _sandbox = "";
    private string _web = "";
    private string _job = "";

    public async Task RunAsync()
    {
        await AskAboutTheRuntimeAsync();
        await AskAboutImagesAsync();

        using var events = new EventWatch(transcript.Caller);
        await StartPodAsync();
        await ReachPodAsync();
        await ExecAsync();
        await LookAsync();
        await ChangeAsync();
        await FailAsync();
        await EndAsync();
        await CheckEventsAsync(events);
        await AskForWhatIsNotThereAsync();
    }

    private async Task AskAboutTheRuntimeAsync()
    {
        var version = await transcript.CallAsync<VersionResponse>("Version", new VersionRequest());
        Assert.Equal("containerd", version.RuntimeName);

        var status = await transcript.CallAsync<StatusResponse>("Status", new StatusRequest());
        Assert.All(status.Status.Conditions.Take(2), condition => Assert.True(condition.Status, condition.ToString()));

        var verbose = await transcript.CallAsync<StatusResponse>("Status", new StatusRequest { Verbose = true });
        Assert.Contains("config", verbose.Info.Keys);
    }

    private async Task AskAboutImagesAsync()
    {
        var list = await transcript.CallAsync<ListImagesResponse>("ListImages", new ListImagesRequest(), Transcript.Images);
        Assert.Contains(list.Images, image => image.RepoTags.Contains(LabImages.Busybox));

        var there = await transcript.CallAsync<ImageStatusResponse>("ImageStatus", ImageStatus(LabImages.Busybox), Transcript.Images);
        Assert.NotEmpty(there.Image.Id);
        await transcript.CallAsync<ImageStatusResponse>(
            "ImageStatus", new ImageStatusRequest { Image = new ImageSpec { Image = LabImages.Busybox }, Verbose = true }, Transcript.Images);

        var missing = await transcript.CallAsync<ImageStatusResponse>("ImageStatus", ImageStatus("example.invalid/none:1"), Transcript.Images);
        Assert.Null(missing.Image);
        await transcript.TryAsync<ImageStatusResponse>("ImageStatus", ImageStatus("Not A Reference"), Transcript.Images);
        await transcript.FailAsync<PullImageResponse>(
            "PullImage", new PullImageRequest { Image = new ImageSpec { Image = "Not A Reference" } }, Transcript.Images);

        // A snapshotter's use is counted every few seconds: the first count may be still to come.
        await Condition.BecomesTrueAsync("containerd has counted its images' bytes", s_patience, async () =>
            (await transcript.Caller.Images.ImageFsInfoAsync(new ImageFsInfoRequest())).ImageFilesystems is [{ UsedBytes.Value: > 0 }, ..]);
        await transcript.CallAsync<ImageFsInfoResponse>("ImageFsInfo", new ImageFsInfoRequest(), Transcript.Images);
    }

    private async Task StartPodAsync()
    {
        var run = await transcript.CallAsync<RunPodSandboxResponse>("RunPodSandbox", new RunPodSandboxRequest { Config = _pod.Sandbox() });
        _sandbox = run.PodSandboxId;
        transcript.Normaliser.Name(_sandbox, "sandbox");

        // TERM is answered at once and with an exit code of its own: a stop that did not pass its grace on would be seen.
        const string web = """
            trap 'echo got TERM; exit 7' TERM
            echo 'a line to stdout'; echo 'a line to stderr' >&2
            mkdir -p /tmp/www && echo "hello from $POD_NAME" > /tmp/www/index.html && httpd -p 8080 -h /tmp/www
            while :; do sleep 60 & wait $!; done
            """;
        var created = await transcript.CallAsync<CreateContainerResponse>("CreateContainer", _pod.Create(_sandbox, _pod.Container("web", web)));
        _web = created.ContainerId;
        transcript.Normaliser.Name(_web, "web");
        var job = await transcript.CallAsync<CreateContainerResponse>("CreateContainer", _pod.Create(_sandbox, _pod.Container("job", "echo done; exit 3")));
        _job = job.ContainerId;
        transcript.Normaliser.Name(_job, "job");

        await transcript.CallAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _web });
        await transcript.CallAsync<StartContainerResponse>("StartContainer", new StartContainerRequest { ContainerId = _web });
        await transcript.CallAsync<StartContainerResponse>("StartContainer", new StartContainerRequest { ContainerId = _job });
        await Condition.BecomesTrueAsync("the job's container has exited", s_patience, async () => (await StateAsync(_job)) == ContainerState.ContainerExited);

        var ended = await transcript.CallAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _job });
        Assert.Equal(3, ended.Status.ExitCode);
    }

    private async Task ReachPodAsync()
    {
        var status = await transcript.CallAsync<PodSandboxStatusResponse>("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = _sandbox });
        var address = status.Status.Network.Ip;
        Assert.StartsWith("10.213.", address);
        transcript.Normaliser.Name(address, "pod IP");

        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false });
        var page = await Condition.SucceedsAsync("the pod answers over its IP", s_patience, () => http.GetStringAsync(new Uri($"http://{address}:8080/")));
        Assert.Equal("hello from scenario\n", page);

        await LogHasAsync("stdout F a line to stdout");
        await LogHasAsync("stderr F a line to stderr");
    }

    private async Task ExecAsync()
    {
        var ok = await transcript.CallAsync<ExecSyncResponse>("ExecSync", Exec("echo out; echo err >&2"));
        Assert.Equal(("out\n", "err\n", 0), (ok.Stdout.ToStringUtf8(), ok.Stderr.ToStringUtf8(), ok.ExitCode));

        var failed = await transcript.CallAsync<ExecSyncResponse>("ExecSync", Exec("exit 3"));
        Assert.Equal(3, failed.ExitCode);

        // 200 kB of output: more than one HTTP/2 frame and more than a small window.
        var large = await transcript.CallAsync<ExecSyncResponse>("ExecSync", Exec("head -c 200000 /dev/zero | tr '\\0' x"));
        Assert.Equal(200_000, large.Stdout.Length);

        var late = await transcript.FailAsync<ExecSyncResponse>("ExecSync", Exec("sleep 30", timeout: 1));
        Assert.Equal(StatusCode.DeadlineExceeded, late.StatusCode);

        await transcript.TryAsync<ExecSyncResponse>("ExecSync", new ExecSyncRequest { ContainerId = _web, Cmd = { "/no/such/program" }, Timeout = 5 });
    }

    private async Task LookAsync()
    {
        await transcript.CallAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _web });
        var verbose = await transcript.CallAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _web, Verbose = true });
        Assert.Contains("runtimeSpec", verbose.Info["info"]);
        await transcript.CallAsync<PodSandboxStatusResponse>("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = _sandbox, Verbose = true });

        foreach (var (filter, expected) in new (ContainerFilter, string[])[]
        {
            (new ContainerFilter { PodSandboxId = _sandbox }, [_web, _job]),
            (new ContainerFilter { Id = _web }, [_web]),
            (new ContainerFilter { PodSandboxId = _sandbox, State = new ContainerStateValue { State = ContainerState.ContainerExited } }, [_job]),
            (new ContainerFilter { LabelSelector = { { "io.kubernetes.container.name", "web" }, { "io.kubernetes.pod.name", _pod.Name } } }, [_web]),
            (new ContainerFilter { Id = Unknown }, []),
        })
        {
            var list = await transcript.CallAsync<ListContainersResponse>("ListContainers", new ListContainersRequest { Filter = filter });
            Assert.Equal(expected.Order(), list.Containers.Select(container => container.Id).Order());
        }

        var pods = await transcript.CallAsync<ListPodSandboxResponse>("ListPodSandbox", new ListPodSandboxRequest
        {
            Filter = new PodSandboxFilter { State = new PodSandboxStateValue { State = PodSandboxState.SandboxReady }, LabelSelector = { { "app", _pod.Name } } },
        });
        Assert.Equal(_sandbox, Assert.Single(pods.Items).Id);

        // Rates need two samples: take one that is not written down, so that both runs are past the first.
        await transcript.Caller.Runtime.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = _web });
        await Condition.BecomesTrueAsync("the container's writable layer has been counted", s_patience, async () =>
            (await transcript.Caller.Runtime.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = _web })).Stats is { WritableLayer.UsedBytes.Value: > 0, Memory.WorkingSetBytes.Value: > 0 });
        var stats = await transcript.CallAsync<ContainerStatsResponse>("ContainerStats", new ContainerStatsRequest { ContainerId = _web });
        Assert.True(stats.Stats.Cpu.UsageCoreNanoSeconds.Value > 0);
        var all = await transcript.CallAsync<ListContainerStatsResponse>("ListContainerStats", new ListContainerStatsRequest
        {
            Filter = new ContainerStatsFilter { PodSandboxId = _sandbox },
        });
        Assert.Contains(all.Stats, one => one.Attributes.Id == _web);
        await transcript.CallAsync<PodSandboxStatsResponse>("PodSandboxStats", new PodSandboxStatsRequest { PodSandboxId = _sandbox });
    }

    private async Task ChangeAsync()
    {
        await transcript.CallAsync<UpdateContainerResourcesResponse>("UpdateContainerResources", new UpdateContainerResourcesRequest
        {
            ContainerId = _web,
            Linux = new LinuxContainerResources { CpuShares = 512 },
        });
        Assert.Contains(await CpuSharesAsync(), new[] { "512", "20" });

        var log = _pod.LogFile("web");
        File.Move(log, log + ".rotated");
        await transcript.CallAsync<ReopenContainerLogResponse>("ReopenContainerLog", new ReopenContainerLogRequest { ContainerId = _web });
        await transcript.CallAsync<ExecSyncResponse>("ExecSync", Exec("echo after rotation > /proc/1/fd/1"));
        await LogHasAsync("stdout F after rotation");
        Assert.DoesNotContain("after rotation", await File.ReadAllTextAsync(log + ".rotated"), StringComparison.Ordinal);
    }

    private async Task FailAsync()
    {
        foreach (var status in new[]
        {
            await transcript.FailAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = Unknown }),
            await transcript.FailAsync<PodSandboxStatusResponse>("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = Unknown }),
            await transcript.FailAsync<ExecSyncResponse>("ExecSync", new ExecSyncRequest { ContainerId = Unknown, Cmd = { "true" } }),
        })
        {
            Assert.Equal(StatusCode.NotFound, status.StatusCode);
        }

        await transcript.FailAsync<StartContainerResponse>("StartContainer", new StartContainerRequest { ContainerId = Unknown });
        await transcript.FailAsync<StartContainerResponse>("StartContainer", new StartContainerRequest { ContainerId = _web });
        await transcript.FailAsync<StartContainerResponse>("StartContainer", new StartContainerRequest { ContainerId = _job });
        await transcript.FailAsync<CreateContainerResponse>("CreateContainer", _pod.Create(Unknown, _pod.Container("lost", "true")));
        await transcript.FailAsync<CreateContainerResponse>("CreateContainer", _pod.Create(_sandbox, _pod.Container("web", "true")));
        var noImage = _pod.Container("imageless", "true");
        noImage.Image.Image = "example.invalid/none:1";
        await transcript.FailAsync<CreateContainerResponse>("CreateContainer", _pod.Create(_sandbox, noImage));
        await transcript.FailAsync<RunPodSandboxResponse>("RunPodSandbox", new RunPodSandboxRequest
        {
            Config = new PodRecipe("handler", Path.GetDirectoryName(_pod.LogDirectory)!, containerd.CgroupParent).Sandbox(),
            RuntimeHandler = "no-such-handler",
        });
        var invalid = await transcript.FailAsync<AttachResponse>("Attach", new AttachRequest { ContainerId = _web });
        Assert.Equal(StatusCode.InvalidArgument, invalid.StatusCode);

        // Removing what is not there is no failure in CRI.
        await transcript.CallAsync<RemoveContainerResponse>("RemoveContainer", new RemoveContainerRequest { ContainerId = Unknown });
        await transcript.CallAsync<RemovePodSandboxResponse>("RemovePodSandbox", new RemovePodSandboxRequest { PodSandboxId = Unknown });
    }

    private async Task EndAsync()
    {
        await transcript.CallAsync<StopContainerResponse>("StopContainer", new StopContainerRequest { ContainerId = _web, Timeout = 20 });
        var stopped = await transcript.CallAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _web });
        Assert.Equal((ContainerState.ContainerExited, 7), (stopped.Status.State, stopped.Status.ExitCode));
        await LogHasAsync("stdout F got TERM");

        await transcript.CallAsync<RemoveContainerResponse>("RemoveContainer", new RemoveContainerRequest { ContainerId = _web });
        await transcript.FailAsync<ContainerStatusResponse>("ContainerStatus", new ContainerStatusRequest { ContainerId = _web });

        await transcript.CallAsync<StopPodSandboxResponse>("StopPodSandbox", new StopPodSandboxRequest { PodSandboxId = _sandbox });
        var sandbox = await transcript.CallAsync<PodSandboxStatusResponse>("PodSandboxStatus", new PodSandboxStatusRequest { PodSandboxId = _sandbox });
        Assert.Equal(PodSandboxState.SandboxNotready, sandbox.Status.State);
        await transcript.CallAsync<RemovePodSandboxResponse>("RemovePodSandbox", new RemovePodSandboxRequest { PodSandboxId = _sandbox });
        var left = await transcript.CallAsync<ListContainersResponse>("ListContainers", new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } });
        Assert.Empty(left.Containers);
        // As the kubelet does when the pod is gone; another run's log would be appended to these.
        Directory.Delete(_pod.LogDirectory, recursive: true);
    }

    private async Task CheckEventsAsync(EventWatch events)
    {
        var seen = await events.OfAsync(_web, containerd.Version.HasEvents);
        transcript.Note("GetContainerEvents", seen);
        Assert.Equal(
            containerd.Version.HasEvents
                ? "ContainerCreatedEvent, ContainerStartedEvent, ContainerStoppedEvent, ContainerDeletedEvent"
                : "Unimplemented",
            seen.Split(':')[0]);
    }

    private async Task AskForWhatIsNotThereAsync()
    {
        var (config, status) = await transcript.TryAsync<RuntimeConfigResponse>("RuntimeConfig", new RuntimeConfigRequest());
        if (containerd.Version.IsAtLeast2)
        {
            Assert.NotNull(config);
        }
        else
        {
            Assert.Equal(StatusCode.Unimplemented, status.StatusCode);
        }

        foreach (var (service, method) in new[]
        {
            (Transcript.Runtime, "StreamContainers"),
            (Transcript.Runtime, "InventedLater"),
            (Transcript.Images, "StreamImages"),
            ("runtime.v2.RuntimeService", "Version"),
        })
        {
            var unknown = await transcript.FailAsync<VersionResponse>(method, new VersionRequest(), service);
            Assert.Equal(StatusCode.Unimplemented, unknown.StatusCode);
        }

        // 1.x and 2.x differ in which of these they have; what counts is that both sides say the same.
        await transcript.TryAsync<ListPodSandboxMetricsResponse>("ListPodSandboxMetrics", new ListPodSandboxMetricsRequest());
        await transcript.TryAsync<ListMetricDescriptorsResponse>("ListMetricDescriptors", new ListMetricDescriptorsRequest());
        await transcript.TryAsync<UpdatePodSandboxResourcesResponse>("UpdatePodSandboxResources", new UpdatePodSandboxResourcesRequest { PodSandboxId = Unknown });
        await transcript.FailAsync<CheckpointContainerResponse>("CheckpointContainer", new CheckpointContainerRequest { ContainerId = Unknown, Location = "/tmp/none" });
    }

    private static ImageStatusRequest ImageStatus(string image) => new() { Image = new ImageSpec { Image = image } };

    private ExecSyncRequest Exec(string script, long timeout = 20) => new() { ContainerId = _web, Cmd = { "/bin/sh", "-c", script }, Timeout = timeout };

    private async Task<ContainerState> StateAsync(string container) =>
        (await transcript.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = container })).Status.State;

    private Task LogHasAsync(string line) => Condition.BecomesTrueAsync($"the log has '{line}'", s_patience, () =>
        File.Exists(_pod.LogFile("web")) && File.ReadAllText(_pod.LogFile("web"), Encoding.UTF8).Contains(line + "\n", StringComparison.Ordinal));

    // 512 shares of version 1 are a weight of 20 in version 2.
    private async Task<string> CpuSharesAsync()
    {
        foreach (var hierarchy in new[] { "cpu", "cpu,cpuacct", "" })
        {
            foreach (var file in new[] { "cpu.shares", "cpu.weight" })
            {
                var path = Path.Combine("/sys/fs/cgroup", hierarchy, containerd.CgroupParent.TrimStart('/'), $"pod{_pod.Uid}", _web, file);
                if (File.Exists(path))
                {
                    return (await File.ReadAllTextAsync(path)).Trim();
                }
            }
        }

        throw new Xunit.Sdk.XunitException($"No cgroup of {_web} below {containerd.CgroupParent}.");
    }
}
