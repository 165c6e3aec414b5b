using CriShim.Containerd.Events;
using CriShim.Containerd.Requests;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;

namespace CriShim.Containerd.Tests;

public sealed class Containerd16() : ContainerdFixture(ContainerdVersion.V16);

public sealed class Containerd17() : ContainerdFixture(ContainerdVersion.V17);

public sealed class Containerd21() : ContainerdFixture(ContainerdVersion.V21);

public sealed class Containerd16Tests(Containerd16 fixture) : RealContainerdContract(fixture), IClassFixture<Containerd16>;

public sealed class Containerd17Tests(Containerd17 fixture) : RealContainerdContract(fixture), IClassFixture<Containerd17>;

public sealed class Containerd21Tests(Containerd21 fixture) : RealContainerdContract(fixture), IClassFixture<Containerd21>;

/// <summary>One containerd for all tests of a version.</summary>
public abstract class ContainerdFixture(ContainerdVersion version) : IAsyncLifetime
{
    private PrivateContainerd? _containerd;

    public PrivateContainerd Containerd => _containerd!;

    public async Task InitializeAsync() => _containerd = await PrivateContainerd.StartAsync(version);

    public async Task DisposeAsync()
    {
        if (_containerd is not null)
        {
            await _containerd.DisposeAsync();
        }
    }
}

/// <summary>What events, calls and verbose statuses of a real containerd are; the same for every version.</summary>
public abstract class RealContainerdContract : IAsyncLifetime, IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly PrivateContainerd _containerd;
    private readonly CriCaller _caller;
    private readonly RuntimeAdapter _adapter;
    private readonly ContainerdEvents _events;
    private readonly CancellationTokenSource _stop = new();
    private readonly PodRecipe _recipe;
    private Task _following = Task.CompletedTask;
    private RunningPod? _pod;

    protected RealContainerdContract(ContainerdFixture fixture)
    {
        _containerd = fixture.Containerd;
        _caller = new CriCaller(_containerd.SocketPath);
        _adapter = new RuntimeAdapter(new RuntimeAdapterOptions { SocketPath = _containerd.SocketPath }, NullLogger.Instance);
        _events = new ContainerdEvents(new ContainerdEventsOptions { SocketPath = _containerd.SocketPath }, NullLogger.Instance);
        _recipe = new PodRecipe($"p{Guid.NewGuid():N}"[..12], Path.Combine(_containerd.Folder, "logs"), _containerd.CgroupParent);
    }

    private RunningPod Pod => _pod!;

    public async Task InitializeAsync()
    {
        _pod = await RunningPod.StartAsync(_caller, _recipe);
        _following = _events.RunAsync(_stop.Token);
        Assert.IsType<Connected>(await NextAsync());
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _following;
        if (_pod is not null)
        {
            await _pod.DisposeAsync();
        }
    }

    public void Dispose()
    {
        _adapter.Dispose();
        _caller.Dispose();
        _stop.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task Events_ContainerExits_ComesWithItsCodeAndTheExecsAreLeftOut()
    {
        string id = await Pod.RunAsync(_recipe.Container("main", "trap 'exit 7' TERM; while true; do sleep 0.1; done"));
        await _caller.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = id, Cmd = { "/bin/sh", "-c", "exit 3" }, Timeout = 10 });

        Assert.True((await _adapter.StopContainerAsync(id, TimeSpan.FromSeconds(20), default)).IsOk);

        ContainerExited exit = Assert.IsType<ContainerExited>(await NextAsync());
        Assert.Equal((id, 7u, false), (exit.ContainerId, exit.ExitCode, exit.OomSeen));
        CallResult<ContainerStatusResponse> status = await _adapter.ContainerStatusAsync(id, verbose: false, default);
        DateTimeOffset finished = DateTimeOffset.UnixEpoch.AddTicks(status.Value!.Status.FinishedAt / 100);
        Assert.True((finished - exit.ExitedAt).Duration() < TimeSpan.FromSeconds(1), $"{finished:o} {exit.ExitedAt:o}");
    }

    [Fact]
    public async Task Events_OutOfMemory_IsToldWithTheExitOrBeside()
    {
        ContainerConfig config = _recipe.Container("hog", "x=0123456789abcdef; while true; do x=$x$x; done");
        config.Linux.Resources.MemoryLimitInBytes = 24 << 20;
        string id = await Pod.RunAsync(config);

        bool oom = false;
        ContainerExited? exit = null;
        while (!oom || exit is null)
        {
            BackendEvent entry = await NextAsync();
            oom |= entry is ContainerOutOfMemory told && told.ContainerId == id;
            exit = entry as ContainerExited ?? exit;
        }

        Assert.Equal((id, 137u), (exit.ContainerId, exit.ExitCode));
    }

    [Fact]
    public async Task Events_ContainerdKilled_LeaveAGapAndAreConnectedWhenItIsBack()
    {
        string id = await Pod.RunAsync(_recipe.Container("main", "sleep 1000"));

        await _containerd.KillAsync();
        Assert.IsType<Gap>(await NextAsync());
        await _containerd.StartAsync();

        Assert.IsType<Connected>(await NextAsync());
        CallResult<ListContainersResponse> list = await _adapter.ListContainersAsync(new ContainerFilter { PodSandboxId = Pod.SandboxId }, default);
        Assert.Equal([(id, ContainerState.ContainerRunning)], list.Value!.Containers.Select(container => (container.Id, container.State)));
        await _adapter.StopContainerAsync(id, TimeSpan.Zero, default);
        Assert.Equal((id, 137u), Assert.IsType<ContainerExited>(await NextAsync()) is var exit ? (exit.ContainerId, exit.ExitCode) : default);
    }

    [Fact]
    public async Task Calls_ContainerdKilledMeanwhile_ChangesAreUnavailableAndQuestionsWait()
    {
        string id = await Pod.RunAsync(_recipe.Container("main", "trap '' TERM; echo up; while true; do sleep 0.1; done"));
        // Before that it would end by the signal.
        string log = _recipe.LogFile("main");
        await Condition.BecomesTrueAsync(
            "it ignores the signal", s_patience, () => File.Exists(log) && File.ReadAllText(log).Contains("up", StringComparison.Ordinal));
        Task<CallResult<StopContainerResponse>> stop = _adapter.StopContainerAsync(id, TimeSpan.FromSeconds(60), default);
        Assert.True((await _adapter.ContainerStatusAsync(id, verbose: false, default)).IsOk);

        await _containerd.KillAsync();
        Task<CallResult<ContainerStatusResponse>> status = _adapter.ContainerStatusAsync(id, verbose: false, default);

        Assert.Equal(FailureKind.Unavailable, (await stop.WaitAsync(s_patience)).Failure?.Kind);
        await _containerd.StartAsync();
        Assert.Equal(ContainerState.ContainerRunning, (await status).Value?.Status.State);
    }

    [Fact]
    public async Task FromVerboseStatus_ContainerOfAKubelet_IsTheRequestItWasMadeFrom()
    {
        ContainerConfig config = _recipe.Container("main", "sleep 1000");
        config.Envs.Add(new KeyValue { Key = "PORT", Value = ByteString.CopyFromUtf8("NDQz") });
        config.Envs.Add(new KeyValue { Key = "LINES", Value = ByteString.CopyFromUtf8("a\n\"<&>\" \\ ü =") });
        config.Mounts.Add(new Mount { ContainerPath = "/h", HostPath = _containerd.Folder, Readonly = true });
        config.Linux.Resources.MemoryLimitInBytes = 64 << 20;
        config.Linux.SecurityContext.SupplementalGroups.Add(7);
        CreateContainerRequest request = _recipe.Create(Pod.SandboxId, config);
        CallResult<CreateContainerResponse> created = await _adapter.CreateContainerAsync(request, default);

        CreateContainerRequest? rebuilt = RecordedRequest.FromVerboseStatus(
            (await _adapter.ContainerStatusAsync(created.Value!.ContainerId, verbose: true, default)).Value!,
            (await _adapter.PodSandboxStatusAsync(Pod.SandboxId, verbose: true, default)).Value!);

        if (_containerd.Version == ContainerdVersion.V16)
        {
            // The one field of these that 1.6 does not know.
            Assert.Equal("", rebuilt!.Config.Image.UserSpecifiedImage);
            rebuilt.Config.Image.UserSpecifiedImage = request.Config.Image.UserSpecifiedImage;
        }

        Assert.Equal(request, rebuilt);
    }

    [Fact]
    public async Task Replacement_OfAnExitedContainer_RunsBesideIt()
    {
        CreateContainerRequest recorded = _recipe.Create(Pod.SandboxId, _recipe.Container("main", "exit 3"));
        CallResult<CreateContainerResponse> first = await _adapter.CreateContainerAsync(recorded, default);
        Assert.True((await _adapter.StartContainerAsync(first.Value!.ContainerId, default)).IsOk);
        Assert.Equal(3u, Assert.IsType<ContainerExited>(await NextAsync()).ExitCode);

        CreateContainerRequest next = ReplacementRequest.Build(recorded, 1, new LinuxContainerResources { CpuShares = 512 }, null);
        CallResult<CreateContainerResponse> second = await _adapter.CreateContainerAsync(next, default);
        Assert.True((await _adapter.StartContainerAsync(second.Value!.ContainerId, default)).IsOk);

        Assert.Equal(second.Value.ContainerId, Assert.IsType<ContainerExited>(await NextAsync()).ContainerId);
        CallResult<ContainerStatusResponse> status = await _adapter.ContainerStatusAsync(second.Value.ContainerId, verbose: false, default);
        Assert.Equal(1u, AttemptNumber.Of(status.Value!.Status));
        // The exit is told before containerd has put the task away: until then it refuses to remove the container.
        await Condition.BecomesTrueAsync(
            "the first is removed", s_patience, async () => (await _adapter.RemoveContainerAsync(first.Value.ContainerId, default)).IsOk);
        Assert.True((await _adapter.RemoveContainerAsync(first.Value.ContainerId, default)).IsOk);
    }

    [Fact]
    public async Task Create_SameAttemptTwice_IsReservedForTheFirst()
    {
        CreateContainerRequest request = _recipe.Create(Pod.SandboxId, _recipe.Container("main", "sleep 1000"));
        CallResult<CreateContainerResponse> first = await _adapter.CreateContainerAsync(request, default);

        CallResult<CreateContainerResponse> second = await _adapter.CreateContainerAsync(request, default);

        Assert.Equal((FailureKind.NameReserved, first.Value!.ContainerId), (second.Failure!.Kind, second.Failure.HolderId));
    }

    [Fact]
    public async Task Calls_AboutWhatIsNotThere_SayWhich()
    {
        Assert.Equal(FailureKind.NotFound, (await _adapter.ContainerStatusAsync("none", verbose: true, default)).Failure!.Kind);
        Assert.Equal(FailureKind.NotFound, (await _adapter.StartContainerAsync("none", default)).Failure!.Kind);
        CreateContainerRequest request = _recipe.Create("none", _recipe.Container("main", "sleep 1000"));
        Assert.Equal(FailureKind.NotFound, (await _adapter.CreateContainerAsync(request, default)).Failure!.Kind);
        request.PodSandboxId = Pod.SandboxId;
        request.Config.Image.Image = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        Assert.Equal(FailureKind.ImageNotFound, (await _adapter.CreateContainerAsync(request, default)).Failure!.Kind);
    }

    [Fact]
    public async Task CreateAndStart_SandboxStopped_NothingRunsInIt()
    {
        CreateContainerRequest request = _recipe.Create(Pod.SandboxId, _recipe.Container("main", "sleep 1000"));
        CallResult<CreateContainerResponse> created = await _adapter.CreateContainerAsync(request, default);
        await _caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = Pod.SandboxId });

        CallResult<StartContainerResponse> started = await _adapter.StartContainerAsync(created.Value!.ContainerId, default);
        CallResult<CreateContainerResponse> second = await _adapter.CreateContainerAsync(ReplacementRequest.Build(request, 1, null, null), default);

        Assert.Equal(FailureKind.SandboxNotReady, started.Failure?.Kind);
        if (second.IsOk)
        {
            // Some of 2.x let a container be created that can then never be started.
            Assert.True(_containerd.Version.IsAtLeast2);
            started = await _adapter.StartContainerAsync(second.Value.ContainerId, default);
            Assert.Equal(FailureKind.SandboxNotReady, started.Failure?.Kind);
        }
        else
        {
            Assert.Equal(FailureKind.SandboxNotReady, second.Failure.Kind);
        }
    }

    private async Task<BackendEvent> NextAsync() => await _events.Reader.ReadAsync().AsTask().WaitAsync(s_patience);
}
