using Microsoft.Extensions.Time.Testing;

namespace CriShim.Node.Tests.Support;

/// <summary>A clock that the test moves; its timers fire on the pool, as real ones do, and not on the thread that sets them.</summary>
internal sealed class PooledTime() : FakeTimeProvider(DateTimeOffset.UtcNow)
{
    private TimeSpan _set;

    /// <summary>Sets the wall's clock: what has passed is the same, and no timer fires for it.</summary>
    public void SetClock(TimeSpan by) => _set += by;

    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + _set;

    /// <summary>Steady, whatever the wall's clock says; the base's follows that.</summary>
    public override long GetTimestamp() => base.GetUtcNow().Ticks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(value => ThreadPool.QueueUserWorkItem(_ => callback(value)), state, dueTime, period);
}
