namespace CriShim.Discovery;

/// <summary>
/// How long to wait before the next try: doubling, with jitter, so that the nodes of a cluster do not come back at once when its API
/// server does.
/// </summary>
internal sealed class RetryBackoff(TimeSpan initial, TimeSpan max, Random random)
{
    private int _failures;

    /// <summary>The wait after one more failure: between half and the whole of the current step.</summary>
    public TimeSpan Next()
    {
        // 2^30 steps are past any maximum, and the shift stays in range.
        double step = Math.Min(max.TotalSeconds, initial.TotalSeconds * (1L << Math.Min(_failures, 30)));
        _failures++;
        return TimeSpan.FromSeconds(step * (0.5 + (random.NextDouble() / 2)));
    }

    public void Reset() => _failures = 0;
}
