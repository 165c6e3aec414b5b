using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Resources;

namespace CriShim.Node.Tests.Reports;

public sealed class PodFiguresTests
{
    [Theory]
    // Sidecars stay beside what comes after them: 100m + 300m while the second init container runs, 100m + 50m later.
    [InlineData("sidecar:0.1 init:0.3 main:0.05", 0.4)]
    // An init container before the sidecar runs alone.
    [InlineData("init:0.3 sidecar:0.1 main:0.05", 0.3)]
    [InlineData("sidecar:0.1 sidecar:0.2 main:0.3 main:0.4", 1.0)]
    [InlineData("init:0.2 init:0.5 main:0.1", 0.5)]
    [InlineData("main:0.1", 0.1)]
    public void Sum_OfAPod_IsTheMostAtOneTime(string containers, double expected)
    {
        Resources sum = PodFigures.Sum(containers.Split(' ').Select(text => text.Split(':')).Select(parts => (
            System.Enum.Parse<PodPart>(parts[0], ignoreCase: true),
            new Resources { CpuRequest = double.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture) })));

        Assert.Equal(expected, sum.CpuRequest, 6);
        Assert.False(sum.HasCpuLimit);
    }

    [Fact]
    public void Sum_OneContainerWithoutALimit_HasNone()
    {
        Resources sum = PodFigures.Sum([
            (PodPart.Main, new Resources { CpuRequest = 0.1, MemoryLimit = 1 << 20 }), (PodPart.Main, new Resources { CpuRequest = 0.1 })]);

        Assert.False(sum.HasMemoryLimit);
    }

    [Fact]
    public void Of_AContainer_ReadsWhatTheKubeletWrote()
    {
        // 100m and 500m of CPU, as a kubelet converts them.
        Resources figures = PodFigures.Of(
            new LinuxContainerResources { CpuShares = 102, CpuQuota = 50_000, CpuPeriod = 100_000, MemoryLimitInBytes = 64 << 20 }, null);

        Assert.Equal((0.1, 0.5, 64 << 20), (figures.CpuRequest, figures.CpuLimit, figures.MemoryLimit));
    }

    [Fact]
    public void Of_AContainerThatWasResized_ReadsTheLast()
    {
        Resources figures = PodFigures.Of(
            new LinuxContainerResources { CpuShares = 102, MemoryLimitInBytes = 64 << 20 }, new LinuxContainerResources { CpuShares = 1024 });

        Assert.Equal((1.0, 64 << 20), (figures.CpuRequest, figures.MemoryLimit));
    }

    [Fact]
    public void Of_AContainerThatAsksForNothing_RequestsZeroAndHasNoLimits()
    {
        Resources figures = PodFigures.Of(new LinuxContainerResources { CpuShares = 2, CpuPeriod = 100_000 }, null);

        Assert.Equal((0.0, false, false), (figures.CpuRequest, figures.HasCpuLimit, figures.HasMemoryLimit));
    }
}
