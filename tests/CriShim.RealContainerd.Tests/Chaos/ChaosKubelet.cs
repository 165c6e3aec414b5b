using System.Collections.Concurrent;
using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>What a relist gave.</summary>
/// <param name="AskedAt">Before it was asked for; by the steady clock.</param>
/// <param name="Sandboxes">All.</param>
/// <param name="Containers">All.</param>
internal sealed record Relist(long AskedAt, IReadOnlyList<PodSandbox> Sandboxes, IReadOnlyList<Container> Containers);

/// <summary>A call that failed.</summary>
internal sealed record FailedCall(string Call, StatusCode Code, string Detail, long At);

/// <summary>
/// A kubelet with many pods: it relists all the time, and a worker for each pod does what follows: sandbox, init containers in turn, plain ones, what is
/// dead once more, garbage; and, when the pod is deleted, its end, as 1.28 does it (all at once) or as from 1.29 on (mains before sidecars). It goes
/// on trying, as a real one does, and writes down what would have confused one.
/// </summary>
internal sealed class ChaosKubelet : IAsyncDisposable
{
    private static readonly TimeSpan RelistPeriod = TimeSpan.FromMilliseconds(500), Backoff = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CallTime = TimeSpan.FromMinutes(2);

    private readonly string _socketPath;
    private readonly bool _endsInOrder;
    private readonly ConcurrentDictionary<string, PodWorker> _workers = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly ConcurrentQueue<FailedCall> _failures = new();
    private readonly CancellationTokenSource _stop = new();
    private Life _life;
    private Task _relisting = Task.CompletedTask;
    private long _relists;

    /// <param name="socketPath">Where its calls go.</param>
    /// <param name="endsInOrder">Mains before sidecars, as from 1.29 on.</param>
    public ChaosKubelet(string socketPath, bool endsInOrder)
    {
        _socketPath = socketPath;
        _endsInOrder = endsInOrder;
        _life = new Life(socketPath);
    }

    public IReadOnlyList<string> Violations => [.. _violations];

    /// <summary>Calls that failed, however well they may.</summary>
    public IReadOnlyList<FailedCall> Failures => [.. _failures];

    /// <summary>Relists that were answered.</summary>
    public long Relists => Interlocked.Read(ref _relists);

    public IReadOnlyList<PodWorker> Pods => [.. _workers.Values];

    public void Start() => _relisting = Task.Run(RelistAsync);

    public PodWorker Add(ChaosPod pod) => _workers[pod.Uid] = new PodWorker(this, pod);

    /// <summary>It is gone from one moment to the next, with all that it had asked for, and is back at once.</summary>
    public void Vanish()
    {
        Life before = Interlocked.Exchange(ref _life, new Life(_socketPath));
        before.Dispose();
    }

    public void Violate(string what) => _violations.Enqueue(what);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _life.Dispose();
        await _relisting;
        await Task.WhenAll(_workers.Values.Select(worker => worker.Busy));
        _stop.Dispose();
    }

    private async Task RelistAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            long askedAt = TimeProvider.System.GetTimestamp();
            try
            {
                Life life = _life;
                ListPodSandboxResponse sandboxes = await life.CallAsync((runtime, options) => runtime.ListPodSandboxAsync(new ListPodSandboxRequest(), options));
                ListContainersResponse containers = await life.CallAsync((runtime, options) => runtime.ListContainersAsync(new ListContainersRequest(), options));
                var relist = new Relist(askedAt, sandboxes.Items, containers.Containers);
                foreach (PodWorker worker in _workers.Values)
                {
                    worker.Offer(relist);
                }

                _ = Interlocked.Increment(ref _relists);
            }
            catch (RpcException failure)
            {
                Note("a relist", failure);
            }

            await Task.Delay(RelistPeriod);
        }
    }

    private void Note(string call, RpcException failure) =>
        _failures.Enqueue(new FailedCall(call, failure.StatusCode, failure.Status.Detail, TimeProvider.System.GetTimestamp()));

    /// <summary>One life of it: its connection, and what ends with it.</summary>
    private sealed class Life(string socketPath) : IDisposable
    {
        private readonly CriCaller _caller = new(socketPath);
        private readonly CancellationTokenSource _gone = new();

        public async Task<T> CallAsync<T>(Func<RuntimeService.RuntimeServiceClient, CallOptions, AsyncUnaryCall<T>> call, TimeSpan? time = null)
        {
            try
            {
                return await call(_caller.Runtime, new CallOptions(
                    deadline: TimeProvider.System.GetUtcNow().UtcDateTime + (time ?? CallTime), cancellationToken: _gone.Token));
            }
            catch (ObjectDisposedException)
            {
                throw new RpcException(new Status(StatusCode.Cancelled, "the kubelet is gone"));
            }
        }

        public void Dispose()
        {
            _gone.Cancel();
            _caller.Dispose();
        }
    }

    /// <summary>What the kubelet does with one pod, one thing after another.</summary>
    internal sealed class PodWorker(ChaosKubelet kubelet, ChaosPod pod)
    {
        private readonly Dictionary<string, long> _createdAt = new(StringComparer.Ordinal);
        private readonly Dictionary<string, int> _restartCounts = new(StringComparer.Ordinal);
        private readonly ConcurrentDictionary<(string SandboxId, string Name), string> _completed = new();
        private long _finishedAt;
        private volatile bool _isDeleted, _isGone;

        public ChaosPod Pod => pod;

        public Task Busy { get; private set; } = Task.CompletedTask;

        /// <summary>The one that it works with now.</summary>
        public string SandboxId { get; private set; } = "";

        /// <summary>Ids of all sandboxes that it ever had.</summary>
        public ConcurrentDictionary<string, bool> Sandboxes { get; } = new(StringComparer.Ordinal);

        public bool IsDeleted => _isDeleted;

        /// <summary>Deleted, and nothing of it is left.</summary>
        public bool IsGone => _isGone;

        /// <summary>When it was deleted, by the clock that processes write down.</summary>
        public TimeSpan DeletedAt { get; private set; }

        /// <summary>Which instance an emulated sidecar was shown completed as.</summary>
        public string? CompletedAs(string container) => _completed.GetValueOrDefault((SandboxId, container));

        /// <summary>What was lost may be shown otherwise from now on.</summary>
        public void ForgetCompletions() => _completed.Clear();

        public void Delete()
        {
            DeletedAt = WrittenLine.Uptime();
            _isDeleted = true;
        }

        public void Offer(Relist relist)
        {
            // A list that is older than what was done last would have it done again.
            if (Busy.IsCompleted && !_isGone && relist.AskedAt > _finishedAt)
            {
                Busy = Task.Run(() => WorkAsync(relist));
            }
        }

        private async Task WorkAsync(Relist relist)
        {
            try
            {
                PodSandbox[] own = [.. relist.Sandboxes.Where(one => one.Metadata.Uid == pod.Uid).OrderBy(one => one.CreatedAt)];
                foreach (PodSandbox sandbox in own)
                {
                    Sandboxes[sandbox.Id] = true;
                }

                Container[] containers = [.. relist.Containers.Where(one => Sandboxes.ContainsKey(one.PodSandboxId))];
                Compare(containers);
                if (_isDeleted)
                {
                    await EndAsync(own);
                }
                else
                {
                    await SyncAsync(own, containers);
                }
            }
            catch (RpcException failure)
            {
                kubelet.Note(pod.Name, failure);
            }
            finally
            {
                _finishedAt = TimeProvider.System.GetTimestamp();
            }
        }

        /// <summary>What a kubelet must not see.</summary>
        private void Compare(Container[] containers)
        {
            foreach (IGrouping<(string SandboxId, string Name), Container> lineage in containers.GroupBy(one => (one.PodSandboxId, one.Metadata.Name)))
            {
                string what = $"{pod.Name}: {string.Join(", ", lineage.Select(one => $"{one.Metadata.Name}/{one.Metadata.Attempt} {one.Id[..12]} {one.State}"))}";
                if (lineage.Count(one => one.State == ContainerState.ContainerRunning) > 1)
                {
                    kubelet.Violate($"two of one name were shown running: {what}");
                }

                Container newest = lineage.MaxBy(one => one.CreatedAt)!;
                string key = $"{lineage.Key.SandboxId}/{lineage.Key.Name}";
                int count = RestartCount(newest);
                if (count < _restartCounts.GetValueOrDefault(key))
                {
                    kubelet.Violate($"the restart count went back from {_restartCounts[key]}: {what}");
                }

                _restartCounts[key] = count;
                if (lineage.Any(one => RestartCount(one) != one.Metadata.Attempt))
                {
                    kubelet.Violate($"a restart count is not the attempt: {what}");
                }

                if (pod.Containers.First(one => one.Name == lineage.Key.Name).Form == SidecarForm.Emulated)
                {
                    if (_completed.TryGetValue(lineage.Key, out string? completed)
                        && (lineage.Count() != 1 || newest.Id != completed || newest.State != ContainerState.ContainerExited))
                    {
                        kubelet.Violate($"{completed[..12]} was shown completed, and now: {what}");
                    }
                }
            }
        }

        private async Task SyncAsync(PodSandbox[] sandboxes, Container[] all)
        {
            PodSandbox? ready = sandboxes.LastOrDefault(one => one.State == PodSandboxState.SandboxReady);
            if (ready is null)
            {
                uint attempt = sandboxes.Length == 0 ? 0 : sandboxes.Max(one => one.Metadata.Attempt) + 1;
                string id = (await CallAsync((runtime, options) => runtime.RunPodSandboxAsync(
                    new RunPodSandboxRequest { Config = pod.Sandbox(attempt) }, options))).PodSandboxId;
                Sandboxes[id] = true;
                return;
            }

            SandboxId = ready.Id;
            Container[] containers = [.. all.Where(one => one.PodSandboxId == ready.Id)];
            bool isInitialised = pod.Containers.Any(one => !one.IsInit && containers.Any(there => there.Metadata.Name == one.Name));
            foreach (ChaosContainer spec in pod.Containers)
            {
                Container? newest = containers.Where(one => one.Metadata.Name == spec.Name).MaxBy(one => one.CreatedAt);
                if (spec.Form == SidecarForm.Emulated)
                {
                    if (isInitialised || (newest is not null && await IsCompletedAsync(newest)))
                    {
                        continue;
                    }

                    if (newest?.State != ContainerState.ContainerRunning)
                    {
                        await RunAsync(ready, spec, newest);
                    }

                    return;
                }

                if (newest?.State == ContainerState.ContainerRunning)
                {
                    continue;
                }

                await RunAsync(ready, spec, newest);
                if (spec.IsInit && !isInitialised)
                {
                    return;
                }
            }

            await CollectAsync(containers);
        }

        private async Task<bool> IsCompletedAsync(Container newest)
        {
            if (newest.State != ContainerState.ContainerExited)
            {
                return false;
            }

            ContainerStatus status = (await CallAsync((runtime, options) => runtime.ContainerStatusAsync(
                new ContainerStatusRequest { ContainerId = newest.Id }, options))).Status;
            if (status is not { ExitCode: 0, Reason: "Completed", FinishedAt: > 0 })
            {
                return false;
            }

            _completed[(newest.PodSandboxId, newest.Metadata.Name)] = newest.Id;
            return true;
        }

        private async Task RunAsync(PodSandbox sandbox, ChaosContainer spec, Container? newest)
        {
            if (_createdAt.TryGetValue(spec.Name, out long before) && TimeProvider.System.GetElapsedTime(before) < Backoff)
            {
                return;
            }

            _createdAt[spec.Name] = TimeProvider.System.GetTimestamp();
            uint attempt = newest is null ? 0 : (uint)RestartCount(newest) + 1;
            CreateContainerRequest request = pod.Create(sandbox.Id, sandbox.Metadata.Attempt, spec, attempt);
            string id = (await CallAsync((runtime, options) => runtime.CreateContainerAsync(request, options))).ContainerId;
            _ = await CallAsync((runtime, options) => runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, options));
            pod.Link(spec.Name, attempt, id);
        }

        /// <summary>
        /// The dead but for the newest of a name, their logs first, as a real one does it once a minute. crishim removes older dead of a sidecar that it
        /// restarted itself; where the kubelet was quicker each time, they are the kubelet's.
        /// </summary>
        private async Task CollectAsync(Container[] containers)
        {
            foreach (Container dead in containers.Where(one => one.State != ContainerState.ContainerRunning).GroupBy(one => one.Metadata.Name)
                .SelectMany(name => name.OrderByDescending(one => one.CreatedAt).Skip(1)))
            {
                File.Delete(Path.Combine(pod.LogFolder(dead.Metadata.Name), $"{dead.Metadata.Attempt}.log"));
                File.Delete(pod.LinkOf(dead.Metadata.Name, dead.Id));
                _ = await CallAsync((runtime, options) => runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = dead.Id }, options));
            }
        }

        private async Task EndAsync(PodSandbox[] sandboxes)
        {
            foreach (PodSandbox sandbox in sandboxes)
            {
                if (sandbox.State == PodSandboxState.SandboxReady)
                {
                    await StopContainersAsync(sandbox.Id);
                }

                _ = await CallAsync((runtime, options) => runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox.Id }, options));
                Container[] left = await RunningAsync(sandbox.Id);
                if (left.Length > 0)
                {
                    kubelet.Violate($"{pod.Name}: {left[0].Metadata.Name} runs after StopPodSandbox");
                }

                _ = await CallAsync((runtime, options) => runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox.Id }, options));
            }

            _isGone = sandboxes.Length == 0;
        }

        private async Task StopContainersAsync(string sandboxId)
        {
            Container[] running = await RunningAsync(sandboxId);
            if (!kubelet._endsInOrder)
            {
                _ = await StopAsync(running);
                return;
            }

            string[] natives = [.. pod.Sidecars.Where(one => one.Form == SidecarForm.Native).Select(one => one.Name)];
            _ = await StopAsync(running.Where(one => !natives.Contains(one.Metadata.Name)));
            foreach (string native in natives.Reverse())
            {
                _ = await StopAsync(running.Where(one => one.Metadata.Name == native));
            }
        }

        private Task<StopContainerResponse[]> StopAsync(IEnumerable<Container> containers) => Task.WhenAll(containers.Select(one => CallAsync(
            (runtime, options) => runtime.StopContainerAsync(new StopContainerRequest { ContainerId = one.Id, Timeout = ChaosPod.Grace }, options),
            CallTime + TimeSpan.FromSeconds(ChaosPod.Grace))));

        private async Task<Container[]> RunningAsync(string sandboxId) =>
        [
            .. (await CallAsync((runtime, options) => runtime.ListContainersAsync(
                new ListContainersRequest
                {
                    Filter = new ContainerFilter { PodSandboxId = sandboxId, State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
                }, options))).Containers,
        ];

        private Task<T> CallAsync<T>(Func<RuntimeService.RuntimeServiceClient, CallOptions, AsyncUnaryCall<T>> call, TimeSpan? time = null) =>
            kubelet._life.CallAsync(call, time);

        private static int RestartCount(Container container) =>
            int.Parse(container.Annotations["io.kubernetes.container.restartCount"], CultureInfo.InvariantCulture);
    }
}
