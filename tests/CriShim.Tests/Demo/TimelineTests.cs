using CriShim.Demo;

namespace CriShim.Tests.Demo;

public sealed class TimelineTests
{
    private static readonly DateTimeOffset s_asked = new(2026, 11, 24, 9, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Draw_SeveralEndings_AreInOrderOnOneScale()
    {
        IReadOnlyList<string> rows = Timeline.Draw(s_asked, [At("log", 900, 1000), At("greeter", 0, 500), At("proxy", 500, 900)], 11);

        Assert.Equal(
        [
            "greeter  ●━━━━┫       SIGTERM after 0 ms, ended after 500 ms",
            "proxy    ─────●━━━┫   SIGTERM after 500 ms, ended after 900 ms",
            "log      ─────────●┫  SIGTERM after 900 ms, ended after 1000 ms",
        ], rows);
    }

    [Theory]
    [InlineData(0, 0, "●┫  ")]
    [InlineData(1000, 1000, "──●┫")]
    [InlineData(-5, 1000, "●━━┫")]
    public void Draw_EndingsWithinAColumnOrBeforeTheAsking_StillShowBoth(int signalled, int ended, string bar)
    {
        IReadOnlyList<string> rows = Timeline.Draw(s_asked, [At("one", signalled, ended), At("last", 1000, 1000)], 4);

        Assert.Contains(rows, row => row.StartsWith($"one   {bar}  SIGTERM", StringComparison.Ordinal));
    }

    [Fact]
    public void Draw_AllAtOnce_DividesByNothing() =>
        Assert.Equal("a  ●┫  SIGTERM after 0 ms, ended after 0 ms", Assert.Single(Timeline.Draw(s_asked, [At("a", 0, 0)], 2)));

    private static Ending At(string name, int signalled, int ended) =>
        new(name, s_asked + TimeSpan.FromMilliseconds(signalled), s_asked + TimeSpan.FromMilliseconds(ended));
}
