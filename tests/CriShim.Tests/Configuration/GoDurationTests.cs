using CriShim.Configuration;
using CriShim.Supervision;

namespace CriShim.Tests.Configuration;

public sealed class GoDurationTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("0s", 0)]
    [InlineData("10s", 10_000)]
    [InlineData("1m30s", 90_000)]
    [InlineData("1.5s", 1_500)]
    [InlineData(".5s", 500)]
    [InlineData("250ms", 250)]
    [InlineData("1h0m1s", 3_601_000)]
    [InlineData("2000us", 2)]
    [InlineData("2000µs", 2)]
    [InlineData("3000000ns", 3)]
    public void TryParse_WhatGoTakes_GivesTheSame(string text, int milliseconds)
    {
        Assert.True(GoDuration.TryParse(text, out TimeSpan duration));
        Assert.Equal(TimeSpan.FromMilliseconds(milliseconds), duration);
    }

    [Theory]
    [InlineData("")]
    [InlineData("10")]
    [InlineData("s")]
    [InlineData("-1s")]
    [InlineData("+1s")]
    [InlineData("1 s")]
    [InlineData("1s ")]
    [InlineData("1x")]
    [InlineData("1sec")]
    [InlineData("1..5s")]
    [InlineData(".s")]
    [InlineData("1e3s")]
    [InlineData("00:00:10")]
    [InlineData("1m30")]
    [InlineData("1d")]
    public void TryParse_WhatGoRefuses_IsRefused(string text) => Assert.False(GoDuration.TryParse(text, out _));

    [Fact]
    public void TryParse_BeyondAllBounds_GivesTheGreatest()
    {
        Assert.True(GoDuration.TryParse("99999999999999999999h", out TimeSpan duration));
        Assert.Equal(TimeSpan.MaxValue, duration);
    }

    [Theory]
    [InlineData("0s", "0s")]
    [InlineData("10s", "10s")]
    [InlineData("90s", "1m30s")]
    [InlineData("1.5s", "1.5s")]
    [InlineData("0.25s", "250ms")]
    [InlineData("600s", "10m0s")]
    [InlineData("25h", "25h0m0s")]
    public void Format_Duration_IsWrittenAsGoDoes(string text, string written)
    {
        Assert.True(GoDuration.TryParse(text, out TimeSpan duration));
        Assert.Equal(written, GoDuration.Format(duration));
    }
}
