namespace CriShim.Discovery;

/// <summary>The time that one call may take.</summary>
internal sealed class CallDeadline : IDisposable
{
    private readonly CancellationTokenSource _limit;
    private readonly CancellationTokenSource _linked;
    private readonly CancellationToken _outer;

    public CallDeadline(TimeSpan limit, TimeProvider time, CancellationToken outer)
    {
        _outer = outer;
        _limit = new CancellationTokenSource(limit, time);
        _linked = CancellationTokenSource.CreateLinkedTokenSource(_limit.Token, outer);
    }

    public CancellationToken Token => _linked.Token;

    /// <summary>The time is up, and nobody has asked to stop.</summary>
    public bool IsOver => _limit.IsCancellationRequested && !_outer.IsCancellationRequested;

    public void Dispose()
    {
        _linked.Dispose();
        _limit.Dispose();
    }
}
