using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;

namespace CriShim.Proxy.Tests;

/// <summary>A supervision that lets every call pass, and shows containers as the test says.</summary>
internal sealed class ShownContainers : ISupervision
{
    private readonly ConcurrentDictionary<string, ShownContainer> _shown = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _current = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, DateTimeOffset> _started = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _seenExited = new();
    private volatile bool _rewritesViews;

    public bool RewritesViews
    {
        get => _rewritesViews;
        set => _rewritesViews = value;
    }

    public bool MapsIds => !_current.IsEmpty;

    public bool WatchesHooks => false;

    public bool WatchesEnds { get; set; }

    /// <summary>What a death that a message tells of leads to, where supervision has not heard of it: asked once for each.</summary>
    public Action<string>? OnSeenExited { get; set; }

    /// <summary>The containers of which messages have said that they ended, once each.</summary>
    public IReadOnlyList<string> SeenExited => [.. _seenExited];

    public event Action<string>? ViewChanged;

    public event Action<ContainerEventResponse>? EndMade;

    /// <summary>It runs, and is shown completed from here on; who follows events is told by this message.</summary>
    public void Complete(string id, DateTimeOffset at, int attempt = 0, ContainerEventResponse? end = null)
    {
        _shown[id] = ShownContainer.Masked(at, attempt);
        RewritesViews = true;
        if (end is not null)
        {
            EndMade?.Invoke(end);
        }

        ViewChanged?.Invoke(id);
    }

    /// <summary>It runs in the place of one that is shown completed.</summary>
    public void HideForGood(string id, string behind)
    {
        _current[behind] = id;
        _shown[id] = ShownContainer.HiddenForGood;
        RewritesViews = true;
    }

    /// <summary>It ended before it had started.</summary>
    public void Fail(string id)
    {
        _shown[id] = new ShownContainer(ShownAs.Failed);
        RewritesViews = true;
    }

    /// <summary>Its end is not shown, for a replacement is being made, which is not shown either.</summary>
    public void Mask(string old, string? replacement = null)
    {
        _shown[old] = ShownContainer.Running;
        if (replacement is not null)
        {
            _shown[replacement] = ShownContainer.Hidden;
        }

        RewritesViews = true;
    }

    public void Hide(string replacement)
    {
        _shown[replacement] = ShownContainer.Hidden;
        RewritesViews = true;
    }

    /// <summary>The replacement runs, by the reply to its start: one step.</summary>
    public void Flip(string old, string replacement)
    {
        _current[old] = replacement;
        _started[replacement] = DateTimeOffset.UnixEpoch.AddSeconds(100);
        _ = _shown.TryRemove(old, out _);
        _ = _shown.TryRemove(replacement, out _);
        ViewChanged?.Invoke(old);
        ViewChanged?.Invoke(replacement);
        RewritesViews = !_shown.IsEmpty;
    }

    /// <summary>The backend's lists are behind the exit event of one that a newer one has replaced.</summary>
    public void KnowEnded(string old, int exitCode) =>
        _shown[old] = new ShownContainer(ShownAs.Exited, DateTimeOffset.UnixEpoch.AddSeconds(99), exitCode, "Error");

    /// <summary>Its end is shown as completion.</summary>
    public void Complete(string id)
    {
        _shown[id] = ShownContainer.Completed;
        RewritesViews = true;
    }

    /// <summary>It is shown as what it is, without a replacement.</summary>
    public void Unmask(string old)
    {
        _ = _shown.TryRemove(old, out _);
        ViewChanged?.Invoke(old);
        RewritesViews = !_shown.IsEmpty;
    }

    public ShownContainer? Show(string containerId, string sandboxId, string name, uint attempt) =>
        _shown.TryGetValue(containerId, out ShownContainer shown) && shown.As != ShownAs.Exited ? shown : null;

    public ShownContainer? See(string containerId, string sandboxId, string name, uint attempt, ContainerState said)
    {
        if (said == ContainerState.ContainerExited)
        {
            lock (_seenExited)
            {
                if (!_seenExited.Contains(containerId))
                {
                    _seenExited.Enqueue(containerId);
                    OnSeenExited?.Invoke(containerId);
                }
            }
        }

        return Show(containerId, sandboxId, name, attempt) ?? said switch
        {
            ContainerState.ContainerRunning when _shown.TryGetValue(containerId, out ShownContainer ended) => ended,
            ContainerState.ContainerCreated when _started.TryGetValue(containerId, out DateTimeOffset at) => new ShownContainer(ShownAs.Running, at),
            _ => null,
        };
    }

    public string? SandboxOf(string containerId) => null;

    /// <summary>What there is to say about a container, a sandbox or ("") the node.</summary>
    public Func<string, string?> Describe { get; set; } = _ => null;

    public string? DescribeContainer(string containerId) => Describe(containerId);

    public string? DescribePod(string sandboxId) => Describe(sandboxId);

    public string? DescribeNode() => Describe("");

    public string CurrentInstance(string containerId) => _current.GetValueOrDefault(containerId, containerId);

    public Task ReadyAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task<CreateAnswer> BeforeCreateAsync(CreateContainerRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(default(CreateAnswer));

    public Task<bool> BeforeStartAsync(string containerId, DateTime deadline, CancellationToken cancellationToken) => Task.FromResult(false);

    public Task<string> BeforeStopAsync(string containerId, TimeSpan timeout, DateTime deadline, CancellationToken cancellationToken) =>
        Task.FromResult(containerId);

    public Task BeforeRemoveAsync(string containerId, DateTime deadline, CancellationToken cancellationToken) => Task.CompletedTask;

    public Task<bool> BeforeStopSandboxAsync(string sandboxId, DateTime deadline, CancellationToken cancellationToken) =>
        Task.FromResult(false);

    public void OnStopSandboxEnded(string sandboxId, bool isStopped)
    {
    }

    public void OnStopped(string containerId)
    {
    }

    public void OnExec(string containerId, IReadOnlyList<string> command, bool isRunning)
    {
    }

    public void BeforeRunPodSandbox()
    {
    }

    public void OnPodSandboxRan(string sandboxId, PodSandboxConfig? config)
    {
    }

    public void OnCreated(CreateContainerRequest request, string containerId)
    {
    }

    public void OnCreateFailed(CreateContainerRequest request, bool isOutcomeKnown)
    {
    }

    public void OnStarted(string containerId)
    {
    }

    public void OnRemoved(string containerId)
    {
    }

    public void OnResourcesUpdated(UpdateContainerResourcesRequest request)
    {
    }

    public void OnPodSandboxRemoved(string sandboxId)
    {
    }
}
