using CriShim.Node.Draining;
using CriShim.Protocol.Admin.V1;
using CriShim.Proxy;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using PodEndPhase = CriShim.Protocol.Admin.V1.PodEndPhase;

namespace CriShim.Tests.Admin;

/// <summary>The admin socket, as commands see it.</summary>
public sealed class SupervisorServiceTests : IAsyncLifetime
{
    private static readonly Duration Grace = Duration.FromTimeSpan(TimeSpan.FromSeconds(30));

    private readonly TempDirectory _directory = new();
    private readonly AdminBed _bed;

    public SupervisorServiceTests() => _bed = new AdminBed(_directory);

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _bed.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Status_Serving_SaysWhatServesWhat()
    {
        StatusResponse status = await _bed.Client.StatusAsync(new StatusRequest());

        Assert.Equal(CriShim.Commands.VersionCommand.Version, status.Version);
        Assert.Equal(("/run/crishim/crishim.sock", "on", false), (status.ListenPath, status.SupervisionMode, status.IsDraining));
    }

    [Fact]
    public async Task Drain_WithPods_TellsThemAndGetDrainHowTheyGetOn()
    {
        _bed.Teardown.Add("a", "b");

        DrainResponse begun = await _bed.Client.DrainAsync(new DrainRequest { Grace = Grace });
        _bed.Teardown.Set("a", Node.Draining.PodEndPhase.Done);
        _bed.Teardown.Set("b", Node.Draining.PodEndPhase.Failed, "no answer");
        GetDrainResponse later = await _bed.Client.GetDrainAsync(new GetDrainRequest());

        Assert.Equal(["pod-a", "pod-b"], begun.Drain.Pods.Select(pod => pod.Name));
        Assert.Equal(["main"], begun.Drain.Pods[0].Running);
        Assert.Equal(TimeSpan.FromSeconds(30), (begun.Drain.Deadline - begun.Drain.BeganAt).ToTimeSpan());
        Assert.Equal([PodEndPhase.Done, PodEndPhase.Failed], later.Drain.Pods.Select(pod => pod.Phase));
        Assert.NotNull(later.Drain.Pods[0].EndedAt);
        Assert.Equal("no answer", later.Drain.Pods[1].Stage);
        Assert.True((await _bed.Client.StatusAsync(new StatusRequest())).IsDraining);
    }

    [Fact]
    public async Task CancelDrain_TwiceAfterADrain_SaysOnceThatThereWasOne()
    {
        await _bed.Client.DrainAsync(new DrainRequest { Grace = Grace });

        Assert.True((await _bed.Client.CancelDrainAsync(new CancelDrainRequest())).WasDraining);
        Assert.False((await _bed.Client.CancelDrainAsync(new CancelDrainRequest())).WasDraining);
        Assert.Null((await _bed.Client.GetDrainAsync(new GetDrainRequest())).Drain);
    }

    [Fact]
    public async Task Drain_CallerGone_GoesOn()
    {
        _bed.Teardown.Add("a");
        await _bed.Client.DrainAsync(new DrainRequest { Grace = Grace });
        _bed.Channel.Dispose();

        Assert.True(_bed.Drain.IsDraining);
        Assert.Equal("a", Assert.Single(_bed.Teardown.Begun).SandboxId);
    }

    [Fact]
    public async Task Drain_KubeletConnected_IsRefusedWithItsPidUnlessForced()
    {
        _bed.Callers = [new CallerInfo(4321, 0, HasRunPods: false, AsksForStatus: true)];

        RpcException refused = await Assert.ThrowsAsync<RpcException>(
            () => _bed.Client.DrainAsync(new DrainRequest { Grace = Grace }).ResponseAsync);
        bool wasDraining = _bed.Drain.IsDraining;
        await _bed.Client.DrainAsync(new DrainRequest { Grace = Grace, Force = true });

        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Contains("process 4321", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Contains("systemctl stop kubelet", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Contains("--force", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal((false, true), (wasDraining, _bed.Drain.IsDraining));
    }

    public static TheoryData<Duration?> WrongGraces => new(
        null, new Duration { Seconds = -1 }, new Duration { Seconds = 86401 }, new Duration { Seconds = 1, Nanos = -5 }, new Duration { Seconds = long.MaxValue });

    [Theory]
    [MemberData(nameof(WrongGraces))]
    public async Task Drain_GraceOutOfBounds_IsRefused(Duration? grace)
    {
        RpcException refused = await Assert.ThrowsAsync<RpcException>(
            () => _bed.Client.DrainAsync(new DrainRequest { Grace = grace }).ResponseAsync);

        Assert.Equal((StatusCode.InvalidArgument, "grace must be from 0s to 24h0m0s"), (refused.StatusCode, refused.Status.Detail));
        Assert.False(_bed.Drain.IsDraining);
    }

    // ---- The socket --------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("runtime.v1.RuntimeService", "Version")]
    [InlineData("crishim.v1.Supervisor", "OfALaterVersion")]
    public async Task Call_UnknownMethod_IsUnimplemented(string service, string method)
    {
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => SendAsync(service, method, []));

        Assert.Equal((StatusCode.Unimplemented, $"this crishim has no /{service}/{method}"), (refused.StatusCode, refused.Status.Detail));
    }

    [Fact]
    public async Task Call_MessageOfNoUse_IsAnsweredAndTheNextOneServed()
    {
        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => SendAsync("crishim.v1.Supervisor", "Drain", [0x0a, 0xff]));

        Assert.Equal(StatusCode.Internal, refused.StatusCode);
        Assert.NotNull(await _bed.Client.StatusAsync(new StatusRequest()));
    }

    [Fact]
    public async Task Connect_UserNotAdmitted_IsCutOffAndLogged()
    {
        using var directory = new TempDirectory();
        await using var bed = new AdminBed(directory, peer => peer.UserId == 12345);

        RpcException cut = await Assert.ThrowsAsync<RpcException>(() => bed.Client.DrainAsync(new DrainRequest { Grace = Grace }).ResponseAsync);

        Assert.True(cut.StatusCode is StatusCode.Unavailable or StatusCode.Internal, cut.ToString());
        Assert.False(bed.Drain.IsDraining);
        Assert.Contains(bed.Log.Lines, line => line.Text.Contains($"Process {Environment.ProcessId} of user", StringComparison.Ordinal));
    }

    private async Task<byte[]> SendAsync(string service, string method, byte[] message)
    {
        var bytes = Marshallers.Create(static (byte[] value) => value, static value => value);
        var call = new Method<byte[], byte[]>(MethodType.Unary, service, method, bytes, bytes);
        return await _bed.Channel.Invoker.AsyncUnaryCall(call, null, default, message).ResponseAsync;
    }
}
