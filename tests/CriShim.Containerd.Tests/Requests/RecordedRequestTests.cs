using CriShim.Containerd.Requests;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Containerd.Tests.Requests;

public sealed class RecordedRequestTests
{
    private const string Sandbox = """{"config":{"metadata":{"name":"p","uid":"u","namespace":"default"},"log_directory":"/var/log/pods/default_p_u"}}""";

    [Fact]
    public void FromVerboseStatus_PlainVariables_AreTakenAsTheyAre()
    {
        // "NDQz" is valid base64, too: what the process has decides.
        CreateContainerRequest request = Rebuild("""
            {"sandboxID":"s","config":{"metadata":{"name":"a"},"envs":[{"key":"A","value":"NDQz"},{"key":"B","value":""},{"key":"C"}]},
             "runtimeSpec":{"process":{"env":["PATH=/bin","A=NDQz","B=","C="]}}}
            """)!;

        Assert.Equal([("A", "NDQz"), ("B", ""), ("C", "")], request.Config.Envs.Select(env => (env.Key, env.Value.ToStringUtf8())));
    }

    [Fact]
    public void FromVerboseStatus_EncodedVariables_AreDecoded()
    {
        CreateContainerRequest request = Rebuild("""
            {"sandboxID":"s","config":{"metadata":{"name":"a"},"envs":[{"key":"X","value":"eA=="},{"key":"A","value":"NDQz"}]},
             "runtimeSpec":{"process":{"env":["A=443","X=x"]}}}
            """)!;

        Assert.Equal([("X", "x"), ("A", "443")], request.Config.Envs.Select(env => (env.Key, env.Value.ToStringUtf8())));
    }

    [Fact]
    public void FromVerboseStatus_LargeNumbers_AreExact()
    {
        CreateContainerRequest request = Rebuild("""
            {"sandboxID":"s","config":{"metadata":{"name":"a"},
             "linux":{"resources":{"memory_limit_in_bytes":9223372036854771711,"hugepage_limits":[{"page_size":"2MB","limit":18446744073709551615}]},
             "security_context":{"run_as_user":{"value":1000},"seccomp":{"profile_type":1}}}}}
            """)!;

        Assert.Equal(9223372036854771711, request.Config.Linux.Resources.MemoryLimitInBytes);
        Assert.Equal(ulong.MaxValue, request.Config.Linux.Resources.HugepageLimits[0].Limit);
        Assert.Equal(1000, request.Config.Linux.SecurityContext.RunAsUser.Value);
        Assert.Equal(SecurityProfile.Types.ProfileType.Unconfined, request.Config.Linux.SecurityContext.Seccomp.ProfileType);
    }

    [Fact]
    public void FromVerboseStatus_UnknownFieldsAndNulls_AreLeftOut()
    {
        CreateContainerRequest request = Rebuild("""
            {"sandboxID":"s","config":{"metadata":{"name":"a"},"of_tomorrow":{"a":[1]},"linux":null,"envs":null}}
            """)!;

        Assert.Equal("a", request.Config.Metadata.Name);
        Assert.Null(request.Config.Linux);
    }

    [Fact]
    public void FromVerboseStatus_MountedImage_HasNoHostPath()
    {
        CreateContainerRequest request = Rebuild("""
            {"sandboxID":"s","config":{"metadata":{"name":"a"},"mounts":[
             {"container_path":"/m","host_path":"/run/containerd/image-volumes/x","readonly":true,"image":{"image":"sha256:1"}},
             {"container_path":"/h","host_path":"/h","uidMappings":[{"host_id":5,"length":1}]}]}}
            """)!;

        Assert.Equal(["", "/h"], request.Config.Mounts.Select(mount => mount.HostPath));
        Assert.Equal(5u, request.Config.Mounts[1].UidMappings[0].HostId);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("{}")]
    [InlineData("""{"sandboxID":"s","config":null}""")]
    [InlineData("""{"sandboxID":"s","config":{}}""")]
    [InlineData("""{"sandboxID":"s","config":{"metadata":{"name":5}}}""")]
    [InlineData("""{"config":{"metadata":{"name":"a"}}}""")]
    [InlineData("""{"sandboxID":"s","config":{"metadata":{"name":"a"},"envs":[1]}}""")]
    [InlineData("""{"sandboxID":"s","config":{"metadata":{"name":"a"},"envs":[{"key":1}]},"runtimeSpec":{"process":{"env":[1]}}}""")]
    public void FromVerboseStatus_Unreadable_IsNull(string info) => Assert.Null(Rebuild(info));

    [Fact]
    public void FromVerboseStatus_NotVerbose_IsNull() =>
        Assert.Null(RecordedRequest.FromVerboseStatus(new ContainerStatusResponse(), new PodSandboxStatusResponse()));

    private static CreateContainerRequest? Rebuild(string info) => RecordedRequest.FromVerboseStatus(
        new ContainerStatusResponse { Info = { { "info", info } } },
        new PodSandboxStatusResponse { Info = { { "info", Sandbox } } });
}
