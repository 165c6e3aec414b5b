using CriShim.Containerd.Events;

namespace CriShim.Containerd.Tests.Events;

public sealed class ReconnectDelayTests
{
    private static readonly ContainerdEventsOptions s_options = new() { SocketPath = "/none" };

    [Fact]
    public void Next_ShortOutage_DoublesFrom50To250Milliseconds()
    {
        var delay = new ReconnectDelay(s_options, () => 1);

        Assert.Equal([50, 100, 200, 250, 250], Enumerable.Range(0, 5).Select(_ => delay.Next(TimeSpan.Zero).TotalMilliseconds));
    }

    [Fact]
    public void Next_LongOutage_GrowsToASecond()
    {
        var delay = new ReconnectDelay(s_options, () => 1);

        Assert.Equal([400, 800, 1000, 1000], Enumerable.Range(0, 7).Select(_ => delay.Next(TimeSpan.FromMinutes(5)).TotalMilliseconds).ToList()[3..]);
    }

    [Fact]
    public void Next_Jitter_IsAtMostHalf() =>
        Assert.Equal(25, new ReconnectDelay(s_options, () => 0).Next(TimeSpan.Zero).TotalMilliseconds);

    [Fact]
    public void Reset_AfterGrowth_StartsAnew()
    {
        var delay = new ReconnectDelay(s_options, () => 1);
        delay.Next(TimeSpan.Zero);
        delay.Next(TimeSpan.Zero);

        delay.Reset();

        Assert.Equal(50, delay.Next(TimeSpan.Zero).TotalMilliseconds);
    }
}
