using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;
using CriShim.TestSupport.RawHttp2;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.Tests.Proofs;

/// <summary>
/// One pod, one caller or one call goes wrong, for as long as it likes: in another pod a sidecar that dies meanwhile runs again, and
/// another caller's calls are answered.
/// </summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class NeighbourTests
{
    private const string Events = "/runtime.v1.RuntimeService/GetContainerEvents";

    /// <summary>What a caller's streams may cost the process while they are open.</summary>
    private const double MostMegabytes = 400;

    [Theory]
    [InlineData("CreateContainer")]
    [InlineData("StartContainer")]
    [InlineData("RemoveContainer")]
    [InlineData("ContainerStatus")]
    public async Task Backend_ThatDoesNotAnswerForOnePod_DelaysNoOther(string method)
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string slow = await bed.RunPodAsync(0);
        string other = await bed.RunPodAsync(1);
        HashSet<string> ofSlow = [.. bed.Node.RunningIn(slow)];
        int held = 0;
        var answers = new TaskCompletionSource();
        bed.Node.Before = (called, request) =>
        {
            if (called != method || !(request is CreateContainerRequest create ? create.PodSandboxId == slow : IsOf(ofSlow, bed, slow, request)))
            {
                return Task.CompletedTask;
            }

            _ = Interlocked.Increment(ref held);
            return answers.Task;
        };
        string dead = bed.Node.RunningIn(slow)[0];
        bed.Node.Kill([dead]);
        if (method == "RemoveContainer")
        {
            // Whoever removes what has just died takes it over.
            await bed.BecomesTrueAsync("it runs again", () => bed.Node.RunningIn(slow).Count == SidecarPods.Names.Count);
        }

        Task<ContainerStatusResponse> asked = bed.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = dead }).ResponseAsync;
        Task removed = method == "RemoveContainer"
            ? bed.Caller.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = dead }).ResponseAsync : Task.CompletedTask;
        await bed.BecomesTrueAsync($"a {method} hangs", () => Volatile.Read(ref held) > 0);

        await OthersAreWellAsync(bed, other);

        answers.SetResult();
        await bed.BecomesTrueAsync("the slow pod is whole again", () => bed.Node.RunningIn(slow).Count == SidecarPods.Names.Count);
        await Task.WhenAll(asked, removed).ContinueWith(_ => { }, TaskScheduler.Default);
    }

    /// <summary>The whole backend is slow to list: deaths are told by events, and restarts need no list.</summary>
    [Fact]
    public async Task Backend_ThatDoesNotAnswerLists_DelaysNoRestart()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync("supervision: {relistInterval: 1s}");
        string pod = await bed.RunPodAsync(0);
        int held = 0;
        var answers = new TaskCompletionSource();
        bed.Node.Before = (called, request) =>
        {
            if (called is not ("ListContainers" or "ListPodSandbox"))
            {
                return Task.CompletedTask;
            }

            _ = Interlocked.Increment(ref held);
            return answers.Task;
        };
        await bed.BecomesTrueAsync("a list hangs", () => Volatile.Read(ref held) > 0);

        await bed.RestartsADeadOneAsync(pod);
        _ = await bed.Caller.Runtime.VersionAsync(new VersionRequest());
        answers.SetResult();
    }

    [Fact]
    public async Task Backend_ThatTricklesAStream_DelaysNobodyElse()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string other = await bed.RunPodAsync(0);
        var octet = new SemaphoreSlim(0);
        bed.Node.BeforeOctet = () => octet.WaitAsync();
        using var follower = new CriCaller(bed.Crishim.ListenPath);
        using AsyncServerStreamingCall<ContainerEventResponse> stream = follower.Runtime.GetContainerEvents(new GetEventsRequest());
        await bed.BecomesTrueAsync("a follower follows", () => bed.Node.Followers == 1);
        bed.Node.Tell(1);
        Task<bool> told = stream.ResponseStream.MoveNext(CancellationToken.None);
        _ = octet.Release(7); // The five of gRPC's prefix, and two more.

        await OthersAreWellAsync(bed, other);
        Assert.False(told.IsCompleted);

        _ = octet.Release(1_000_000);
        Assert.True(await told.Bounded("the event, whole"));
    }

    /// <summary>A backend that takes a call and reads nothing of its body: the call's caller waits, for as long as it likes.</summary>
    [Fact]
    public async Task Backend_ThatNeverReads_DelaysNobodyElse()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string other = await bed.RunPodAsync(0);
        int held = 0;
        var reads = new TaskCompletionSource();
        bed.Node.BeforeReading = path =>
        {
            if (!path.EndsWith("/ExecSync", StringComparison.Ordinal))
            {
                return Task.CompletedTask;
            }

            _ = Interlocked.Increment(ref held);
            return reads.Task;
        };
        await using RawConnection caller = await RawConnection.ConnectAsync(bed.Crishim.ListenPath);
        byte[] body = GrpcWire.Message(new ExecSyncRequest { ContainerId = "c", Cmd = { new string('x', 4 << 20) } }.ToByteArray());
        RawStream call = caller.OpenStream();
        await caller.SendHeadersAsync(call.Id, GrpcWire.Request("/runtime.v1.RuntimeService/ExecSync"));
        Task sending = caller.SendBodyAsync(call, body, endStream: true).ContinueWith(_ => { }, TaskScheduler.Default);
        await bed.BecomesTrueAsync("an ExecSync hangs", () => Volatile.Read(ref held) > 0);

        await OthersAreWellAsync(bed, other);
        Assert.Null(call.Status);
        reads.SetResult();
        await sending;
    }

    /// <summary>Ten thousand streams of events on one connection, of which none is read, while events come.</summary>
    [Fact]
    public async Task Caller_With10000StreamsThatReadsNone_DelaysNobodyElseAndIsForgotten()
    {
        const int Streams = 10_000;
        int events = Proof.Pick(20, 400);
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string other = await bed.RunPodAsync(0);
        await bed.RestartsADeadOneAsync(other);
        int process = bed.Crishim.ProcessId;
        int descriptors = ProcessFigures.Descriptors(process);
        double before = ProcessFigures.ResidentMegabytes(process);
        var hostile = await RawConnection.ConnectAsync(bed.Crishim.ListenPath, new RawConnectionOptions { Read = false, Settings = [], ExtraConnectionWindow = 0 });
        byte[] block = new HpackEncoder().Encode(GrpcWire.Request(Events));
        byte[] ask = GrpcWire.Message([]);
        var wire = new MemoryStream();
        for (int i = 0; i < Streams; i++)
        {
            wire.Write(Frame.Headers((2 * i) + 1, block).ToArray());
            wire.Write(Frame.Data((2 * i) + 1, ask, endStream: true).ToArray());
        }

        Task writing = hostile.WriteRawAsync(wire.ToArray()).ContinueWith(_ => { }, TaskScheduler.Default);
        await bed.BecomesTrueAsync("its streams are open, or it is not read any more", () => bed.Node.Followers >= 1000);
        for (int i = 0; i < events; i++)
        {
            bed.Node.Tell(1);
            if (i % 10 == 0)
            {
                _ = await bed.Caller.Runtime.VersionAsync(new VersionRequest());
            }
        }

        await OthersAreWellAsync(bed, other);
        int open = bed.Node.Followers;
        double most = ProcessFigures.ResidentMegabytes(process);
        Assert.InRange(most, 1, MostMegabytes);
        hostile.Kill();
        await writing;
        await bed.BecomesTrueAsync(
            "nothing is left of it", () => bed.Node.Followers == 0 && ProcessFigures.Descriptors(process) <= descriptors);
        await OthersAreWellAsync(bed, other);
        Proof.Record(
            "Neighbours", $"memory before, and with {open:n0} streams of a caller that reads none of their {events:n0} events", $"{before:0.0} MB, {most:0.0} MB");
    }

    /// <summary>A kubelet that hangs, and does not read its one stream of events, through many of them.</summary>
    [Fact]
    public async Task Caller_ThatNeverReadsItsEvents_DelaysNobodyElse()
    {
        int events = Proof.Pick(20_000, 1_000_000);
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string other = await bed.RunPodAsync(0);
        var hostile = await RawConnection.ConnectAsync(bed.Crishim.ListenPath, new RawConnectionOptions { Read = false, Settings = [], ExtraConnectionWindow = 0 });
        _ = await hostile.SendCallAsync(Events, GrpcWire.Message([]));
        await bed.BecomesTrueAsync("it follows", () => bed.Node.Followers == 1);
        using AsyncServerStreamingCall<ContainerEventResponse> stream = bed.Caller.Runtime.GetContainerEvents(new GetEventsRequest());
        await bed.BecomesTrueAsync("another one follows", () => bed.Node.Followers == 2);

        bed.Node.Tell(events);
        int told = 0;
        while (told < events)
        {
            Assert.True(await stream.ResponseStream.MoveNext(CancellationToken.None).Bounded($"event {told}"));
            told++;
        }

        await OthersAreWellAsync(bed, other);
        Assert.InRange(ProcessFigures.ResidentMegabytes(bed.Crishim.ProcessId), 1, MostMegabytes);
        hostile.Kill();
        await bed.BecomesTrueAsync("it is gone", () => bed.Node.Followers == 1);
    }

    private static bool IsOf(HashSet<string> containers, DaemonBed bed, string sandbox, IMessage request)
    {
        string? id = request switch
        {
            StartContainerRequest start => start.ContainerId,
            RemoveContainerRequest remove => remove.ContainerId,
            ContainerStatusRequest status => status.ContainerId,
            _ => null,
        };
        return id is not null && (containers.Contains(id) || bed.Node.SandboxOf(id) == sandbox);
    }

    private static async Task OthersAreWellAsync(DaemonBed bed, string pod)
    {
        await bed.RestartsADeadOneAsync(pod);
        using var caller = new CriCaller(bed.Crishim.ListenPath);
        _ = await caller.Runtime.VersionAsync(new VersionRequest(), deadline: Deadline());
        _ = await caller.Runtime.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = pod } }, deadline: Deadline());
    }

    private static DateTime Deadline() => TimeProvider.System.GetUtcNow().UtcDateTime + DaemonBed.Patience;
}
