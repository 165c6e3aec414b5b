using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;

namespace CriShim.Proxy.Tests;

/// <summary>Containerd's other services cannot be reached through the proxy, by whatever spelling.</summary>
public sealed class OtherServicesTests
{
    [Theory]
    [InlineData("/containerd.services.version.v1.Version/Version")]
    [InlineData("/containerd.services.containers.v1.Containers/List")]
    [InlineData("/grpc.health.v1.Health/Check")]
    [InlineData("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")]
    [InlineData("/runtime")]
    [InlineData("/runtime.")]
    [InlineData("/runtime./x")]
    [InlineData("/runtime/v1")]
    [InlineData("/runtimes.v1.RuntimeService/Version")]
    [InlineData("/runtime.v1.RuntimeService")]
    [InlineData("/runtime.v1.RuntimeService/../../containerd.x/Y")]
    [InlineData("/runtime.v1.RuntimeService/../containerd.services.version.v1.Version/Version")]
    [InlineData("//runtime.v1.RuntimeService/X")]
    [InlineData("/./runtime.v1.RuntimeService/X")]
    [InlineData("/Runtime.v1.RuntimeService/Version")]
    [InlineData("/RUNTIME.V1.RUNTIMESERVICE/VERSION")]
    [InlineData("/x.runtime.v1.RuntimeService/Version")]
    [InlineData("/%72untime.v1.RuntimeService/Version")]
    [InlineData("/")]
    public async Task Call_OtherService_IsUnimplementedAndNeverReachesTheBackend(string path)
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();

        RawStream stream = await caller.CallAsync(path, GrpcWire.Message("x"u8));

        Assert.True(stream.TrailersOnly, $"not trailers-only: {caller.DescribeLog()}");
        Assert.Equal("12", stream.Status);
        Assert.Equal("200", stream[":status"]);
        Assert.StartsWith("application/grpc", stream["content-type"]);

        // A call that does arrive proves that the other one would have been seen by now.
        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, [])).Status);
        Assert.Equal(TestBed.Version, Assert.Single(bed.Fake.Calls).Path);
    }

    [Fact]
    public async Task Call_OtherServiceWithoutBackend_IsUnimplementedStill()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy, present: false);
        RawConnection caller = await bed.ConnectAsync();

        RawStream stream = await caller.CallAsync("/grpc.health.v1.Health/Check", GrpcWire.Message([]));

        Assert.Equal("12", stream.Status);
    }

    [Fact]
    public async Task Call_OtherServiceWithBodyStillComing_AnswersAndTheConnectionLives()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        RawStream stream = caller.OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request("/containerd.services.content.v1.Content/Write"));

        await stream.EndedAsync();

        Assert.Equal("12", stream.Status);
        for (int i = 0; i < 64; i++)
        {
            // On the wire before the caller could know: more than any window, so discarded octets must be given back.
            if (caller.TakeSendWindow(stream, 16000) is > 0 and var length)
            {
                await caller.WriteAsync(Frame.Data(stream.Id, new byte[length]));
            }
        }

        byte[] large = Octets.Varied(1 << 20);
        RawStream next = await caller.CallAsync(TestBed.Version, large);
        Octets.AssertEqual(large, next.Body, "the next call's answer");
    }

    [Fact]
    public async Task Call_OtherServicesByTheHundred_GiveTheConnectionWindowBack()
    {
        await using TestBed bed = await TestBed.WithFakeAsync(Route.Proxy);
        RawConnection caller = await bed.ConnectAsync();
        for (int i = 0; i < 300; i++)
        {
            RawStream stream = caller.OpenStream();
            await stream.SendHeadersAsync(GrpcWire.Request("/grpc.health.v1.Health/Check"));
            await stream.SendBodyAsync(new byte[60_000]);
            await stream.ClosedAsync();
            Assert.Equal("12", stream.Status);
        }

        Assert.Equal("0", (await caller.CallAsync(TestBed.Version, Octets.Varied(1 << 20))).Status);
    }
}
