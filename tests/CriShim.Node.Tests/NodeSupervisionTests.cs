using System.Collections.Concurrent;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Tests;

public sealed class NodeSupervisionTests
{
    private const string Sandbox = NodeBed.Sandbox;
    private const string Sidecar = NodeBed.Sidecar;

    // ---- Annotations -------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("[{\"name\":\"\\ud800\"}]")]
    [InlineData("a\u001b[2J\nError: all is lost")]
    [InlineData("- &a [*a]")]
    [InlineData("[{name: proxy, kind: native, startupProbe: {exec: {}, tcpSocket: {}}, restart: 7}, {name: proxy}, {}, 0]")]
    public async Task RunPodSandbox_WithAHostileAnnotation_GoesThroughWithOneLineInTheLog(string annotation)
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = annotation;
        bed.Start();
        await bed.KnownAsync();

        bed.RunSandbox();
        string id = await bed.RunAsync(NodeBed.Create());
        await bed.StopAsync(id, 1);
        await bed.StopSandboxAsync();

        string line = Assert.Single(bed.Log.All, line => line.Contains("Annotation of pod default/pod", StringComparison.Ordinal));
        Assert.InRange(line.Length, 50, 1300);
        Assert.DoesNotContain(line, char.IsControl);
    }

    [Fact]
    public async Task RunPodSandbox_TenThousandCharactersOfAnnotation_IsOneLineInTheLog()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = string.Concat(Enumerable.Repeat("No Name,", 1250));
        bed.Start();
        await bed.KnownAsync();

        bed.RunSandbox();
        _ = await bed.RunAsync(NodeBed.Create());

        Assert.InRange(Assert.Single(bed.Log.All, line => line.Contains("Annotation of pod default/pod", StringComparison.Ordinal)).Length, 50, 1300);
    }

    // ---- A restart ---------------------------------------------------------------------------------------------------

    [Fact]
    public async Task WatchesEnds_WhileASidecarRunsThatWouldBeRestarted()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        Assert.True(bed.Node.WatchesEnds);

        await bed.StopAsync("c0", 1);

        Assert.False(bed.Node.WatchesEnds);
    }

    [Fact]
    public async Task Exit_OfASidecar_IsReplacedByTheRecordedRequestWithTheNextNumberThroughout()
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        bed.Backend.Exit("c0", 3);
        FakeInstance next = await bed.RunsAsync(1);

        CreateContainerRequest expected = NodeBed.Create(1);
        Assert.Equal(expected, next.Request);
        Assert.Equal(["CreateContainer", "StartContainer"], bed.Backend.Changes.Select(call => call.Method));
    }

    [Fact]
    public async Task Exit_OfASidecar_HasItsIntentOnDiskBeforeEachCall()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Received);
        RelayHold start = bed.Backend.Hold("StartContainer", HoldPoint.Received);

        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();
        string planned = bed.Record();
        create.Release();
        await start.ReachedAsync();
        string created = bed.Record();
        start.Release();
        await bed.RunsAsync(1);

        Assert.Contains("\"intent\":\"Planned\",\"intendedAttempt\":1", planned, StringComparison.Ordinal);
        Assert.Contains("\"intent\":\"Created\",\"intendedAttempt\":1,\"intendedId\":\"c1\"", created, StringComparison.Ordinal);
        Assert.Contains("\"intent\":\"None\"", bed.Record(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exit_OfASidecar_ShowsTheOldRunningAndTheNewNotAtAllUntilItRuns()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        Assert.False(bed.Node.RewritesViews);
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Answered);
        RelayHold start = bed.Backend.Hold("StartContainer", HoldPoint.Answered);

        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();
        Assert.True(bed.Node.RewritesViews);
        Assert.Equal(ShownContainer.Running, bed.Node.Show("c0", Sandbox, Sidecar, 0));
        // Nobody has told its id yet.
        Assert.Equal(ShownContainer.Hidden, bed.Node.Show("c1", Sandbox, Sidecar, 1));
        create.Release();
        await start.ReachedAsync();
        Assert.Equal(ShownContainer.Running, bed.Node.Show("c0", Sandbox, Sidecar, 0));
        Assert.Equal(ShownContainer.Hidden, bed.Node.Show("c1", Sandbox, Sidecar, 1));
        start.Release();
        await bed.RunsAsync(1);

        await Condition.BecomesTrueAsync("nothing is rewritten any more", NodeBed.Patience, () => !bed.Node.RewritesViews);
        Assert.Null(bed.Node.Show("c0", Sandbox, Sidecar, 0));
        Assert.Null(bed.Node.Show("c1", Sandbox, Sidecar, 1));
        Assert.True(bed.Node.MapsIds);
        Assert.Equal("c1", bed.Node.CurrentInstance("c0"));
    }

    [Fact]
    public async Task Exit_EachStepThatCallersSee_IsSaidWhenItIsTrue()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        var said = new ConcurrentQueue<(string Id, bool OldIsShown, string? Current)>();
        // As a stream does: it takes note under the lock, and asks outside of it.
        bed.Node.ViewChanged += id => ThreadPool.QueueUserWorkItem(_ =>
            said.Enqueue((id, bed.Node.Show("c0", Sandbox, Sidecar, 0) is null, bed.Node.CurrentInstance("c0"))));

        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);

        await Condition.BecomesTrueAsync("both were said", NodeBed.Patience, () => said.Count == 2);
        Assert.Equal([("c0", true, "c1"), ("c1", true, "c1")], said.OrderBy(one => one.Id));
        Assert.Equal(Sandbox, bed.Node.SandboxOf("c1"));
        Assert.Null(bed.Node.SandboxOf("unknown"));
    }

    [Fact]
    public async Task Exit_ThatAMessageTellsBeforeTheEvent_IsHiddenAndDecidedOnce()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Received);
        bed.Backend.Exit("c0", 1, isEventLost: true);

        Assert.Equal(ShownContainer.Running, bed.Node.See("c0", Sandbox, Sidecar, 0, ContainerState.ContainerExited));
        Assert.Equal(ShownContainer.Running, bed.Node.See("c0", Sandbox, Sidecar, 0, ContainerState.ContainerExited));
        await create.ReachedAsync();
        // The event comes after all.
        bed.Backend.Exit("c0", 1);
        create.Release();

        await bed.RunsAsync(1);
        Assert.Equal(["CreateContainer", "StartContainer"], bed.Backend.Changes.Select(call => call.Method));
        Assert.Single(bed.Log.All, line => line.Contains("exit code 1", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Exit_ListsAreBehindIt_ShowsTheOldExitedBesideTheNewUntilTheyCatchUp()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 3, isListedLate: true);
        await bed.RunsAsync(1);

        ShownContainer? shown = bed.Node.See("c0", Sandbox, Sidecar, 0, ContainerState.ContainerRunning);
        DateTimeOffset ended = bed.Backend.Instances[0].FinishedAt;
        Assert.True(bed.Node.RewritesViews);
        Assert.Equal(new ShownContainer(ShownAs.Exited, ended, 3, "Error"), shown);
        Assert.Null(bed.Node.See("c1", Sandbox, Sidecar, 1, ContainerState.ContainerRunning));
        // A message that is older than its start.
        Assert.Equal(ShownAs.Running, bed.Node.See("c1", Sandbox, Sidecar, 1, ContainerState.ContainerCreated)?.As);

        bed.Backend.ListTheEnd("c0");

        await Condition.BecomesTrueAsync("nothing is rewritten any more", NodeBed.Patience, () => !bed.Node.RewritesViews);
        Assert.Null(bed.Node.See("c0", Sandbox, Sidecar, 0, ContainerState.ContainerExited));
    }

    [Fact]
    public async Task Removal_OfAnOldInstanceFails_IsTriedAgain()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        bed.Backend.Fail("RemoveContainer", StatusCode.Unknown, "cannot delete a running task");
        bed.Backend.Fail("RemoveContainer", StatusCode.Unavailable, "busy");

        bed.Backend.Exit("c1", 1);
        await bed.RunsAsync(2);

        await Condition.BecomesTrueAsync("it is gone", NodeBed.Patience, () => bed.Backend.Instances.All(instance => instance.Id != "c0"));
        Assert.Equal(3, bed.Backend.Requests<RemoveContainerRequest>().Count(request => request.ContainerId == "c0"));
    }

    [Fact]
    public async Task Removal_OfOneWithATaskThatAStartLeftBehind_EndsTheTaskFirst()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        bed.Backend.LeaveTask("c0");

        bed.Backend.Exit("c1", 1);
        await bed.RunsAsync(2);

        await Condition.BecomesTrueAsync("it is gone", NodeBed.Patience, () => bed.Backend.Instances.All(instance => instance.Id != "c0"));
        Assert.Equal(
            ["RemoveContainer", "Kill", "Delete", "RemoveContainer"],
            bed.Backend.Changes.Select(call => call.Method).Where(method => method is not ("CreateContainer" or "StartContainer")));
    }

    [Fact]
    public async Task Exit_RestartTakesLongerThanTheWindow_ShowsWhatTheBackendSays()
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Answered);
        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();
        time.Advance(bed.Options.Restart.ShownRunningFor - TimeSpan.FromMilliseconds(1));
        Assert.Equal(ShownContainer.Running, bed.Node.Show("c0", Sandbox, Sidecar, 0));

        time.Advance(TimeSpan.FromMilliseconds(1));

        Assert.Null(bed.Node.Show("c0", Sandbox, Sidecar, 0));
        Assert.Equal(ShownContainer.Hidden, bed.Node.Show("c1", Sandbox, Sidecar, 1));
        create.Release();
        await bed.RunsAsync(1);
    }

    /// <summary>Back by an hour it would wait an hour, forth it would wait no more.</summary>
    [Theory]
    [InlineData(-3600)]
    [InlineData(3600)]
    public async Task Exit_ClockIsSetInTheBackOff_WaitsAsLongAsItShould(int seconds)
    {
        var time = new PooledTime();
        // Set back, it is still not behind the machine's: that is the clock by which calls are given up.
        time.SetClock(TimeSpan.FromHours(2));
        await using NodeBed bed = await NodeBed.StartAsync(time);
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        bed.Backend.Exit(bed.Running!.Id, 1);
        await bed.LoggedAsync("due in 250 ms");

        time.SetClock(TimeSpan.FromSeconds(seconds));
        time.Advance(TimeSpan.FromMilliseconds(249));
        _ = Assert.Single(bed.Backend.Requests<CreateContainerRequest>());
        time.Advance(TimeSpan.FromMilliseconds(1));
        await bed.RunsAsync(2);

        // Nor does its next death count otherwise.
        bed.Backend.Exit(bed.Running!.Id, 1);
        await bed.LoggedAsync("due in 500 ms");
    }

    /// <summary>A node whose clock is wrong until it has a network, or a laptop that slept.</summary>
    [Fact]
    public async Task Clock_SetForth_IsFollowedOnceNothingWaits()
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time, options => options with { RelistInterval = TimeSpan.FromMilliseconds(100) });
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        bed.Backend.Exit(bed.Running!.Id, 1);
        await bed.LoggedAsync("due in 250 ms");
        time.SetClock(TimeSpan.FromHours(8));
        DateTimeOffset before = bed.Now;

        await ListsAsync();
        Assert.Equal(before + bed.Options.RelistInterval, bed.Now);
        time.Advance(TimeSpan.FromMilliseconds(150));
        await bed.RunsAsync(2);
        await Condition.BecomesTrueAsync("the clock is followed", NodeBed.Patience, async () =>
        {
            await ListsAsync();
            return bed.Now == time.GetUtcNow();
        });
        Assert.InRange(time.GetUtcNow() - bed.Health.ListedAt!.Value, TimeSpan.Zero, bed.Options.RelistInterval);

        async Task ListsAsync()
        {
            int lists = bed.Backend.Requests<ListContainersRequest>().Count;
            time.Advance(bed.Options.RelistInterval);
            await Condition.BecomesTrueAsync(
                "the backend is listed", NodeBed.Patience, () => bed.Backend.Requests<ListContainersRequest>().Count > lists);
        }
    }

    [Fact]
    public async Task Exit_AgainAndAgain_WaitsTwiceAsLongEachTime()
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);

        foreach ((uint attempt, int delay) in new[] { (2u, 250), (3u, 500), (4u, 1000) })
        {
            bed.Backend.Exit(bed.Running!.Id, 1);
            await bed.LoggedAsync($"due in {delay} ms");
            time.Advance(TimeSpan.FromMilliseconds(delay - 1));
            Assert.Equal((int)attempt - 1, bed.Backend.Requests<CreateContainerRequest>().Count);
            time.Advance(TimeSpan.FromMilliseconds(1));
            await bed.RunsAsync(attempt);
        }

        // Of all that died, one is left.
        await Condition.BecomesTrueAsync("one dead instance is left", NodeBed.Patience, () => bed.Backend.Instances.Count == 2);
    }

    [Fact]
    public async Task Exit_WhoseEventIsLost_IsSeenByTheNextList()
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        bed.Backend.Exit("c0", 1, isEventLost: true);

        time.Advance(bed.Options.RelistInterval);

        await bed.RunsAsync(1);
    }

    [Fact]
    public async Task Exit_StateFolderIsFull_CreatesNothingUntilTheIntentIsRecorded()
    {
        var tiny = new TinyFileSystem(256);
        await using NodeBed bed = await NodeBed.PrepareAsync(directory: tiny);
        bed.Start();
        await bed.KnownAsync();
        bed.RunSandbox();
        await bed.RunAsync(NodeBed.Create());
        tiny.Fill();

        bed.Backend.Exit("c0", 1);
        await Condition.BecomesTrueAsync("it has been tried twice", NodeBed.Patience, () => bed.Log.At(LogLevel.Error).Count >= 4);
        Assert.Empty(bed.Backend.Changes);
        tiny.MakeRoom();

        await bed.RunsAsync(1);
    }

    [Fact]
    public async Task Exit_SuperviseObserve_IsDecidedAndNotActedOn()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { Mode = SupervisionMode.Observe });

        bed.Backend.Exit("c0", 1);

        await bed.LoggedAsync("OnlyObserved");
        Assert.Empty(bed.Backend.Changes);
        Assert.Null(bed.Node.Show("c0", Sandbox, Sidecar, 0));
    }

    // ---- Callers -----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Create_EqualToOursThatIsUnderWay_IsAnsweredWithOursAndStartIsToo()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Answered);
        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();

        Task<string> theirs = bed.RunAsync(NodeBed.Create(1));
        create.Release();

        Assert.Equal("c1", await theirs);
        Assert.Equal(2, bed.Backend.Instances.Count);
    }

    [Fact]
    public async Task Create_DifferentFromOurs_GetsOursOutOfItsWayAndLaterOnesAreMadeFromIt()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);

        string theirs = await bed.RunAsync(NodeBed.Create(1, env: "rotated"));
        Assert.Equal("rotated", Env(bed.Running!));
        bed.Backend.Exit(theirs, 1);

        Assert.Equal("rotated", Env(await bed.RunsAsync(2)));
        Assert.Single(bed.Backend.Requests<RemoveContainerRequest>(), request => request.ContainerId == "c1");
    }

    [Fact]
    public async Task Create_DifferentAndRefused_LeavesTheRequestOfTheInstanceThatIsThere()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        CreateContainerRequest refused = NodeBed.Create(1, env: "refused");
        Assert.Null((await bed.Node.BeforeCreateAsync(refused, CancellationToken.None)).AnswerWith);

        bed.Node.OnCreateFailed(refused, isOutcomeKnown: true);
        bed.Backend.Exit("c0", 1);

        Assert.Equal("one", Env(await bed.RunsAsync(1)));
    }

    [Fact]
    public async Task Create_CrishimEndsBeforeItsAnswer_LaterOnesAreMadeFromItAllTheSame()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        CreateContainerRequest theirs = NodeBed.Create(2, env: "rotated");
        Assert.Null((await bed.Node.BeforeCreateAsync(theirs, CancellationToken.None)).AnswerWith);
        string id = bed.Backend.Create(theirs);
        await bed.EndAsync();
        bed.Backend.Start(new StartContainerRequest { ContainerId = id });

        bed.Start();
        await Condition.BecomesTrueAsync("it is known", NodeBed.Patience, () => bed.Node.CurrentInstance(id) == id && !bed.Node.RewritesViews);
        bed.Backend.Exit(id, 1);

        Assert.Equal("rotated", Env(await bed.RunsAsync(3)));
    }

    [Theory]
    [InlineData("../escaped")]
    [InlineData("/")]
    [InlineData("")]
    [InlineData("a\0b")]
    public async Task Create_InASandboxWithAHostileId_GoesThroughAndDoesNoHarm(string sandbox)
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        CreateContainerRequest hostile = NodeBed.Create(sandbox: sandbox);

        Assert.Null((await bed.Node.BeforeCreateAsync(hostile, CancellationToken.None)).AnswerWith);
        bed.Node.OnCreateFailed(hostile, isOutcomeKnown: true);
        Assert.Null((await bed.Node.BeforeCreateAsync(hostile, CancellationToken.None)).AnswerWith);
        bed.Node.OnCreated(hostile, "hostile");

        // Lists are what forgets pods that are not there.
        bed.Backend.Exit("c0", 1, isEventLost: true);
        time.Advance(bed.Options.RelistInterval);
        await bed.RunsAsync(1);
        bed.Backend.Exit("c1", 1, isEventLost: true);
        time.Advance(bed.Options.RelistInterval);
        await bed.RunsAsync(2);
        Assert.Equal([Sandbox], Directory.GetFileSystemEntries(bed.StateDirectory).Select(Path.GetFileName));
    }

    [Fact]
    public async Task StopContainer_WhileOursIsCreated_EndsInNothingRunning()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Answered);
        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();

        Task<string> stop = bed.Node.BeforeStopAsync("c0", TimeSpan.FromSeconds(2), DateTime.MaxValue, CancellationToken.None);
        Assert.False(stop.IsCompleted);
        create.Release();

        Assert.Equal("c0", await stop);
        await Condition.BecomesTrueAsync("ours is removed", NodeBed.Patience, () => bed.Backend.Instances.Count == 1);
        Assert.Empty(bed.Backend.Requests<StartContainerRequest>());
    }

    [Fact]
    public async Task StopPodSandbox_WhileOursIsCreated_WaitsForItAndNothingIsStarted()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold create = bed.Backend.Hold("CreateContainer", HoldPoint.Answered);
        bed.Backend.Exit("c0", 1);
        await create.ReachedAsync();

        Task stop = bed.Node.BeforeStopSandboxAsync(Sandbox, DateTime.MaxValue, CancellationToken.None);
        Assert.False(stop.IsCompleted);
        create.Release();
        await stop;

        await Condition.BecomesTrueAsync("ours is removed", NodeBed.Patience, () => bed.Backend.Instances.Count == 1);
        Assert.Empty(bed.Backend.Requests<StartContainerRequest>());
        Assert.Null(bed.Node.Show("c0", Sandbox, Sidecar, 0));
    }

    [Fact]
    public async Task RemovePodSandbox_Succeeded_TakesTheRecordsWithIt()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        Assert.NotEmpty(Directory.GetFileSystemEntries(bed.StateDirectory));
        await bed.Node.BeforeStopSandboxAsync(Sandbox, DateTime.MaxValue, CancellationToken.None);
        bed.Backend.RemoveSandbox(Sandbox);

        bed.Node.OnPodSandboxRemoved(Sandbox);

        Assert.Empty(Directory.GetFileSystemEntries(bed.StateDirectory));
    }

    [Fact]
    public async Task UpdateContainerResources_WhileOursIsStarting_ReachesItAndTheNext()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold start = bed.Backend.Hold("StartContainer", HoldPoint.Received);
        bed.Backend.Exit("c0", 1);
        await start.ReachedAsync();

        // It went where the id pointed, to the dead one.
        bed.Node.OnResourcesUpdated(new UpdateContainerResourcesRequest
        {
            ContainerId = bed.Node.CurrentInstance("c0"), Linux = new LinuxContainerResources { CpusetCpus = "1" },
        });
        start.Release();
        await bed.RunsAsync(1);

        await Condition.BecomesTrueAsync("it is updated", NodeBed.Patience, () => bed.Backend.Requests<UpdateContainerResourcesRequest>().Count > 0);
        UpdateContainerResourcesRequest update = Assert.Single(bed.Backend.Requests<UpdateContainerResourcesRequest>());
        Assert.Equal(("c1", "1"), (update.ContainerId, update.Linux.CpusetCpus));
        bed.Backend.Exit("c1", 1);
        Assert.Equal("1", (await bed.RunsAsync(2)).Request.Config.Linux.Resources.CpusetCpus);
    }

    [Fact]
    public async Task Show_ReplacementThatIsRemoved_IsHiddenUntilItIsGone()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold remove = bed.Backend.Hold("RemoveContainer", HoldPoint.Received);
        bed.Backend.Fail("StartContainer", StatusCode.Unknown, "no such file");
        bed.Backend.Exit("c0", 1);
        await remove.ReachedAsync();

        // Seen, kubelet 1.36 would create another one beside it.
        Assert.Equal(ShownContainer.Hidden, bed.Node.Show("c1", Sandbox, Sidecar, 1));
        Assert.True(bed.Node.RewritesViews);

        remove.Release();
        await bed.RunsAsync(1);
    }

    // ---- Starting ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Start_BackendsCriIsNotReadyYet_ListsAgainLongBeforeTheInterval()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Backend.Fail("ListPodSandbox", StatusCode.Unknown, "server is not initialized yet");
        bed.Backend.Fail("ListPodSandbox", StatusCode.Unknown, "server is not initialized yet");

        bed.Start();

        // The interval is an hour.
        await bed.KnownAsync();
    }

    [Fact]
    public async Task Start_CallerCreatesBeforeTheFirstList_KeepsTheRecords()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { StartPatience = TimeSpan.FromMilliseconds(1) });
        // It is recorded that the sidecar is being stopped.
        await bed.Node.BeforeStopAsync("c0", TimeSpan.FromSeconds(30), DateTime.MaxValue, CancellationToken.None);
        await bed.EndAsync();
        RelayHold list = bed.Backend.Hold("ListContainers", HoldPoint.Received);
        bed.Start();
        await list.ReachedAsync();

        // Another container of the same pod: its pod is known before its records are.
        await bed.RunAsync(NodeBed.Create(name: "app"));
        list.Release();
        await Condition.BecomesTrueAsync("the node is known", NodeBed.Patience, () => !bed.Node.RewritesViews);
        bed.Backend.Exit("c0", 0);

        await bed.LoggedAsync("StoppedByCaller");
        Assert.Empty(bed.Backend.Changes);
    }

    [Fact]
    public async Task Start_CallerStopsBeforeTheFirstList_IsNotUndone()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { StartPatience = TimeSpan.FromMilliseconds(1) });
        await bed.EndAsync();
        RelayHold list = bed.Backend.Hold("ListContainers", HoldPoint.Received);
        bed.Start();
        await list.ReachedAsync();

        Assert.Equal("c0", await bed.Node.BeforeStopAsync("c0", TimeSpan.Zero, DateTime.MaxValue, CancellationToken.None));
        bed.Backend.Exit("c0", 137);
        list.Release();

        await bed.LoggedAsync("StoppedByCaller");
        Assert.Empty(bed.Backend.Changes);
    }

    [Fact]
    public async Task Start_CallerStopsTheSandboxBeforeTheFirstList_CreatesNothing()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { StartPatience = TimeSpan.FromMilliseconds(1) });
        await bed.EndAsync();
        bed.Backend.Exit("c0", 137);
        RelayHold list = bed.Backend.Hold("ListContainers", HoldPoint.Received);
        bed.Start();
        await list.ReachedAsync();

        await bed.Node.BeforeStopSandboxAsync(Sandbox, DateTime.MaxValue, CancellationToken.None);
        list.Release();

        await bed.LoggedAsync("SandboxStopping");
        Assert.Empty(bed.Backend.Changes);
    }

    [Fact]
    public async Task Start_ListsBeforeTheRecordsAreRead_AreUnavailableRatherThanWrong()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Options = bed.Options with { StartPatience = TimeSpan.FromMilliseconds(1) };
        bed.CreateNode();

        Assert.True(bed.Node.RewritesViews);
        RpcException refusal = await Assert.ThrowsAsync<RpcException>(() => bed.Node.ReadyAsync(CancellationToken.None));

        Assert.Equal(StatusCode.Unavailable, refusal.StatusCode);
    }

    [Fact]
    public async Task Start_ListsBeforeTheNodeIsKnown_AreUnavailableRatherThanWrong()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { StartPatience = TimeSpan.FromMilliseconds(1) });
        await bed.EndAsync();
        RelayHold list = bed.Backend.Hold("ListContainers", HoldPoint.Received);
        bed.Start();
        await list.ReachedAsync();

        Assert.True(bed.Node.RewritesViews);
        RpcException refusal = await Assert.ThrowsAsync<RpcException>(() => bed.Node.ReadyAsync(CancellationToken.None));

        Assert.Equal(StatusCode.Unavailable, refusal.StatusCode);
        list.Release();
        await Condition.BecomesTrueAsync("it is ready", NodeBed.Patience, () => !bed.Node.RewritesViews);
        await bed.Node.ReadyAsync(CancellationToken.None);
    }

    [Fact]
    public async Task Start_BackendIsStillAtTheStartOfTheCrishimBefore_WaitsForItAndMakesNoSecond()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        RelayHold start = bed.Backend.Hold("StartContainer", HoldPoint.Received);
        bed.Backend.Exit("c0", 1);
        await start.ReachedAsync();
        await bed.EndAsync();
        foreach (int _ in Enumerable.Range(0, 3))
        {
            bed.Backend.Fail("StartContainer", StatusCode.Unknown, "failed to set starting state for container \"c1\": container is already in starting state");
        }

        bed.Start();

        Assert.Equal("c1", (await bed.RunsAsync(1)).Id);
        Assert.Single(bed.Backend.Requests<CreateContainerRequest>());
        Assert.Empty(bed.Backend.Requests<RemoveContainerRequest>());
    }

    [Theory]
    [InlineData("proxy.json", "garbage")]
    [InlineData("proxy.json", """{"sandboxId":"sandbox-0","name":"proxy","instances":null}""")]
    [InlineData("sandbox.pod.json", """{"sandboxId":"sandbox-0","startOrder":null}""")]
    [InlineData("proxy.create", "garbage")]
    public async Task Start_BadRecord_GoesOnAndSupervisesWhatRuns(string file, string content)
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        await bed.EndAsync();
        File.WriteAllText(Path.Combine(bed.StateDirectory, Sandbox, file), content);

        bed.Start();
        await Condition.BecomesTrueAsync("it is known", NodeBed.Patience, () => !bed.Node.RewritesViews);
        bed.Backend.Exit("c0", 1);

        if (file == "proxy.create")
        {
            // The fake's status is not verbose, so there is nothing to make one from; a real containerd's is.
            await bed.LoggedAsync("No request is known");
        }
        else
        {
            await bed.RunsAsync(1);
        }
    }

    private static string Env(FakeInstance instance) => instance.Request.Config.Envs[0].Value.ToStringUtf8();
}
