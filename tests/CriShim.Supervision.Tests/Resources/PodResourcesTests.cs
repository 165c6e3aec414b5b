using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.Supervision.Sidecars;
using CriShim.TestSupport.Proofs;
using CsCheck;
using Xunit;

namespace CriShim.Supervision.Tests.Resources;

public class PodResourcesTests
{
    private const long Mi = 1024 * 1024;

    [Fact]
    public void AsKubelet_EmulatedSidecarSmallerThanMains_CountsForNothing()
    {
        CountedContainer[] pod = [Emulated(100, 64 * Mi), Plain(500, 256 * Mi), Plain(200, 128 * Mi)];

        Assert.Equal(new ResourceAmounts(700, 384 * Mi), PodResources.AsKubelet(pod).Limits);
        Assert.Equal(new ResourceAmounts(700, 384 * Mi), PodResources.AsKubelet(pod).Requests);
    }

    [Fact]
    public void AsRun_EmulatedSidecar_IsAddedToMains()
    {
        CountedContainer[] pod = [Emulated(100, 64 * Mi), Plain(500, 256 * Mi), Plain(200, 128 * Mi)];

        Assert.Equal(new ResourceAmounts(800, 448 * Mi), PodResources.AsRun(pod).Limits);
        Assert.Equal(new ResourceAmounts(800, 448 * Mi), PodResources.AsRun(pod).Requests);
    }

    [Fact]
    public void AsRun_LargeInitContainerAfterSidecar_RunsBesideIt()
    {
        CountedContainer[] pod = [Emulated(100, 64 * Mi), Init(2000, 1024 * Mi), Plain(500, 256 * Mi)];

        Assert.Equal(new ResourceAmounts(2100, 1088 * Mi), PodResources.AsRun(pod).Limits);
        Assert.Equal(new ResourceAmounts(2000, 1024 * Mi), PodResources.AsKubelet(pod).Limits);
    }

    [Fact]
    public void AsRun_LargeInitContainerBeforeSidecar_RunsAlone()
    {
        CountedContainer[] pod = [Init(2000, 1024 * Mi), Emulated(100, 64 * Mi), Plain(500, 256 * Mi)];

        Assert.Equal(new ResourceAmounts(2000, 1024 * Mi), PodResources.AsRun(pod).Limits);
    }

    [Fact]
    public void AsKubelet_NativeSidecars_AreAddedToMains()
    {
        // KEP-753's own example: the sum of sidecars and mains, against each init container with the sidecars before it.
        CountedContainer[] pod = [Init(10, Mi), Native(2, Mi), Init(6, Mi), Native(3, Mi), Init(4, Mi), Plain(1, Mi)];

        Assert.Equal(10, PodResources.AsKubelet(pod).Limits.CpuMillis);
        Assert.Equal(PodResources.AsKubelet(pod), PodResources.AsRun(pod));
    }

    [Fact]
    public void AsRun_AdoptedSidecar_CountsAsThePlainContainerItIs()
    {
        CountedContainer[] pod = [Plain(100, Mi), Plain(50, Mi) with { Kind = SidecarKind.Adopted }];

        Assert.Equal(150, PodResources.AsRun(pod).Limits.CpuMillis);
        Assert.Equal(PodResources.AsKubelet(pod), PodResources.AsRun(pod));
    }

    [Theory]
    [InlineData(null)]
    [InlineData(0L)]
    public void Limits_OneContainerWithoutOne_PodHasNone(long? none)
    {
        CountedContainer[] pod = [Emulated(100, 64 * Mi), Plain(500, 256 * Mi) with { Limits = new ResourceAmounts(none, 256 * Mi) }];

        Assert.Equal(new ResourceAmounts(null, 320 * Mi), PodResources.AsRun(pod).Limits);
        Assert.Equal(600, PodResources.AsRun(pod).Requests.CpuMillis);
    }

    [Fact]
    public void Limits_Overhead_IsAddedWhereThereIsALimit()
    {
        CountedContainer[] pod = [Plain(500, 256 * Mi) with { Limits = new ResourceAmounts(null, 256 * Mi) }];

        Assert.Equal(new ResourceAmounts(null, 266 * Mi), PodResources.AsRun(pod, new ResourceAmounts(50, 10 * Mi)).Limits);
        Assert.Equal(550, PodResources.AsRun(pod, new ResourceAmounts(50, 10 * Mi)).Requests.CpuMillis);
    }

    [Fact]
    public void Requests_NobodyHasOne_AreNone()
    {
        CountedContainer[] pod = [new(ContainerRole.Plain, SidecarKind.None, default, default)];

        Assert.Equal(default, PodResources.AsRun(pod));
        Assert.Equal(default, PodResources.AsRun([]));
    }

    [Fact]
    public void Ephemeral_NeverCounts()
    {
        CountedContainer[] pod = [Plain(500, Mi), new(ContainerRole.Ephemeral, SidecarKind.None, default, default)];

        Assert.Equal(500, PodResources.AsRun(pod).Limits.CpuMillis);
    }

    [Fact]
    public void AsRun_HugeAmounts_NeverTurnSmall()
    {
        CountedContainer[] pod = [Emulated(long.MaxValue, long.MaxValue), Plain(long.MaxValue, long.MaxValue)];

        Assert.Equal(new ResourceAmounts(long.MaxValue, long.MaxValue), PodResources.AsRun(pod, new ResourceAmounts(1, 1)).Limits);
    }

    [Fact]
    public void AnyPod_RunsWithAtLeastWhatTheKubeletCounts()
    {
        Gen<CountedContainer> container = Gen.Select(
            Gen.Enum<ContainerRole>(), Gen.Bool, Gen.Long[-1, 1000],
            (role, isAnnotated, amount) => Counted(role, isAnnotated && role == ContainerRole.Init ? SidecarKind.Emulated : SidecarKind.None, amount, amount));
        container.Array[0, 8].CheckFixed(pod =>
        {
            PodAmounts run = PodResources.AsRun(pod);
            PodAmounts kubelet = PodResources.AsKubelet(pod);
            // The definition, counted directly: all that runs after the last init container, and what runs beside each one.
            CountedContainer[] real = [.. pod.Where(c => c.Role != ContainerRole.Ephemeral)];
            long Amount(CountedContainer c) => Math.Max(0, c.Requests.CpuMillis!.Value);
            bool RunsOn(CountedContainer c) => c.Role == ContainerRole.RestartableInit || c.Kind == SidecarKind.Emulated;
            long expected = real.Where(c => RunsOn(c) || c.Role == ContainerRole.Plain).Sum(Amount);
            for (int i = 0; i < real.Length; i++)
            {
                if (real[i].Role == ContainerRole.Init && !RunsOn(real[i]))
                {
                    expected = Math.Max(expected, Amount(real[i]) + real.Take(i).Where(RunsOn).Sum(Amount));
                }
            }

            Assert.True(
                run.Requests.CpuMillis == (real.Length == 0 ? null : expected)
                && (run.Limits.CpuMillis is null) == (kubelet.Limits.CpuMillis is null)
                && (run.Requests.CpuMillis ?? 0) >= (kubelet.Requests.CpuMillis ?? 0)
                && (run.Limits.CpuMillis ?? 0) >= (kubelet.Limits.CpuMillis ?? 0));
        });
    }

    private static CountedContainer Counted(ContainerRole role, SidecarKind kind, long cpu, long memory) =>
        new(role, kind, new ResourceAmounts(cpu, memory), new ResourceAmounts(cpu, memory));

    private static CountedContainer Emulated(long cpu, long memory) => Counted(ContainerRole.Init, SidecarKind.Emulated, cpu, memory);

    private static CountedContainer Init(long cpu, long memory) => Counted(ContainerRole.Init, SidecarKind.None, cpu, memory);

    private static CountedContainer Native(long cpu, long memory) => Counted(ContainerRole.RestartableInit, SidecarKind.Native, cpu, memory);

    private static CountedContainer Plain(long cpu, long memory) => Counted(ContainerRole.Plain, SidecarKind.None, cpu, memory);
}
