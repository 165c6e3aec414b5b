using CriShim.Node.Draining;

namespace CriShim.Node.Tests.Draining;

/// <summary>Pods whose ends the test decides about; notes what it is asked for.</summary>
internal sealed class StandInTeardown : IPodTeardown
{
    private readonly Lock _lock = new();
    private readonly List<PodToEnd> _ready = [];
    private readonly Dictionary<string, PodEndState> _states = new(StringComparer.Ordinal);
    private readonly List<(string SandboxId, double Seconds)> _begun = [];

    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool IsNodeKnown { get; set; } = true;

    /// <summary>Lists are answered once this is done.</summary>
    public Task ListGate { get; set; } = Task.CompletedTask;

    /// <summary>Called before each begin, under no lock.</summary>
    public Action<string>? OnBegin { get; set; }

    public IReadOnlyList<(string SandboxId, double Seconds)> Begun
    {
        get
        {
            lock (_lock)
            {
                return [.. _begun];
            }
        }
    }

    /// <summary>So many were begun.</summary>
    public Task BegunAsync(int count)
    {
        lock (_lock)
        {
            return _begun.Count >= count ? Task.CompletedTask : WaitAsync(_changed.Task, count);
        }
    }

    private async Task WaitAsync(Task changed, int count)
    {
        await changed;
        await BegunAsync(count);
    }

    public void Add(params string[] sandboxIds)
    {
        lock (_lock)
        {
            foreach (string id in sandboxIds)
            {
                _ready.Add(new PodToEnd(id, "default", $"pod-{id}"));
            }
        }
    }

    public void Set(string sandboxId, PodEndPhase phase, string stage = "", params string[] running)
    {
        lock (_lock)
        {
            _states[sandboxId] = new PodEndState(phase, running, stage);
            if (phase == PodEndPhase.Done)
            {
                _ = _ready.RemoveAll(pod => pod.SandboxId == sandboxId);
            }
        }
    }

    public void Remove(string sandboxId)
    {
        lock (_lock)
        {
            _ = _states.Remove(sandboxId);
            _ = _ready.RemoveAll(pod => pod.SandboxId == sandboxId);
        }
    }

    public async Task<IReadOnlyList<PodToEnd>?> ListReadyPodsAsync(CancellationToken cancellationToken)
    {
        PodToEnd[] ready;
        lock (_lock)
        {
            ready = [.. _ready];
        }

        // As a backend does: what it answers is as of when it was asked.
        await ListGate.ConfigureAwait(false);
        return IsNodeKnown ? ready : null;
    }

    public void BeginEnd(string sandboxId, TimeSpan grace)
    {
        OnBegin?.Invoke(sandboxId);
        lock (_lock)
        {
            _begun.Add((sandboxId, grace.TotalSeconds));
            _changed.SetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _states[sandboxId] = new PodEndState(PodEndPhase.Ending, ["main"], "main containers");
        }
    }

    public PodEndState? StateOf(string sandboxId)
    {
        lock (_lock)
        {
            return _states.GetValueOrDefault(sandboxId);
        }
    }
}
