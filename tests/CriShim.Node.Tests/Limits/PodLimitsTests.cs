using CriShim.Linux.Cgroups;
using CriShim.Node.Limits;
using CriShim.Node.Tests.Support;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.TestSupport.Lab;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Tests.Limits;

public sealed class PodLimitsTests : IDisposable
{
    private const int Page = 4096;
    private const long Mi = 1 << 20;
    private static CgroupLimits None => default;
    private readonly TempDirectory _node = new();
    private readonly RecordedLog _log = new();
    private readonly PooledTime _time = new();

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Of_LimitsBelowWanted_AreRaisedToIt() =>
        Assert.Equal(new CgroupLimits(600, 320 * Mi), LimitRaise.Of(new ResourceAmounts(600, 320 * Mi), new CgroupLimits(500, 256 * Mi), None, Page));

    [Fact]
    public void Of_LimitsAtOrAboveWanted_StayAsTheyAre() =>
        Assert.Equal(None, LimitRaise.Of(new ResourceAmounts(600, 320 * Mi), new CgroupLimits(600, 321 * Mi), None, Page));

    [Fact]
    public void Of_NoLimitOnEitherSide_GetsNone()
    {
        Assert.Equal(None, LimitRaise.Of(new ResourceAmounts(600, 320 * Mi), None, None, Page));
        Assert.Equal(None, LimitRaise.Of(default, new CgroupLimits(600, 321 * Mi), None, Page));
    }

    [Fact]
    public void Of_ParentThatAllowsLess_IsNotExceeded() =>
        Assert.Equal(
            new CgroupLimits(550, null),
            LimitRaise.Of(new ResourceAmounts(600, 320 * Mi), new CgroupLimits(500, 256 * Mi), new CgroupLimits(550, 256 * Mi), Page));

    [Fact]
    public void Of_MemoryThatTheKernelCutToPages_IsNotRaisedAgain() =>
        Assert.Equal(None, LimitRaise.Of(new ResourceAmounts(null, 1_000_000), new CgroupLimits(null, 999_424), None, Page));

    [Fact]
    public async Task RaiseAll_PodWithEmulatedSidecar_GetsTheSumAgainAfterTheKubeletWrote()
    {
        string cgroup = Cgroup("50000 100000", "268435456");
        PodLimits limits = Limits(Pod());

        await limits.RaiseAllAsync(default);
        Assert.StartsWith("60000 100000", File.ReadAllText(Path.Combine(cgroup, "cpu.max")), StringComparison.Ordinal);
        Assert.Equal("335544320", File.ReadAllText(Path.Combine(cgroup, "memory.max")));

        File.WriteAllText(Path.Combine(cgroup, "memory.max"), "268435456");
        await limits.RaiseAllAsync(default);
        Assert.Equal("335544320", File.ReadAllText(Path.Combine(cgroup, "memory.max")));

        File.WriteAllText(Path.Combine(cgroup, "memory.max"), "536870912");
        await limits.RaiseAllAsync(default);
        Assert.Equal("536870912", File.ReadAllText(Path.Combine(cgroup, "memory.max")));
    }

    [Fact]
    public async Task RaiseAll_ContainerWithoutLimit_RaisesNothing()
    {
        string cgroup = Cgroup("50000 100000", "268435456");
        LimitedPod pod = Pod();
        await Limits(pod with
        {
            Facts = pod.Facts! with { Containers = [.. pod.Facts.Containers, new ContainerFacts("other", ContainerRole.Plain)] },
        }).RaiseAllAsync(default);
        Assert.Equal("50000 100000", File.ReadAllText(Path.Combine(cgroup, "cpu.max")));
        Assert.Equal("268435456", File.ReadAllText(Path.Combine(cgroup, "memory.max")));
    }

    [Fact]
    public async Task RaiseAll_LimitsOfThePodAsAWhole_Stay()
    {
        string cgroup = Cgroup("50000 100000", "268435456");
        LimitedPod pod = Pod();
        await Limits(pod with { Facts = pod.Facts! with { HasPodResources = true } }).RaiseAllAsync(default);
        Assert.Equal("268435456", File.ReadAllText(Path.Combine(cgroup, "memory.max")));
    }

    [Fact]
    public async Task RaiseAll_WithoutSpecOrCgroup_SaysSoOnce()
    {
        PodLimits limits = Limits(Pod() with { Facts = null });
        await limits.RaiseAllAsync(default);
        await limits.RaiseAllAsync(default);
        Assert.Equal("Limits of pod default/pod are not raised for its emulated sidecars: no pod spec source tells its containers' limits", Message(Assert.Single(_log.All)));

        await Limits(Pod()).RaiseAllAsync(default);
        Assert.EndsWith("it has no cgroup of its own that is known", _log.All[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, "set-property --runtime --no-ask-password kubepods-podx.slice CPUQuota=61% MemoryMax=4096")]
    [InlineData(false, "set-property --runtime --no-ask-password kubepods-podx.slice CPUQuota=61% MemoryLimit=4096")]
    public void SystemdSlice_Arguments_AreSystemctlsOwn(bool isUnified, string expected) =>
        Assert.Equal(expected, string.Join(' ', SystemdSlice.Arguments("kubepods-podx.slice", new CgroupLimits(601, 4096), isUnified)));

    [Fact]
    public async Task RaiseAll_Systemd_IsAskedAndItsRefusalTold()
    {
        const string slice = "kubepods.slice/kubepods-poduid.slice";
        string calls = _node.File("calls");
        string systemctl = _node.File("systemctl");
        File.WriteAllText(systemctl, $"#!/bin/sh\necho \"$@\" >> {calls}\necho no such unit >&2\nexit 5\n");
        File.SetUnixFileMode(systemctl, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        string cgroup = Cgroup("50000 100000", "268435456", slice);

        await Limits(Pod() with { CgroupParent = "/" + slice }, systemctl).RaiseAllAsync(default);

        Assert.Equal("set-property --runtime --no-ask-password kubepods-poduid.slice CPUQuota=60% MemoryMax=335544320\n", File.ReadAllText(calls));
        Assert.Equal("268435456", File.ReadAllText(Path.Combine(cgroup, "memory.max")));
        Assert.EndsWith("systemctl ended with 5: no such unit", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RaiseAll_SystemdThatWritesNothing_SaysSoOnceAndClaimsNoRaise()
    {
        const string slice = "kubepods.slice/kubepods-poduid.slice";
        string systemctl = Systemctl("exit 0");
        _ = Cgroup("50000 100000", "268435456", slice);
        PodLimits limits = Limits(Pod() with { CgroupParent = "/" + slice }, systemctl);

        await LooksAsync(limits.RaiseAllAsync(default));
        await LooksAsync(limits.RaiseAllAsync(default));

        Assert.EndsWith(
            "are not raised for its emulated sidecars: systemd took the limits of kubepods-poduid.slice, and its cgroup does not have them",
            Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RaiseAll_SystemdThatWritesAfterItsAnswer_HasRaisedThem()
    {
        const string slice = "kubepods.slice/kubepods-poduid.slice";
        string cgroup = Cgroup("50000 100000", "268435456", slice);
        string systemctl = Systemctl(
            $"(while [ ! -e {_node.File("write")} ]; do sleep 0.01; done; cd {cgroup}; echo 60000 100000 > c; mv c cpu.max; echo 335544320 > m; mv m memory.max) > /dev/null 2>&1 &");

        Task raising = Limits(Pod() with { CgroupParent = "/" + slice }, systemctl).RaiseAllAsync(default);
        File.WriteAllText(_node.File("write"), "");
        await LooksAsync(raising, () => File.ReadAllText(Path.Combine(cgroup, "memory.max")).Trim() == "335544320");

        Assert.EndsWith("CPU 500 to 600 millis, memory 268435456 to 335544320 bytes", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    private string Systemctl(string script)
    {
        string file = _node.File("systemctl");
        File.WriteAllText(file, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return file;
    }

    private static string Message(string line) => line[line.IndexOf("Limits", StringComparison.Ordinal)..];

    private static LimitedPod Pod() => new(
        new PodIdentity("sandbox", "uid", "default", "pod", null),
        new PodFacts
        {
            Uid = "uid", Namespace = "default", Name = "pod",
            Containers =
            [
                new ContainerFacts("proxy", ContainerRole.Init, Limits: new ResourceAmounts(100, 64 * Mi)),
                new ContainerFacts("app", ContainerRole.Plain, Limits: new ResourceAmounts(500, 256 * Mi)),
            ],
        },
        new HashSet<string> { "proxy" },
        "/kubepods/poduid");

    private PodLimits Limits(LimitedPod pod, string systemctl = "/nonexistent") =>
        new(() => [pod], _log.CreateLogger("test"), _time, _node.File("cgroup"), systemctl);

    /// <summary>Until then the clock stands still; from then on its looks come.</summary>
    private async Task LooksAsync(Task raising, Func<bool>? from = null)
    {
        await Condition.BecomesTrueAsync("the looks begin", NodeBed.Patience, from ?? (() => true));
        await Condition.BecomesTrueAsync("it has looked", NodeBed.Patience, () =>
        {
            _time.Advance(TimeSpan.FromMilliseconds(100));
            return raising.IsCompleted;
        });
        await raising;
    }

    private string Cgroup(string cpu, string memory, string path = "kubepods/poduid")
    {
        string directory = Directory.CreateDirectory(Path.Combine(_node.File("cgroup"), path)).FullName;
        File.WriteAllText(Path.Combine(_node.File("cgroup"), "cgroup.controllers"), "cpu memory\n");
        File.WriteAllText(Path.Combine(directory, "cpu.max"), cpu);
        File.WriteAllText(Path.Combine(directory, "memory.max"), memory);
        return directory;
    }
}
