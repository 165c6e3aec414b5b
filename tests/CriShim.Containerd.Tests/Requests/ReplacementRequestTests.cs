using CriShim.Containerd.Requests;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.Containerd.Tests.Requests;

public sealed class ReplacementRequestTests
{
    [Theory]
    [InlineData("1.28")]
    [InlineData("1.36")]
    public void Build_NextAttempt_IsWhatTheKubeletItselfAskedFor(string kubelet)
    {
        CreateContainerRequest first = Recorded.Proxy(0, kubelet);
        CreateContainerRequest kubelets = Recorded.Proxy(1, kubelet);

        CreateContainerRequest ours = ReplacementRequest.Build(first, 1, null, TerminationLogMount.HostPath(kubelets.Config));

        // The kubelet's service variables come in any order.
        KeyValue[] variables = [.. kubelets.Config.Envs.OrderBy(variable => variable.Key)];
        Assert.Equal(variables, ours.Config.Envs.OrderBy(variable => variable.Key));
        kubelets.Config.Envs.Clear();
        ours.Config.Envs.Clear();
        Assert.Equal(kubelets, ours);
    }

    [Fact]
    public void Build_Always_LeavesTheRecordAsItWas()
    {
        CreateContainerRequest recorded = Recorded.Proxy(0, "1.36");

        ReplacementRequest.Build(recorded, 4, new LinuxContainerResources { CpuShares = 7 }, "/x/containers/proxy/00000000");

        Assert.Equal(Recorded.Proxy(0, "1.36"), recorded);
    }

    [Fact]
    public void Build_NumberAfterSeveral_IsTheSameInAllThreePlaces()
    {
        CreateContainerRequest next = ReplacementRequest.Build(Recorded.Proxy(1, "1.28"), 12, null, null);

        Assert.Equal(12u, next.Config.Metadata.Attempt);
        Assert.Equal("12", next.Config.Annotations["io.kubernetes.container.restartCount"]);
        Assert.Equal("proxy/12.log", next.Config.LogPath);
        Assert.Equal(12u, AttemptNumber.Of(next.Config));
    }

    [Fact]
    public void Build_UnknownFields_AreKept()
    {
        CreateContainerRequest recorded = CreateContainerRequest.Parser.ParseFrom(
            WithUnknownField(Recorded.Proxy(0, "1.36").ToByteArray()));
        recorded.Config = ContainerConfig.Parser.ParseFrom(WithUnknownField(recorded.Config.ToByteArray()));

        CreateContainerRequest next = ReplacementRequest.Build(recorded, 1, null, null);

        Assert.Equal(WithUnknownField(WithoutUnknownField(next).ToByteArray()).Length, next.ToByteArray().Length);
        Assert.True(next.Config.CalculateSize() > ReplacementRequest.Build(Recorded.Proxy(0, "1.36"), 1, null, null).Config.CalculateSize());
    }

    [Fact]
    public void Build_TerminationLog_ReplacesThatMountAlone()
    {
        CreateContainerRequest recorded = Recorded.Proxy(0, "1.28");
        // A volume of the pod at the very same path comes before the kubelet's own mount.
        recorded.Config.Mounts.Insert(0, new Mount { ContainerPath = "/dev/termination-log", HostPath = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~empty-dir/v" });

        CreateContainerRequest next = ReplacementRequest.Build(recorded, 1, null, "/fresh");

        Assert.Equal("/fresh", next.Config.Mounts[^1].HostPath);
        next.Config.Mounts[^1].HostPath = recorded.Config.Mounts[^1].HostPath;
        Assert.Equal(recorded.Config.Mounts, next.Config.Mounts);
    }

    [Fact]
    public void Build_NoTerminationLogAnnotation_ReplacesNothing()
    {
        CreateContainerRequest recorded = Recorded.Proxy(0, "1.28");
        recorded.Config.Annotations.Remove("io.kubernetes.container.terminationMessagePath");

        Assert.Null(TerminationLogMount.HostPath(recorded.Config));
        Assert.Equal(recorded.Config.Mounts, ReplacementRequest.Build(recorded, 1, null, "/fresh").Config.Mounts);
    }

    [Fact]
    public void Build_LastUpdate_OverridesOnlyWhatItSets()
    {
        var update = new LinuxContainerResources
        {
            CpusetCpus = "2-3",
            MemoryLimitInBytes = 1 << 30,
            HugepageLimits = { new HugepageLimit { PageSize = "2MB", Limit = 4 } },
            Unified = { { "memory.high", "1" } },
        };

        LinuxContainerResources resources = ReplacementRequest.Build(Recorded.Proxy(0, "1.36"), 1, update, null).Config.Linux.Resources;

        Assert.Equal("2-3", resources.CpusetCpus);
        Assert.Equal(1 << 30, resources.MemoryLimitInBytes);
        Assert.Equal(2, resources.CpuShares);
        Assert.Equal(100_000, resources.CpuPeriod);
        Assert.Equal(1000, resources.OomScoreAdj);
        Assert.Equal("1", resources.Unified["memory.high"]);
        Assert.Equal([("1GB", 0ul), ("2MB", 4ul)], resources.HugepageLimits.Select(limit => (limit.PageSize, limit.Limit)));
    }

    [Fact]
    public void Build_NoLinuxPart_GetsTheUpdateAllTheSame()
    {
        var recorded = new CreateContainerRequest { Config = new ContainerConfig { Metadata = new ContainerMetadata { Name = "a" } } };

        CreateContainerRequest next = ReplacementRequest.Build(recorded, 3, new LinuxContainerResources { CpuShares = 5 }, "/fresh");

        Assert.Equal(5, next.Config.Linux.Resources.CpuShares);
        Assert.Equal(3u, next.Config.Metadata.Attempt);
        Assert.Equal("", next.Config.LogPath);
        Assert.Empty(next.Config.Annotations);
    }

    [Fact]
    public void MergeResources_TwoUpdates_KeepsWhatOnlyTheFirstSets()
    {
        var cpuset = new LinuxContainerResources { CpusetCpus = "1" };
        var resize = new LinuxContainerResources { CpuQuota = 20_000 };

        LinuxContainerResources merged = ReplacementRequest.MergeResources(ReplacementRequest.MergeResources(null, cpuset), resize);

        Assert.Equal(new LinuxContainerResources { CpusetCpus = "1", CpuQuota = 20_000 }, merged);
        Assert.Equal(new LinuxContainerResources { CpusetCpus = "1" }, cpuset);
    }

    [Theory]
    [InlineData("1.28")]
    [InlineData("1.36")]
    public void IsSameButForCounters_KubeletsNextAttempt_IsTheSame(string kubelet) =>
        Assert.True(ReplacementRequest.IsSameButForCounters(Recorded.Proxy(1, kubelet), Recorded.Proxy(0, kubelet)));

    [Fact]
    public void IsSameButForCounters_KubeletRestarted_IsTheSame()
    {
        CreateContainerRequest create = Recorded.Proxy(1, "1.36");
        create.SandboxConfig.Annotations["kubernetes.io/config.seen"] = "2027-01-01T00:00:00.0Z";

        Assert.True(ReplacementRequest.IsSameButForCounters(create, Recorded.Proxy(0, "1.36")));
    }

    [Fact]
    public void IsSameButForCounters_RebuiltWithoutTheImagesName_IsTheSame()
    {
        CreateContainerRequest rebuilt = Recorded.Proxy(0, "1.28");
        rebuilt.Config.Image.UserSpecifiedImage = "";

        Assert.True(ReplacementRequest.IsSameButForCounters(Recorded.Proxy(1, "1.28"), rebuilt));
    }

    public static TheoryData<string, Action<CreateContainerRequest>> Changes() => new()
    {
        { "image", create => create.Config.Image.Image = "sha256:other" },
        { "command", create => create.Config.Command.Add("x") },
        { "args", create => create.Config.Args.Add("x") },
        { "order of the command", create => (create.Config.Command[0], create.Config.Command[1]) = (create.Config.Command[1], create.Config.Command[0]) },
        { "a Secret's value", create => create.Config.Envs[0].Value = ByteString.CopyFromUtf8("rotated") },
        { "another variable", create => create.Config.Envs.Add(new KeyValue { Key = "A" }) },
        { "hash", create => create.Config.Annotations["io.kubernetes.container.hash"] = "0" },
        { "label", create => create.Config.Labels["a"] = "b" },
        { "device", create => create.Config.Devices.Add(new Device { HostPath = "/dev/x", ContainerPath = "/dev/x" }) },
        { "CDI device", create => create.Config.CDIDevices.Add(new CDIDevice { Name = "gpu" }) },
        { "mount", create => create.Config.Mounts[0].HostPath = "/other" },
        { "termination log's container path", create => create.Config.Mounts[^1].ContainerPath = "/other" },
        { "log directory", create => create.Config.LogPath = "other/1.log" },
        { "log path of another form", create => create.Config.LogPath = "proxy/messages" },
        { "resources", create => create.Config.Linux.Resources.CpuShares = 3 },
        { "security", create => create.Config.Linux.SecurityContext.Privileged = true },
        { "sandbox", create => create.PodSandboxId = "other" },
        { "pod annotation", create => create.SandboxConfig.Annotations["a"] = "b" },
        { "container's name", create => create.Config.Metadata.Name = "other" },
        { "unknown field", create => create.Config = ContainerConfig.Parser.ParseFrom(WithUnknownField(create.Config.ToByteArray())) },
        { "no config", create => create.Config = null },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void IsSameButForCounters_SomethingElseChanged_IsAnother(string what, Action<CreateContainerRequest> change)
    {
        CreateContainerRequest create = Recorded.Proxy(1, "1.36");
        change(create);

        Assert.False(ReplacementRequest.IsSameButForCounters(create, Recorded.Proxy(0, "1.36")), what);
    }

    [Fact]
    public void IsSameButForCounters_VariablesOfOneNameSwapped_IsAnother()
    {
        CreateContainerRequest recorded = Recorded.Proxy(0, "1.36");
        recorded.Config.Envs.Add(Variable("A", "1"));
        recorded.Config.Envs.Add(Variable("A", "2"));
        CreateContainerRequest create = Recorded.Proxy(1, "1.36");
        create.Config.Envs.Add(Variable("A", "2"));
        create.Config.Envs.Add(Variable("A", "1"));

        Assert.False(ReplacementRequest.IsSameButForCounters(create, recorded));
    }

    [Fact]
    public void IsSameButForCounters_Resized_IsTheSameWithAndWithoutTheUpdate()
    {
        CreateContainerRequest recorded = Recorded.Proxy(0, "1.36");
        var update = new LinuxContainerResources { CpuShares = 512 };
        CreateContainerRequest resized = Recorded.Proxy(1, "1.36");
        resized.Config.Linux.Resources.CpuShares = 512;

        Assert.True(ReplacementRequest.IsSameButForCounters(resized, recorded, update));
        Assert.True(ReplacementRequest.IsSameButForCounters(Recorded.Proxy(1, "1.36"), recorded, update));
        resized.Config.Linux.Resources.CpuShares = 513;
        Assert.False(ReplacementRequest.IsSameButForCounters(resized, recorded, update));
    }

    private static KeyValue Variable(string key, string value) => new() { Key = key, Value = ByteString.CopyFromUtf8(value) };

    /// <summary>Field 1000, a varint: what a newer caller may add.</summary>
    private static byte[] WithUnknownField(byte[] message) => [.. message, 0xC0, 0x3E, 0x01];

    private static CreateContainerRequest WithoutUnknownField(CreateContainerRequest request) => new()
    {
        PodSandboxId = request.PodSandboxId,
        Config = request.Config,
        SandboxConfig = request.SandboxConfig,
    };
}
