using System.Collections.Concurrent;
using CriShim.Node.Journal;
using CriShim.Node.Tests.Support;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using CompletionShown = CriShim.Node.Journal.CompletionShown;
using ContainerStarted = CriShim.Node.Journal.ContainerStarted;

namespace CriShim.Node.Tests.Journal;

public sealed class NodeJournalTests
{
    private static readonly PodName Pod = new("default", "pod", "uid", "sandbox-0");

    [Fact]
    public async Task Death_OfASidecar_IsToldFromItsStartToItsReplacement()
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        bed.Backend.Exit("c0", 3);
        await bed.RunsAsync(1);
        await KeptAsync(bed, nameof(SidecarRestored));

        IReadOnlyList<Happening> trail = bed.Journal.Of(NodeBed.Sandbox);
        Assert.Equal(
            [nameof(ContainerStarted), nameof(ContainerEnded), nameof(RestartDecided), nameof(ContainerStarted), nameof(SidecarRestored)],
            trail.Select(one => one.Kind));
        Assert.All(trail, one => Assert.Equal((Pod, NodeBed.Sidecar), (one.Pod, one.Container)));
        Assert.Equal(["c0", "c0", "c0", "c1", "c1"], trail.Select(one => one.ContainerId));
        Assert.Equal(3, Assert.IsType<ContainerEnded>(trail[1]).ExitCode);
        Assert.Equal("attempt 0 ended with exit code 3: restarted at once", trail[2].Words);
        ContainerStarted started = Assert.IsType<ContainerStarted>(trail[3]);
        Assert.Equal((1, true), (started.Attempt, started.IsReplacement));
        Assert.NotNull(Assert.IsType<SidecarRestored>(trail[4]).Elapsed);
    }

    [Fact]
    public async Task SecondDeath_WaitsForItsBackOff_WhichIsTold()
    {
        var time = new PooledTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);

        bed.Backend.Exit("c1", 1);
        await KeptAsync(bed, nameof(SidecarBackOff));
        time.Advance(TimeSpan.FromMilliseconds(250));
        await bed.RunsAsync(2);

        SidecarBackOff backOff = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<SidecarBackOff>());
        Assert.Equal((1, 2, TimeSpan.FromMilliseconds(250)), (backOff.Attempt, backOff.Deaths, backOff.Delay));
    }

    [Fact]
    public async Task StopPodSandbox_WithContainersRunning_IsToldFromItsHoldToItsEnd()
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        await bed.StopSandboxAsync();

        await KeptAsync(bed, nameof(TeardownEnded));
        string[] kinds = [.. bed.Journal.Of(NodeBed.Sandbox).Select(one => one.Kind).Where(kind => kind != nameof(ContainerEnded))];
        Assert.Equal(nameof(ContainerStarted), kinds[0]);
        Assert.Equal([nameof(LeftAlone), nameof(SandboxStopHeld), nameof(StopSent), nameof(TeardownBegan)], kinds[1..^1].Order());
        TeardownEnded ended = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<TeardownEnded>());
        Assert.Equal(TimeSpan.Zero, ended.Overrun);
    }

    [Fact]
    public async Task Start_OfAnEmulatedSidecar_IsToldWithWhatCallersAreShown()
    {
        await using NodeBed bed = await StartEmulatedAsync();

        await KeptAsync(bed, nameof(CompletionShown));

        IReadOnlyList<Happening> trail = bed.Journal.Of(NodeBed.Sandbox);
        Assert.Equal([nameof(ContainerStarted), nameof(CompletionShown)], trail.Select(one => one.Kind));
        Assert.Equal((NodeBed.Sidecar, "c0"), (trail[1].Container, trail[1].ContainerId));
        Assert.Equal("default/pod/proxy: has started, and runs on; the kubelet and other callers are shown that it completed", trail[1].ToString());
    }

    [Fact]
    public async Task StartupProbe_ThatFailsTooOften_IsToldAndItsStopIsNoTurn()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"init","startupProbe":{"exec":{"command":["true"]},"periodSeconds":1,"failureThreshold":2}}]""";
        bed.RestartPolicy = "Always";
        bed.Backend.Fail("ExecSync", StatusCode.Unknown, "no");
        bed.Backend.Fail("ExecSync", StatusCode.Unknown, "no");
        await bed.BeginAsync();

        await KeptAsync(bed, nameof(CompletionShown));

        StartupFailed failed = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<StartupFailed>());
        Assert.Equal(("c0", "failed its startup probe 2 times in a row, and is stopped", true), (failed.ContainerId, failed.Words, failed.IsWarning));
        StopSent stop = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<StopSent>());
        Assert.True(stop.HasFailedToStart);
        Assert.StartsWith("is stopped, for it has failed to start", stop.Words, StringComparison.Ordinal);
        Assert.DoesNotContain(bed.Log.All, line => line.Contains("its turn", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Removal_OfWhatOnlySeemsToHaveCompleted_IsToldOnceHoweverOftenItIsAskedFor()
    {
        await using NodeBed bed = await StartEmulatedAsync();
        await KeptAsync(bed, nameof(CompletionShown));

        for (int i = 0; i < 3; i++)
        {
            _ = await Assert.ThrowsAsync<RpcException>(() => bed.Node.BeforeRemoveAsync("c0", DateTime.MaxValue, CancellationToken.None));
        }

        RemovalRefused refused = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<RemovalRefused>());
        Assert.Equal((NodeBed.Sidecar, "c0"), (refused.Container, refused.ContainerId));
        Assert.DoesNotContain(bed.Journal.Of(NodeBed.Sandbox), one => one is RemovalHeld);
    }

    [Fact]
    public async Task Removal_InAPodThatEnds_IsToldAsHeld()
    {
        await using NodeBed bed = await StartEmulatedAsync();
        await KeptAsync(bed, nameof(CompletionShown));
        RelayHold stop = bed.Backend.Hold("StopContainer", HoldPoint.Received);
        Task ending = bed.StopSandboxAsync();
        await stop.ReachedAsync();

        Task removal = bed.Node.BeforeRemoveAsync("c0", DateTime.MaxValue, CancellationToken.None);
        await KeptAsync(bed, nameof(RemovalHeld));
        stop.Release();
        await Task.WhenAll(removal, ending);

        Assert.DoesNotContain(bed.Journal.Of(NodeBed.Sandbox), one => one is RemovalRefused);
    }

    [Fact]
    public void Completion_ThatCannotBeRecorded_IsToldOnceAsLongAsItIsTried()
    {
        NodeJournal journal = Create();

        journal.CompletionNotRecorded(Pod, "proxy", "c0");
        journal.CompletionNotRecorded(Pod, "proxy", "c0");
        journal.CompletionNotRecorded(Pod, "proxy", "c1");

        Assert.Equal(["c0", "c1"], journal.Of(Pod.SandboxId).OfType<CompletionNotRecorded>().Select(one => one.ContainerId));
    }

    [Fact]
    public async Task Exit_OfAMainContainer_IsToldWithItsTrueCode()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        string main = await bed.RunAsync(NodeBed.Create(name: "app"));

        bed.Backend.Exit(main, 42);

        await KeptAsync(bed, nameof(ContainerEnded));
        ContainerEnded ended = Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<ContainerEnded>());
        Assert.Equal(("app", main, 42), (ended.Container, ended.ContainerId, ended.ExitCode));
    }

    [Fact]
    public async Task Annotation_ThatIsWrong_IsToldWithoutWhatItSays()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"hunter2"}]""";
        bed.Start();

        bed.RunSandbox();

        AnnotationWrong wrong = Assert.IsType<AnnotationWrong>(Assert.Single(bed.Journal.Of(NodeBed.Sandbox)));
        Assert.Equal("annotation crishim.io/sidecars[0].kind: must be native, init or plain", wrong.Words);
        Assert.Contains(bed.Log.All, line => line.Contains("crishim.io/sidecars[0].kind", StringComparison.Ordinal));
        Assert.DoesNotContain(bed.Log.All, line => line.Contains("hunter2", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Restart_OfCrishim_TellsWhatWasThere()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        await bed.EndAsync();

        bed.Start();

        await KeptAsync(bed, nameof(ContainerFound));
        ContainerFound found = Assert.IsType<ContainerFound>(Assert.Single(bed.Journal.Of(NodeBed.Sandbox)));
        Assert.Equal((NodeBed.Sidecar, "c0", 0, true), (found.Container, found.ContainerId, found.Attempt, found.IsRunning));
    }

    [Fact]
    public async Task Listener_ThatThrows_KeepsNobodyFromAnything()
    {
        var heard = new Ear();
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { Listeners = [new Broken(), heard] });

        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);

        await KeptAsync(bed, nameof(SidecarRestored));
        await Condition.BecomesTrueAsync("the other listener has heard it", NodeBed.Patience, () => heard.Heard.Any(one => one is SidecarRestored));
        Assert.Equal(bed.Journal.Of(NodeBed.Sandbox).ToHashSet(), heard.Heard.ToHashSet());
        Assert.Contains(bed.Log.All, line => line.StartsWith("Error: A listener failed at RestartDecided", StringComparison.Ordinal));
    }

    [Fact]
    public void Journal_OfAContainerThatNeverRests_StaysBounded()
    {
        NodeJournal journal = Create();

        for (int i = 0; i < 5_000; i++)
        {
            journal.Started(Pod, "proxy", $"c{i}", i, isReplacement: true);
        }

        Assert.Equal(NodeJournal.PerSandbox, journal.Of(Pod.SandboxId).Count);
        Assert.Equal("c4999", journal.Of(Pod.SandboxId)[^1].ContainerId);
        Assert.Equal(NodeJournal.PerNode, journal.After(0, int.MaxValue).Happenings.Count);
    }

    [Fact]
    public void After_ACursor_GivesWhatCameSinceAndSaysWhatIsMissing()
    {
        NodeJournal journal = Create();
        journal.Started(Pod, "a", "c0", 0, isReplacement: false);
        long cursor = journal.Last;
        Task news = journal.NewsAfter(cursor);
        Assert.False(news.IsCompleted);

        journal.Started(Pod, "b", "c1", 0, isReplacement: false);
        journal.Started(Pod, "c", "c2", 0, isReplacement: false);

        Assert.True(news.IsCompletedSuccessfully);
        (IReadOnlyList<Happening> one, long next, bool isGap) = journal.After(cursor, 1);
        Assert.Equal(["b"], one.Select(happening => happening.Container));
        Assert.False(isGap);
        Assert.Equal(["c"], journal.After(next, 10).Happenings.Select(happening => happening.Container));

        for (int i = 0; i < NodeJournal.PerNode + 1; i++)
        {
            journal.Started(Pod, "d", "c3", i, isReplacement: false);
        }

        Assert.True(journal.After(next, 10).IsGap);
        Assert.False(journal.After(journal.Last, 10).IsGap);
        // A cursor of a crishim before this one.
        Assert.Equal(NodeJournal.PerNode, journal.After(long.MaxValue, int.MaxValue).Happenings.Count);
    }

    [Fact]
    public void Forget_ASandboxThatIsGone_IsRememberedForSomeTime()
    {
        NodeJournal journal = Create();
        for (int i = 0; i <= NodeJournal.GoneSandboxes; i++)
        {
            journal.Started(Pod with { SandboxId = $"s{i}" }, "a", "c", 0, isReplacement: false);
            journal.Forget($"s{i}");
        }

        Assert.Empty(journal.Of("s0"));
        Assert.Single(journal.Of("s1"));
        Assert.Equal(NodeJournal.GoneSandboxes, journal.Gone.Count);
        Assert.Equal("s1", journal.Gone[0].SandboxId);
    }

    [Fact]
    public void Forget_ASandboxThatIsHeardOfOnceMoreLater_IsForgottenAgain()
    {
        var there = new HashSet<string>();
        NodeJournal journal = Create(there.Contains);
        for (int i = 0; i <= NodeJournal.GoneSandboxes; i++)
        {
            LiveAndDie($"s{i}");
        }

        // Its removal was under way when it was forgotten, and took long.
        journal.Started(Pod with { SandboxId = "s0" }, "a", "c", 1, isReplacement: true);
        Assert.Single(journal.Of("s0"));
        for (int i = 0; i < NodeJournal.GoneSandboxes; i++)
        {
            LiveAndDie($"t{i}");
        }

        Assert.Empty(journal.Of("s0"));
        Assert.Equal(NodeJournal.GoneSandboxes, journal.Gone.Count);

        void LiveAndDie(string sandboxId)
        {
            _ = there.Add(sandboxId);
            journal.Started(Pod with { SandboxId = sandboxId }, "a", "c", 0, isReplacement: false);
            _ = there.Remove(sandboxId);
            journal.Forget(sandboxId);
        }
    }

    [Fact]
    public void Why_EveryReason_IsASentenceForAnOperator()
    {
        foreach (StandDownReason reason in Enum.GetValues<StandDownReason>())
        {
            Assert.Contains(' ', HappeningText.Why(reason));
        }
    }

    [Theory]
    [InlineData(0.4, "0s")]
    [InlineData(250, "250ms")]
    [InlineData(2_512, "2.51s")]
    [InlineData(25_123, "25.1s")]
    [InlineData(90_000, "1m30s")]
    [InlineData(-5, "0s")]
    public void Time_OfAnyLength_IsShort(double milliseconds, string expected) =>
        Assert.Equal(expected, HappeningText.Time(TimeSpan.FromMilliseconds(milliseconds)));

    /// <summary>An init container that the annotation names, and that has just been started.</summary>
    private static async Task<NodeBed> StartEmulatedAsync()
    {
        NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"init"}]""";
        await bed.BeginAsync();
        return bed;
    }

    private static NodeJournal Create(Func<string, bool>? isThere = null) =>
        new(new NodeLog(NullLogger.Instance), [], TimeProvider.System, isThere ?? (static _ => true));

    private static Task KeptAsync(NodeBed bed, string kind) => Condition.BecomesTrueAsync(
        $"{kind} is kept", NodeBed.Patience, () => bed.Journal.Of(NodeBed.Sandbox).Any(one => one.Kind == kind));

    private sealed class Broken : IHappeningListener
    {
        public void Happened(Happening happening) => throw new InvalidOperationException("on purpose");
    }

    private sealed class Ear : IHappeningListener
    {
        public ConcurrentQueue<Happening> Heard { get; } = new();

        void IHappeningListener.Happened(Happening happening) => Heard.Enqueue(happening);
    }
}
