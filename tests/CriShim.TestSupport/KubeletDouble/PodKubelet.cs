using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Google.Protobuf.Collections;
using Grpc.Core;

namespace CriShim.TestSupport.KubeletDouble;

/// <summary>
/// Does with one pod what a kubelet does: relists, keeps per container name the newest by CreatedAt, creates the next attempt of a
/// sidecar that it sees dead, adopts what runs under its hash; and writes down whatever would confuse a real one.
/// </summary>
/// <remarks>
/// From the kubelet's code and its recorded calls: a relist is ListPodSandbox and ListContainers; where a state has changed, the sandbox's
/// and its containers' statuses follow. Hash and restart count come from annotations, never from the attempt.
/// </remarks>
public sealed class PodKubelet : IAsyncDisposable
{
    private static readonly TimeSpan s_relistPeriod = TimeSpan.FromSeconds(1);

    private readonly CriCaller _caller;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly Dictionary<string, Container> _last = new(StringComparer.Ordinal);
    private readonly Dictionary<string, int> _ownRestarts = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _lastOwnRestart = new(StringComparer.Ordinal);
    private readonly HashSet<string> _own = new(StringComparer.Ordinal);
    private readonly HashSet<string> _removed = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly ConcurrentQueue<string> _creates = new();
    private IReadOnlyDictionary<string, ContainerStatus> _statuses = new Dictionary<string, ContainerStatus>();
    private CancellationTokenSource? _stop;
    private Task _relisting = Task.CompletedTask;
    private bool _isStopping;

    /// <param name="caller">Where its calls go.</param>
    /// <param name="pod">The pod.</param>
    /// <param name="replacesCreated">True for 1.36, which creates another attempt beside one that is only CREATED; 1.28 waits for it.</param>
    public PodKubelet(CriCaller caller, KubeletPod pod, bool replacesCreated = true)
    {
        _caller = caller;
        Pod = pod;
        ReplacesCreated = replacesCreated;
    }

    public KubeletPod Pod { get; }

    public bool ReplacesCreated { get; }

    public string SandboxId { get; private set; } = "";

    /// <summary>After the first restart of its own, which is immediate: doubles up to 300 s.</summary>
    public TimeSpan Backoff { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>To see a sidecar dead is a violation: the shim is to be quicker.</summary>
    public bool ExpectsSidecarsRunning { get; set; } = true;

    /// <summary>What would have confused a real kubelet.</summary>
    public IReadOnlyList<string> Violations => [.. _violations];

    /// <summary>Restarts of its own: name and attempt.</summary>
    public IReadOnlyList<string> Creates => [.. _creates];

    /// <summary>What it makes of the pod's status: the newest instance of each name.</summary>
    public ContainerStatus Newest(string name) => _statuses.Values
        .Where(status => status.Metadata.Name == name)
        .OrderBy(status => status.CreatedAt)
        .Last();

    /// <summary>The second newest, which is a real kubelet's lastState; null when there is none.</summary>
    public ContainerStatus? Before(string name) => _statuses.Values
        .Where(status => status.Metadata.Name == name)
        .OrderByDescending(status => status.CreatedAt)
        .ElementAtOrDefault(1);

    /// <summary>The API's restartCount.</summary>
    public int RestartCount(string name) => RestartCount(Newest(name).Annotations);

    /// <summary>Runs the sandbox, then the containers in their order.</summary>
    public async Task RunPodAsync()
    {
        SandboxId = (await _caller.Runtime.RunPodSandboxAsync(Pod.Sandbox).ConfigureAwait(false)).PodSandboxId;
        foreach (string name in Pod.ContainerNames)
        {
            await RunContainerAsync(name, 0).ConfigureAwait(false);
        }

        await RelistAsync().ConfigureAwait(false);
    }

    /// <summary>Creates and starts an attempt as a kubelet does; gives its id.</summary>
    public async Task<string> RunContainerAsync(string name, uint attempt)
    {
        CreateContainerRequest request = Pod.Create(SandboxId, name, attempt);
        string id = (await _caller.Runtime.CreateContainerAsync(request).ConfigureAwait(false)).ContainerId;
        _own.Add(id);
        await _caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }).ConfigureAwait(false);
        Pod.Link(name, attempt, id);
        return id;
    }

    /// <summary>Begins to relist every second.</summary>
    public void Start()
    {
        _stop = new CancellationTokenSource();
        _relisting = RelistPeriodicallyAsync(_stop.Token);
    }

    /// <summary>The kubelet is stopped; its pod goes on.</summary>
    public async Task StopAsync()
    {
        if (_stop is { } stop)
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await _relisting.ConfigureAwait(false);
            stop.Dispose();
            _stop = null;
        }
    }

    /// <summary>One relist and what follows from it.</summary>
    public async Task RelistAsync()
    {
        await _turn.WaitAsync().ConfigureAwait(false);
        try
        {
            ListPodSandboxResponse sandboxes =
                await _caller.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest { Filter = new PodSandboxFilter() }).ConfigureAwait(false);
            ListContainersResponse containers =
                await _caller.Runtime.ListContainersAsync(new ListContainersRequest { Filter = new ContainerFilter() }).ConfigureAwait(false);
            Container[] own = [.. containers.Containers.Where(container => container.PodSandboxId == SandboxId)];
            if (!Compare(own))
            {
                return;
            }

            await ReadStatusesAsync(own).ConfigureAwait(false);
            bool ready = sandboxes.Items.Any(sandbox => sandbox.Id == SandboxId && sandbox.State == PodSandboxState.SandboxReady);
            if (ready && !_isStopping)
            {
                await SyncAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    /// <summary>What a kubelet does when the pod is deleted: main containers, then sidecars, then the sandbox.</summary>
    public async Task StopPodAsync(long grace)
    {
        _isStopping = true;
        await RelistAsync().ConfigureAwait(false);
        foreach (string name in Pod.ContainerNames.Reverse())
        {
            ContainerStatus newest = Newest(name);
            if (newest.State == ContainerState.ContainerRunning)
            {
                await _caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = newest.Id, Timeout = grace }).ConfigureAwait(false);
            }
        }

        await StopSandboxAsync().ConfigureAwait(false);
    }

    /// <summary>StopPodSandbox, and a fresh list: what still runs there is what a kubelet calls a CRI violation.</summary>
    public async Task StopSandboxAsync()
    {
        _isStopping = true;
        await _caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = SandboxId }).ConfigureAwait(false);
        ListContainersResponse left = await _caller.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = SandboxId } }).ConfigureAwait(false);
        foreach (Container container in left.Containers.Where(container => container.State == ContainerState.ContainerRunning))
        {
            Violate($"{Describe(container)} runs after StopPodSandbox");
        }
    }

    /// <summary>Removes a dead instance as garbage collection does: its logs first.</summary>
    public async Task RemoveAsync(string id)
    {
        ContainerStatus status = _statuses[id];
        foreach (string log in Directory.GetFiles(Path.GetDirectoryName(status.LogPath)!, Path.GetFileName(status.LogPath) + "*"))
        {
            File.Delete(log);
        }

        File.Delete(Pod.LogLink(status.Metadata.Name, id));
        _removed.Add(id);
        await _caller.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = id }).ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync().ConfigureAwait(false);
        _turn.Dispose();
    }

    private static int RestartCount(MapField<string, string> annotations) =>
        int.Parse(annotations["io.kubernetes.container.restartCount"], CultureInfo.InvariantCulture);

    private static string Describe(Container container) =>
        $"{container.Metadata.Name}/{container.Metadata.Attempt} ({container.Id[..12]}, {container.State})";

    private async Task RelistPeriodicallyAsync(CancellationToken stop)
    {
        using var timer = new PeriodicTimer(s_relistPeriod);
        try
        {
            while (await timer.WaitForNextTickAsync(stop).ConfigureAwait(false))
            {
                try
                {
                    await RelistAsync().ConfigureAwait(false);
                }
                catch (RpcException failure)
                {
                    // A real one logs it and relists again a second later; only what is not UNAVAILABLE says something of the shim.
                    if (failure.StatusCode != StatusCode.Unavailable)
                    {
                        Violate($"a relist failed: {failure.Status}");
                    }
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped.
        }
    }

    /// <summary>True when something has changed.</summary>
    private bool Compare(Container[] now)
    {
        bool changed = false;
        foreach (IGrouping<string, Container> lineage in now.GroupBy(container => container.Metadata.Name))
        {
            Container[] running = [.. lineage.Where(container => container.State == ContainerState.ContainerRunning)];
            if (running.Length > 1)
            {
                Violate($"two of one name run: {string.Join(" and ", running.Select(Describe))}");
            }

            Container newest = lineage.OrderBy(container => container.CreatedAt).Last();
            if (_statuses.Values.Where(status => status.Metadata.Name == lineage.Key).OrderBy(status => status.CreatedAt).LastOrDefault() is { } before
                && RestartCount(newest.Annotations) < RestartCount(before.Annotations))
            {
                Violate($"the restart count of {Describe(newest)} went back from {RestartCount(before.Annotations)} to {RestartCount(newest.Annotations)}");
            }

            if (lineage.Key == KubeletPod.Sidecar && ExpectsSidecarsRunning && newest.State == ContainerState.ContainerExited && !_isStopping)
            {
                Violate($"{Describe(newest)} was shown dead");
            }
        }

        foreach (Container container in now)
        {
            _ = _last.TryGetValue(container.Id, out Container? before);
            changed |= before?.State != container.State;
            if (container.State == ContainerState.ContainerCreated && !_own.Contains(container.Id))
            {
                Violate($"{Describe(container)} was shown before it ran");
            }

            if (before is not null && before.State != ContainerState.ContainerUnknown && container.State < before.State)
            {
                Violate($"{Describe(container)} was {before.State} before");
            }

            if (RestartCount(container.Annotations) != container.Metadata.Attempt)
            {
                Violate($"{Describe(container)} has the restart count {RestartCount(container.Annotations)}");
            }
        }

        foreach (Container before in _last.Values.Where(before => now.All(container => container.Id != before.Id)))
        {
            changed = true;
            // Between two relists one may die, be replaced, and go as the older of two dead: then a newer one is there.
            bool isReplaced = now.Any(container => container.Metadata.Name == before.Metadata.Name && container.CreatedAt > before.CreatedAt);
            if (before.State == ContainerState.ContainerRunning && !_removed.Contains(before.Id) && !isReplaced && !_isStopping)
            {
                Violate($"{Describe(before)} vanished");
            }
        }

        _last.Clear();
        foreach (Container container in now)
        {
            _last.Add(container.Id, container);
        }

        return changed;
    }

    private async Task ReadStatusesAsync(Container[] containers)
    {
        await _caller.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = SandboxId }).ConfigureAwait(false);
        var statuses = new Dictionary<string, ContainerStatus>(StringComparer.Ordinal);
        foreach (Container container in containers)
        {
            try
            {
                ContainerStatusResponse response =
                    await _caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = container.Id }).ConfigureAwait(false);
                ContainerStatus status = response.Status;
                statuses.Add(container.Id, status);
                if (status.State == ContainerState.ContainerCreated && container.State != ContainerState.ContainerCreated)
                {
                    Violate($"{Describe(container)} has the status {status.State}");
                }

                if (status.State == ContainerState.ContainerRunning && (status.FinishedAt != 0 || status.ExitCode != 0 || status.Reason.Length > 0))
                {
                    Violate($"{Describe(container)} runs and has an end: {status.FinishedAt} {status.ExitCode} {status.Reason}");
                }
            }
            catch (RpcException gone) when (gone.StatusCode == StatusCode.NotFound)
            {
                if (container.State == ContainerState.ContainerRunning)
                {
                    Violate($"{Describe(container)} is in the list and has no status");
                }
            }
        }

        _statuses = statuses;
    }

    /// <summary>The part of a sync that concerns sidecars; the pod is initialised.</summary>
    private async Task SyncAsync()
    {
        ContainerStatus newest = Newest(KubeletPod.Sidecar);
        string hash = Pod.Spec(KubeletPod.Sidecar).Annotations["io.kubernetes.container.hash"];
        switch (newest.State)
        {
            case ContainerState.ContainerRunning when newest.Annotations["io.kubernetes.container.hash"] == hash:
                return;
            case ContainerState.ContainerRunning:
                await _caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = newest.Id, Timeout = 2 }).ConfigureAwait(false);
                break;
            case ContainerState.ContainerCreated when !ReplacesCreated:
                return;
            case ContainerState.ContainerExited when !IsDue():
                // Looked at again, as the back-off of a real one makes the pod's worker do.
                _last.Clear();
                return;
            default:
                break;
        }

        uint attempt = (uint)RestartCount(newest.Annotations) + 1;
        _ownRestarts[KubeletPod.Sidecar] = _ownRestarts.GetValueOrDefault(KubeletPod.Sidecar) + 1;
        _lastOwnRestart[KubeletPod.Sidecar] = Stopwatch.GetTimestamp();
        _creates.Enqueue($"{KubeletPod.Sidecar}/{attempt}");
        try
        {
            await RunContainerAsync(KubeletPod.Sidecar, attempt).ConfigureAwait(false);
        }
        catch (RpcException failure) when (failure.Status.Detail.Contains("failed to reserve container name", StringComparison.Ordinal))
        {
            // Somebody was quicker; the next relist tells.
        }
    }

    private bool IsDue()
    {
        int restarts = _ownRestarts.GetValueOrDefault(KubeletPod.Sidecar);
        if (restarts == 0)
        {
            return true;
        }

        TimeSpan delay = TimeSpan.FromSeconds(Math.Min(300, Backoff.TotalSeconds * Math.Pow(2, restarts - 1)));
        return Stopwatch.GetElapsedTime(_lastOwnRestart[KubeletPod.Sidecar]) >= delay;
    }

    private void Violate(string what) => _violations.Enqueue(what);
}
