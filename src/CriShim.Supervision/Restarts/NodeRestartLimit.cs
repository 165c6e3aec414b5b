namespace CriShim.Supervision.Restarts;

/// <summary>A restart that may start now.</summary>
/// <param name="Pod">The sandbox id it was asked for.</param>
/// <param name="Lineage">The container's name.</param>
public readonly record struct RestartSlot(string Pod, string Lineage);

/// <summary>
/// The node-wide rate limit of restarts: a token bucket, shared by turns. Pods with waiting restarts stand in a ring and get one slot a
/// turn, so a pod whose sidecars die all the time delays another by one slot, never more. Not thread-safe: one lock for the node.
/// </summary>
public sealed class NodeRestartLimit
{
    private readonly NodeLimitOptions _options;
    private readonly Dictionary<string, LinkedList<string>> _waiting = new(StringComparer.Ordinal);
    private readonly LinkedList<string> _ring = new();
    private double _tokens;
    private DateTimeOffset _filledAt;

    public NodeRestartLimit(NodeLimitOptions options, DateTimeOffset now)
    {
        _options = options;
        _tokens = options.Burst;
        _filledAt = now;
    }

    /// <summary>Restarts that wait.</summary>
    public int Waiting => _waiting.Values.Sum(w => w.Count);

    internal bool HasWaiting(string pod) => _waiting.ContainsKey(pod);

    /// <summary>Queues a restart; a second ask for the same one changes nothing. <see cref="TakeGranted"/> tells whose turn it is.</summary>
    public void Ask(string pod, string lineage)
    {
        if (!_waiting.TryGetValue(pod, out LinkedList<string>? lineages))
        {
            _waiting.Add(pod, lineages = new LinkedList<string>());
            _ = _ring.AddLast(pod);
        }

        if (!lineages.Contains(lineage))
        {
            _ = lineages.AddLast(lineage);
        }
    }

    /// <summary>The restart is not wanted any more.</summary>
    public void Cancel(string pod, string lineage)
    {
        if (_waiting.TryGetValue(pod, out LinkedList<string>? lineages) && lineages.Remove(lineage) && lineages.Count == 0)
        {
            _ = _waiting.Remove(pod);
            _ = _ring.Remove(pod);
        }
    }

    /// <summary>The slots that are free now, in the order of the ring. Each costs a token, used or not.</summary>
    public IReadOnlyList<RestartSlot> TakeGranted(DateTimeOffset now)
    {
        Refill(now);
        var granted = new List<RestartSlot>();
        while (_tokens >= 1 && _ring.First is { } turn)
        {
            LinkedList<string> lineages = _waiting[turn.Value];
            granted.Add(new RestartSlot(turn.Value, lineages.First!.Value));
            lineages.RemoveFirst();
            _ring.RemoveFirst();
            _tokens -= 1;
            if (lineages.Count > 0)
            {
                _ring.AddLast(turn);
            }
            else
            {
                _ = _waiting.Remove(turn.Value);
            }
        }

        return granted;
    }

    /// <summary>When <see cref="TakeGranted"/> has something again; null while nobody waits.</summary>
    public DateTimeOffset? NextAt(DateTimeOffset now)
    {
        if (_ring.Count == 0)
        {
            return null;
        }

        Refill(now);

        // Rounded up to a millisecond: a timer that fires a tick early would find nothing.
        return _tokens >= 1 ? now : now + TimeSpan.FromMilliseconds(Math.Ceiling((1 - _tokens) / _options.PerSecond * 1000));
    }

    private void Refill(DateTimeOffset now)
    {
        // A clock that is set back gives nothing and takes nothing.
        if (now > _filledAt)
        {
            _tokens = Math.Min(_options.Burst, _tokens + ((now - _filledAt).TotalSeconds * _options.PerSecond));
        }

        _filledAt = now;
    }
}
