using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>
/// What a subscriber of GetContainerEvents is told of sidecars that die, and what lists say at these moments. containerd has one stream for
/// each subscriber from 2.0 on only.
/// </summary>
[Collection(SidecarsOn21.Name)]
public sealed class EventTests(Sidecars21 lab)
{
    [Fact]
    public async Task Deaths_OfASidecar_AreToldAsListsShowThem()
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        await using Subscriber subscriber = await Subscriber.StartAsync(run, lab);
        await using ListWatch lists = ListWatch.Start(run);
        string oldest = run.Kubelet.Newest(SidecarRun.Sidecar).Id;

        // The first is replaced behind its back, the second waits for its back-off and is shown dead meanwhile.
        string dead = await run.DieAsync("3");
        Container next = await run.SettlesAsync(1);
        await subscriber.AssertToldAsync(dead, next.Id);
        Assert.Equal(oldest, dead);

        dead = await run.DieAsync("0");
        next = await run.SettlesAsync(2);
        await subscriber.AssertToldAsync(dead, next.Id, removed: oldest);
        Assert.Empty(lists.Violations);
        run.Check();
    }

    [Theory]
    [InlineData("CreateContainer", HoldPoint.Received)]
    [InlineData("CreateContainer", HoldPoint.Answered)]
    [InlineData("StartContainer", HoldPoint.Received)]
    [InlineData("StartContainer", HoldPoint.Answered)]
    [InlineData("Subscribe", HoldPoint.Answered)]
    [InlineData("GetContainerEvents", HoldPoint.Answered)]
    public async Task Death_HeldAtAnyStep_IsToldOnceItIsShown(string method, HoldPoint point)
    {
        await using SidecarRun run = await SidecarRun.StartAsync(lab);
        await using Subscriber subscriber = await Subscriber.StartAsync(run, lab);
        await using ListWatch lists = ListWatch.Start(run);
        RelayHold hold = run.Relay.Hold(method, point);

        string dead = await run.DieAsync("3");
        await hold.ReachedAsync();
        if (method is "CreateContainer" or "StartContainer")
        {
            // The end is in containerd's stream by now; nothing of it is told while lists show it running.
            await subscriber.CatchUpAsync();
            Assert.Empty(subscriber.News);
            ContainerStatusResponse shown = await run.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = dead });
            Assert.Equal(ContainerState.ContainerRunning, shown.Status.State);
        }
        else if (method == "GetContainerEvents")
        {
            await run.LoggedAsync("runs again");
        }

        hold.Release();
        Container next = await run.SettlesAsync(1);
        await subscriber.AssertToldAsync(dead, next.Id);
        Assert.Empty(lists.Violations);
        run.Check();
    }

    /// <summary>Lists all the time.</summary>
    private sealed class ListWatch : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly ConcurrentQueue<string> _violations = new();
        private Task _listing = Task.CompletedTask;

        public IReadOnlyList<string> Violations => [.. _violations];

        public static ListWatch Start(SidecarRun run)
        {
            var watch = new ListWatch();
            watch._listing = Task.Run(() => watch.RunAsync(run));
            return watch;
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _listing;
            _stop.Dispose();
        }

        private async Task RunAsync(SidecarRun run)
        {
            while (!_stop.IsCancellationRequested)
            {
                Container[] shown = await SidecarsAsync(run);
                if (shown.Count(one => one.State == ContainerState.ContainerRunning) > 1)
                {
                    _violations.Enqueue($"two are RUNNING: {string.Join(' ', shown.Select(one => one.Id[..12]))}");
                }

                if (shown.Any(one => one.State == ContainerState.ContainerCreated))
                {
                    _violations.Enqueue("one is CREATED");
                }
            }
        }
    }

    /// <summary>Reads the stream, and asks for a list at each event of a sidecar.</summary>
    private sealed class Subscriber : IAsyncDisposable
    {
        private readonly SidecarRun _run;
        private readonly RunningPod _probes;
        private readonly AsyncServerStreamingCall<ContainerEventResponse> _call;
        private readonly ConcurrentQueue<ContainerEventResponse> _told = new();
        private readonly ConcurrentQueue<string> _violations = new();
        private readonly Task _reading;
        private uint _probeCount;
        private int _asserted;

        private Subscriber(SidecarRun run, RunningPod probes)
        {
            _run = run;
            _probes = probes;
            _call = run.Caller.Runtime.GetContainerEvents(new GetEventsRequest());
            _reading = Task.Run(ReadAsync);
        }

        /// <summary>What was told of the pod since the last time that it was asserted.</summary>
        public (ContainerEventType Type, string Id)[] News =>
        [
            .. _told.Where(told => told.PodSandboxStatus?.Id == _run.Kubelet.SandboxId).Skip(_asserted)
                .Select(told => (told.ContainerEventType, told.ContainerId)),
        ];

        /// <summary>A subscriber whom containerd serves already.</summary>
        public static async Task<Subscriber> StartAsync(SidecarRun run, SidecarLab lab)
        {
            var recipe = new PodRecipe($"{run.Pod.Name}-probes", Path.Combine(lab.Containerd.Folder, "probes"), lab.Containerd.CgroupParent)
            {
                HostNetwork = true,
            };
            var subscriber = new Subscriber(run, await RunningPod.StartAsync(run.Bare, recipe));
            // Of what is done before containerd has the subscription nobody is told.
            await Condition.BecomesTrueAsync("the stream tells something", SidecarRun.Patience, async () =>
            {
                _ = await subscriber.MakeProbeAsync();
                return !subscriber._told.IsEmpty;
            });
            // It begins with what was before: containerd keeps that for whoever comes.
            await subscriber.CatchUpAsync();
            subscriber._asserted = subscriber.News.Length;
            subscriber._violations.Clear();
            return subscriber;
        }

        /// <summary>What containerd had told before is here: the event of a container of another pod, made behind it.</summary>
        public async Task CatchUpAsync()
        {
            string probe = await MakeProbeAsync();
            await Condition.BecomesTrueAsync("the stream has caught up", SidecarRun.Patience, () => _told.Any(told => told.ContainerId == probe));
        }

        /// <summary>Exactly this, in this order, since the last time; the removal of an old instance may come anywhere between.</summary>
        public async Task AssertToldAsync(string dead, string next, string? removed = null)
        {
            (ContainerEventType, string)[] expected =
            [
                (ContainerEventType.ContainerStoppedEvent, dead), (ContainerEventType.ContainerCreatedEvent, next),
                (ContainerEventType.ContainerStartedEvent, next),
            ];
            (ContainerEventType, string)[] told = [];
            await Condition.BecomesTrueAsync("all is told", SidecarRun.Patience, () =>
            {
                told = News;
                return told.Length >= expected.Length + (removed is null ? 0 : 1) || _reading.IsCompleted;
            });
            await CatchUpAsync();
            told = News;
            _asserted += told.Length;
            Assert.Equal(expected, told.Where(one => one != (ContainerEventType.ContainerDeletedEvent, removed)));
            Assert.Equal(removed is null ? 0 : 1, told.Length - expected.Length);
            Assert.Empty(_violations);
        }

        public async ValueTask DisposeAsync()
        {
            _call.Dispose();
            await _reading;
            await _probes.DisposeAsync();
        }

        private async Task<string> MakeProbeAsync()
        {
            ContainerConfig container = _probes.Recipe.Container("probe", "true", _probeCount++);
            return (await _run.Bare.Runtime.CreateContainerAsync(_probes.Recipe.Create(_probes.SandboxId, container))).ContainerId;
        }

        private async Task ReadAsync()
        {
            try
            {
                await foreach (ContainerEventResponse told in _call.ResponseStream.ReadAllAsync())
                {
                    if (told.PodSandboxStatus?.Id == _run.Kubelet.SandboxId)
                    {
                        Check(told, await SidecarsAsync(_run));
                    }

                    _told.Enqueue(told);
                }
            }
            catch (RpcException end) when (end.StatusCode == StatusCode.Cancelled)
            {
                // By the test's own end.
            }
        }

        private void Check(ContainerEventResponse told, Container[] listed)
        {
            ContainerStatus[] statuses = [.. told.ContainersStatuses.Where(status => status.Metadata.Name == SidecarRun.Sidecar)];
            string what = $"{told.ContainerEventType} of {told.ContainerId[..12]} with {Describe(statuses.Select(one => (one.Id, one.State)))}"
                + $", listed {Describe(listed.Select(one => (one.Id, one.State)))}";
            ContainerState? shown = listed.FirstOrDefault(one => one.Id == told.ContainerId)?.State;
            bool agrees = told.ContainerEventType switch
            {
                ContainerEventType.ContainerStoppedEvent => shown is ContainerState.ContainerExited or null,
                ContainerEventType.ContainerDeletedEvent => shown is null,
                _ => shown == ContainerState.ContainerRunning,
            };
            if (!agrees || statuses.Any(status => listed.FirstOrDefault(one => one.Id == status.Id) is { } other && other.State != status.State))
            {
                _violations.Enqueue($"not as listed: {what}");
            }

            if (statuses.Count(status => status.State == ContainerState.ContainerRunning) > 1)
            {
                _violations.Enqueue($"two are RUNNING: {what}");
            }
        }

        private static string Describe(IEnumerable<(string Id, ContainerState State)> containers) =>
            $"[{string.Join(' ', containers.Select(one => $"{one.Id[..12]} {one.State}"))}]";
    }

    private static async Task<Container[]> SidecarsAsync(SidecarRun run)
    {
        ListContainersResponse list = await run.Caller.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = run.Kubelet.SandboxId } });
        return [.. list.Containers.Where(container => container.Metadata.Name == SidecarRun.Sidecar)];
    }
}
