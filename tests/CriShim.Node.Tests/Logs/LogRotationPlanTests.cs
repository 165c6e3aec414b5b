using CriShim.Linux.Files;
using CriShim.Node.Logs;

namespace CriShim.Node.Tests.Logs;

public sealed class LogRotationPlanTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly LogRotationOptions Options = new() { MaxSize = 100, MaxFiles = 5 };

    [Fact]
    public void Of_SmallLog_LeavesAllAsItIs() =>
        Assert.Equal(LogRotationPlan.Nothing, LogRotationPlan.Of("0.log", [new("0.log", 99), new("0.log.20260101-000000", 100)], Options, Now));

    [Fact]
    public void Of_LogThatIsGone_OnlyOpensItAnew() =>
        Assert.Equal(LogRotationPlan.Nothing with { IsReopened = true }, LogRotationPlan.Of("0.log", [new("0.log.20260101-000000", 100)], Options, Now));

    [Fact]
    public void Of_FirstTime_RenamesAlone()
    {
        LogRotationPlan plan = LogRotationPlan.Of("0.log", [new("0.log", 100)], Options, Now);
        Assert.Equal("0.log.20260102-030405", plan.RotateTo);
        Assert.Empty(plan.Remove);
        Assert.Empty(plan.Compress);
        Assert.True(plan.IsReopened);
    }

    [Fact]
    public void Of_OlderOnes_AreCompressedOrGoWhereTheyAreTooMany()
    {
        LogRotationPlan plan = LogRotationPlan.Of(
            "0.log",
            [
                new("0.log.20260101-000004", 100), new("0.log.20260101-000003.gz", 9), new("0.log.20260101-000002.gz", 9), new("0.log", 500),
                new("0.log.20260101-000001.gz", 9),
            ],
            Options, Now);
        Assert.Equal(["0.log.20260101-000001.gz"], plan.Remove);
        Assert.Equal(["0.log.20260101-000004"], plan.Compress);
        Assert.Equal("0.log.20260102-030405", plan.RotateTo);
    }

    [Fact]
    public void Of_WhatACrashLeft_IsRemoved()
    {
        LogRotationPlan plan = LogRotationPlan.Of(
            "0.log",
            [new("0.log", 100), new("0.log.20260101-000001", 100), new("0.log.20260101-000001.gz", 9), new("0.log.20260101-000002", 100), new("0.log.20260101-000002.tmp", 3)],
            Options, Now);
        Assert.Equal(["0.log.20260101-000001", "0.log.20260101-000002.tmp"], plan.Remove);
        Assert.Equal(["0.log.20260101-000002"], plan.Compress);
    }

    [Fact]
    public void Of_FilesOfOthers_AreLeftAlone()
    {
        LogRotationPlan plan = LogRotationPlan.Of(
            "0.log", [new("0.log", 100), new("0.log.bak", 5), new("0.log.20260101-000001.gz.old", 5), new("0.log.2026", 5)], Options with { MaxFiles = 2 }, Now);
        Assert.Empty(plan.Remove);
        Assert.Empty(plan.Compress);
    }

    [Fact]
    public void Of_TwoFilesAllowed_KeepsNoOlderOne() =>
        Assert.Equal(
            ["0.log.20260101-000001", "0.log.20260101-000002"],
            LogRotationPlan.Of(
                "0.log", [new("0.log", 100), new("0.log.20260101-000001", 5), new("0.log.20260101-000002", 5)], Options with { MaxFiles = 2 }, Now).Remove);

    [Theory]
    [InlineData("0.log.20260102-030405")]
    [InlineData("0.log.20260102-030405.gz")]
    public void Of_SecondTimeInOneSecond_Waits(string there) =>
        Assert.Equal(LogRotationPlan.Nothing, LogRotationPlan.Of("0.log", [new("0.log", 100), new(there, 100)], Options, Now));
}
