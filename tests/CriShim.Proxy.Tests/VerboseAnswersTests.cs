using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace CriShim.Proxy.Tests;

/// <summary>Verbose statuses carry what supervision knows, beside all that the backend said.</summary>
public sealed class VerboseAnswersTests
{
    private const string Service = "/runtime.v1.RuntimeService/";
    private const string Said = """{"role":"sidecar"}""";

    // Field 2047, which no version of CRI has, in an encoding longer than it need be: no parser would write it so.
    private static readonly byte[] Unknown = [0xfa, 0x7f, 0x83, 0x00, 0x04, 0x05, 0x06];

    [Theory]
    [InlineData("ContainerStatus", "c0")]
    [InlineData("PodSandboxStatus", "pod-a")]
    [InlineData("Status", "")]
    public async Task Verbose_OfWhatIsKnown_FollowsTheBackendsOwnBytes(string method, string id)
    {
        await using TestBed bed = await BedAsync(method, described => described == id ? Said : null);

        byte[] answer = await AskAsync(bed, method, isVerbose: true);

        byte[] backends = Answer(method);
        Octets.AssertEqual(backends, answer.AsSpan(0, backends.Length).ToArray(), "the backend's part");
        MapField<string, string> info = InfoOf(method, answer);
        Assert.Equal(["config", "crishim"], info.Keys.Order());
        Assert.Equal(("""{"a":1}""", Said), (info["config"], info["crishim"]));
    }

    [Theory]
    [InlineData("ContainerStatus")]
    [InlineData("PodSandboxStatus")]
    [InlineData("Status")]
    public async Task NotVerbose_PassesUnchangedAndSupervisionIsNotAsked(string method)
    {
        await using TestBed bed = await BedAsync(method, _ => throw new InvalidOperationException("asked"));

        byte[] answer = await AskAsync(bed, method, isVerbose: false);
        Octets.AssertEqual(Answer(method), answer, "the answer");

        Assert.DoesNotContain(bed.Log.All, line => line.Contains("verbose", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("ContainerStatus")]
    [InlineData("PodSandboxStatus")]
    [InlineData("Status")]
    public async Task Verbose_OfWhatIsNotKnown_PassesUnchanged(string method)
    {
        await using TestBed bed = await BedAsync(method, _ => null);

        byte[] answer = await AskAsync(bed, method, isVerbose: true);
        Octets.AssertEqual(Answer(method), answer, "the answer");
    }

    [Theory]
    [InlineData("ContainerStatus")]
    [InlineData("PodSandboxStatus")]
    [InlineData("Status")]
    public async Task Verbose_SupervisionFails_PassesUnchanged(string method)
    {
        await using TestBed bed = await BedAsync(method, _ => throw new InvalidOperationException("on purpose"));

        byte[] answer = await AskAsync(bed, method, isVerbose: true);
        Octets.AssertEqual(Answer(method), answer, "the answer");

        Assert.Contains(bed.Log.All, line => line.Contains("verbose answer", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Verbose_OfAContainerThatIsShownOtherwise_HasBoth()
    {
        await using TestBed bed = await BedAsync("ContainerStatus", _ => Said);
        bed.Supervision!.Complete("c0");

        ContainerStatusResponse status = ContainerStatusResponse.Parser.ParseFrom(await AskAsync(bed, "ContainerStatus", isVerbose: true));

        Assert.Equal(("Completed", Said), (status.Status.Reason, status.Info["crishim"]));
    }

    private static async Task<TestBed> BedAsync(string method, Func<string, string?> describe)
    {
        TestBed bed = await TestBed.WithSupervisionAsync(new ShownContainers { Describe = describe });
        bed.Fake.On(Service + method, async call =>
        {
            _ = await call.ReadBodyAsync();
            await call.SendAsync(GrpcWire.Message(Answer(method)));
            await call.EndAsync();
        });
        return bed;
    }

    private static async Task<byte[]> AskAsync(TestBed bed, string method, bool isVerbose)
    {
        IMessage request = method switch
        {
            "ContainerStatus" => new ContainerStatusRequest { ContainerId = "c0", Verbose = isVerbose },
            "PodSandboxStatus" => new PodSandboxStatusRequest { PodSandboxId = "pod-a", Verbose = isVerbose },
            _ => new StatusRequest { Verbose = isVerbose },
        };
        RawConnection caller = await bed.ConnectAsync();
        RawStream call = await caller.CallAsync(Service + method, GrpcWire.Message(request.ToByteArray()));
        Assert.Equal("0", call.Status);
        return call.Body[5..];
    }

    private static byte[] Answer(string method)
    {
        IMessage answer = method switch
        {
            "ContainerStatus" => new ContainerStatusResponse
            {
                Status = new ContainerStatus { Id = "c0", State = ContainerState.ContainerExited, ExitCode = 3, FinishedAt = 5 },
                Info = { { "config", """{"a":1}""" } },
            },
            "PodSandboxStatus" => new PodSandboxStatusResponse { Status = new PodSandboxStatus { Id = "pod-a" }, Info = { { "config", """{"a":1}""" } } },
            _ => new StatusResponse { Status = new RuntimeStatus(), Info = { { "config", """{"a":1}""" } } },
        };
        return [.. Unknown, .. answer.ToByteArray()];
    }

    private static MapField<string, string> InfoOf(string method, byte[] answer) => method switch
    {
        "ContainerStatus" => ContainerStatusResponse.Parser.ParseFrom(answer).Info,
        "PodSandboxStatus" => PodSandboxStatusResponse.Parser.ParseFrom(answer).Info,
        _ => StatusResponse.Parser.ParseFrom(answer).Info,
    };
}
