using Microsoft.Extensions.Time.Testing;

namespace CriShim.Node.Tests.Support;

/// <summary>A clock that the test moves; its timers fire on the pool, as real ones do, and not on the thread that sets them.</summary>
internal sealed class PooledTime() : FakeTimeProvider(DateTimeOffset.UtcNow)
{
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        base.CreateTimer(value => ThreadPool.QueueUserWorkItem(_ => callback(value)), state, dueTime, period);
}
