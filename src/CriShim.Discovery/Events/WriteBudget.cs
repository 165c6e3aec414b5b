namespace CriShim.Discovery.Events;

/// <summary>A token bucket: so many writes at once, then one in every interval.</summary>
internal sealed class WriteBudget(int burst, TimeSpan interval, DateTimeOffset now)
{
    private double _tokens = burst;
    private DateTimeOffset _at = now;

    /// <summary>How long until a write is allowed; zero: now.</summary>
    public TimeSpan Wait(DateTimeOffset time)
    {
        Fill(time);
        return _tokens >= 1 ? TimeSpan.Zero : interval * (1 - _tokens);
    }

    public void Spend(DateTimeOffset time)
    {
        Fill(time);
        _tokens--;
    }

    /// <summary>Nothing was spent lately: a new one would be the same.</summary>
    public bool IsFull(DateTimeOffset time)
    {
        Fill(time);
        return _tokens >= burst;
    }

    private void Fill(DateTimeOffset time)
    {
        // A clock that is set back gives nothing, and takes nothing.
        if (time > _at)
        {
            _tokens = Math.Min(burst, _tokens + ((time - _at) / interval));
        }

        _at = time;
    }
}
