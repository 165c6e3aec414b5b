using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;

namespace CriShim.Proxy.Tests;

/// <summary>What the log says of calls, and what it must never say.</summary>
public sealed class LogTests
{
    private const string Service = "/runtime.v1.RuntimeService/";
    private const string Secret = "s3cret";

    public static TheoryData<string, byte[], string> FailingCalls()
    {
        var pod = new PodSandboxConfig { Metadata = new PodSandboxMetadata { Name = "web-0", Namespace = "shop", Uid = "uid-7" } };
        pod.Annotations.Add("a", Secret);
        var container = new ContainerConfig { Metadata = new ContainerMetadata { Name = "app" } };
        container.Envs.Add(new KeyValue { Key = "TOKEN", Value = ByteString.CopyFromUtf8(Secret) });
        container.Args.Add(Secret);
        container.Annotations.Add("a", Secret);
        return new TheoryData<string, byte[], string>
        {
            { Service + "RunPodSandbox", new RunPodSandboxRequest { Config = pod }.ToByteArray(), "pod=web-0 namespace=shop uid=uid-7" },
            {
                Service + "CreateContainer",
                new CreateContainerRequest { PodSandboxId = "box1", Config = container, SandboxConfig = pod }.ToByteArray(),
                "sandbox=box1"
            },
            { Service + "ExecSync", new ExecSyncRequest { ContainerId = "c1", Cmd = { "sh", Secret } }.ToByteArray(), "container=c1" },
            { Service + "Exec", new ExecRequest { ContainerId = "c1", Cmd = { Secret } }.ToByteArray(), "container=c1" },
            { Service + "StopContainer", new StopContainerRequest { ContainerId = "c1" }.ToByteArray(), "container=c1" },
            {
                "/runtime.v1.ImageService/PullImage",
                new PullImageRequest
                {
                    Image = new ImageSpec { Image = "registry/app" },
                    Auth = new AuthConfig { Password = Secret, RegistryToken = Secret },
                }.ToByteArray(),
                ""
            },
        };
    }

    [Theory]
    [MemberData(nameof(FailingCalls))]
    public async Task Failure_OfACallWithSecrets_HasMethodCodeAndIdsAndNoSecret(string path, byte[] request, string subject)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        // containerd quotes commands and arguments in its errors.
        bed.Fake.On(path, async call =>
        {
            _ = await call.ReadBodyAsync();
            await call.TrailersOnlyAsync(2, ("grpc-message", $"failed to run {Secret}"));
        });
        RawConnection caller = await bed.ConnectAsync();

        RawStream stream = await caller.CallAsync(path, GrpcWire.Message(request));

        Assert.Equal("2", stream.Status);
        string line = await bed.Log.NextLineAsync($"{path} failed");
        Assert.Contains("Unknown", line, StringComparison.Ordinal);
        Assert.Contains(subject, line, StringComparison.Ordinal);
        Assert.DoesNotContain(bed.Log.All, logged => logged.Contains(Secret, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Success_AtDebugLevel_IsLoggedWithMethodCodeAndDuration()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Looking);
        RawConnection caller = await bed.ConnectAsync();

        _ = await caller.CallAsync(TestBed.Version, GrpcWire.Message([]));

        string line = await bed.Log.NextLineAsync(TestBed.Version);
        Assert.Matches(@"^/runtime\.v1\.RuntimeService/Version: OK after [0-9.]+ ms", line);
    }
}
