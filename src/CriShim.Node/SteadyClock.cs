namespace CriShim.Node;

/// <summary>
/// The wall's time when it was made, and what has passed since: what waits for a time waits as long as it should when the wall's clock is set
/// meanwhile, and lists are not older than what came before them.
/// </summary>
internal sealed class SteadyClock(TimeProvider time)
{
    /// <summary>So much the wall's clock may be ahead without being followed.</summary>
    private static readonly TimeSpan Tolerance = TimeSpan.FromSeconds(1);

    private readonly long _beganAt = time.GetTimestamp();
    private long _beganTicks = time.GetUtcNow().UtcTicks;

    public DateTimeOffset Now => new DateTimeOffset(Volatile.Read(ref _beganTicks), TimeSpan.Zero) + time.GetElapsedTime(_beganAt);

    /// <summary>
    /// Goes with the wall's clock again where that is ahead: a node whose clock was wrong when it booted, or that was suspended, would be
    /// behind for ever. Never back, for then what has happened would be in the future.
    /// </summary>
    /// <param name="doesAnythingWait">Whether something waits for a time by this clock, which is left alone then.</param>
    /// <returns>How much was skipped; zero: nothing.</returns>
    public TimeSpan CatchUp(Func<bool> doesAnythingWait)
    {
        TimeSpan behind = time.GetUtcNow() - Now;
        if (behind <= Tolerance || doesAnythingWait())
        {
            return TimeSpan.Zero;
        }

        _ = Interlocked.Add(ref _beganTicks, behind.Ticks);
        return behind;
    }
}
