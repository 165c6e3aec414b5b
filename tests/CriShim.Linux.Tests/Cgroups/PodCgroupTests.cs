using CriShim.Linux.Cgroups;

namespace CriShim.Linux.Tests.Cgroups;

/// <summary>On a folder that looks like the kernel's; the kernel's own, where this machine has one, is beside it.</summary>
public sealed class PodCgroupTests : IDisposable
{
    private const string Uid = "b98e16ab-b530-4153-8fcf-17b910128c66";
    private const string Parent = $"/kubepods/burstable/pod{Uid}";
    private readonly TempDirectory _node = new();

    private string Root => _node.File("cgroup");

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Read_Unified_GivesLimitsOfThePodAndTheLeastAboveIt()
    {
        Unified("", null, null);
        Unified("kubepods", "400000 100000", "4294967296");
        Unified("kubepods/burstable", "max 100000", "max");
        Unified($"kubepods/burstable/pod{Uid}", "150000 100000", "268435456");

        PodCgroup cgroup = PodCgroup.Find(Parent, Uid, Root)!;

        Assert.Null(cgroup.Unit);
        Assert.Equal(new CgroupLimits(1500, 268_435_456), cgroup.Read());
        Assert.Equal(new CgroupLimits(4000, 4_294_967_296), cgroup.ReadAbove());
    }

    [Fact]
    public void Write_Unified_KeepsThePeriodAndTouchesNoOtherCgroup()
    {
        Unified("", null, null);
        Unified("kubepods", "max 100000", "max");
        Unified("kubepods/burstable", "max 100000", "max");
        Unified($"kubepods/burstable/pod{Uid}", "75000 50000", "1048576");
        Unified($"kubepods/burstable/pod{Uid}/container", "75000 50000", "1048576");

        PodCgroup.Find(Parent, Uid, Root)!.Write(new CgroupLimits(2000, 2_097_152));

        Assert.Equal("100000 50000", Text($"kubepods/burstable/pod{Uid}/cpu.max")[..12]);
        Assert.Equal("2097152", Text($"kubepods/burstable/pod{Uid}/memory.max"));
        Assert.Equal("75000 50000", Text($"kubepods/burstable/pod{Uid}/container/cpu.max"));
        Assert.Equal("max", Text("kubepods/burstable/memory.max"));
    }

    [Fact]
    public void ReadAndWrite_V1_UseBothHierarchies()
    {
        V1($"kubepods/burstable/pod{Uid}", "150000", "100000", "268435456");
        V1("kubepods/burstable", "-1", "100000", "9223372036854771712");
        V1("kubepods", "-1", "100000", "4294967296");

        PodCgroup cgroup = PodCgroup.Find(Parent, Uid, Root)!;
        Assert.False(cgroup.IsUnified);
        Assert.Equal(new CgroupLimits(1500, 268_435_456), cgroup.Read());
        Assert.Equal(new CgroupLimits(null, 4_294_967_296), cgroup.ReadAbove());

        cgroup.Write(new CgroupLimits(2000, null));
        Assert.Equal(new CgroupLimits(2000, 268_435_456), cgroup.Read());
    }

    [Theory]
    [InlineData("kubepods-burstable-podb98e16ab_b530_4153_8fcf_17b910128c66.slice")]
    [InlineData("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podb98e16ab_b530_4153_8fcf_17b910128c66.slice")]
    public void Find_Systemd_IsTheSlice(string parent)
    {
        const string unit = "kubepods-burstable-podb98e16ab_b530_4153_8fcf_17b910128c66.slice";
        Unified("", null, null);
        Unified($"kubepods.slice/kubepods-burstable.slice/{unit}", "max 100000", "5");

        PodCgroup cgroup = PodCgroup.Find(parent, Uid, Root)!;

        Assert.Equal(unit, cgroup.Unit);
        Assert.Equal(new CgroupLimits(null, 5), cgroup.Read());
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("/kubepods")]
    [InlineData("/kubepods/burstable/podother")]
    [InlineData($"/kubepods/../pod{Uid}")]
    [InlineData($"/kubepods//pod{Uid}")]
    [InlineData($"/kubepods/burst\nable/pod{Uid}")]
    [InlineData($"/kubepods/burstable/pod{Uid}/..")]
    [InlineData("--runtime-podb98e16ab_b530_4153_8fcf_17b910128c66.slice")]
    public void Find_WhatIsNotThePodsOwn_IsNone(string parent)
    {
        Unified("", null, null);
        Unified($"kubepods/burstable/pod{Uid}", "max 100000", "5");
        Unified($"pod{Uid}", "max 100000", "5");
        Assert.Null(PodCgroup.Find(parent, Uid, Root));
        Assert.Null(PodCgroup.Find(Parent, "", Root));
    }

    [Fact]
    public void Find_LinkOnTheWay_IsNotFollowed()
    {
        Unified("", null, null);
        Unified($"elsewhere/pod{Uid}", "max 100000", "5");
        _ = Directory.CreateSymbolicLink(Path.Combine(Root, "kubepods"), Path.Combine(Root, "elsewhere"));
        Assert.Null(PodCgroup.Find($"/kubepods/pod{Uid}", Uid, Root));
    }

    private string Text(string path) => File.ReadAllText(Path.Combine(Root, path));

    private void Unified(string path, string? cpu, string? memory)
    {
        string directory = Directory.CreateDirectory(Path.Combine(Root, path)).FullName;
        File.WriteAllText(Path.Combine(Root, "cgroup.controllers"), "cpu memory\n");
        if (cpu is not null)
        {
            File.WriteAllText(Path.Combine(directory, "cpu.max"), cpu);
            File.WriteAllText(Path.Combine(directory, "memory.max"), memory);
        }
    }

    private void V1(string path, string quota, string period, string memory)
    {
        string cpu = Directory.CreateDirectory(Path.Combine(Root, "cpu", path)).FullName;
        string bytes = Directory.CreateDirectory(Path.Combine(Root, "memory", path)).FullName;
        File.WriteAllText(Path.Combine(cpu, "cpu.cfs_quota_us"), quota);
        File.WriteAllText(Path.Combine(cpu, "cpu.cfs_period_us"), period);
        File.WriteAllText(Path.Combine(bytes, "memory.limit_in_bytes"), memory);
    }
}
