namespace CriShim.Containerd.Events;

/// <summary>Which containers the kernel lately killed a process of, for lack of memory. Bounded: the oldest marks go first.</summary>
internal sealed class OomMarks(TimeSpan window, TimeProvider time)
{
    private const int Limit = 1024;
    private readonly Dictionary<string, long> _at = [];
    private readonly Queue<(string ContainerId, long At)> _order = new();

    public void Mark(string containerId)
    {
        long now = time.GetTimestamp();
        _at[containerId] = now;
        _order.Enqueue((containerId, now));
        while (_order.Count > Limit || (_order.TryPeek(out var oldest) && time.GetElapsedTime(oldest.At, now) > window))
        {
            (string id, long at) = _order.Dequeue();
            if (_at.TryGetValue(id, out long last) && last == at)
            {
                _at.Remove(id);
            }
        }
    }

    /// <summary>True when the container has a mark that is fresh enough; takes it away.</summary>
    public bool Take(string containerId) => _at.Remove(containerId, out long at) && time.GetElapsedTime(at) <= window;
}
