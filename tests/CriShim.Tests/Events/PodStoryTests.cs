using CriShim.Discovery.Events;
using CriShim.Events;
using CriShim.Node.Journal;
using CriShim.Supervision.Restarts;
using GateReason = CriShim.Supervision.Supervisor.GateReason;

namespace CriShim.Tests.Events;

public sealed class PodStoryTests
{
    private static readonly PodName Pod = new("shop", "web-1", "u1", "s1");
    private readonly List<PodEvent> _events = [];

    public static TheoryData<Happening, string, bool, string> Told => new()
    {
        { new SidecarRestored(3, TimeSpan.FromMilliseconds(120)) { At = default, Pod = Pod, Container = "proxy" },
            "SidecarRestarted", false, "Container proxy: runs again as attempt 3, 120ms after its end" },
        { new SidecarBackOff(2, TimeSpan.FromSeconds(4), 5) { At = default, Pod = Pod, Container = "proxy" }, "SidecarBackOff", true,
            "Container proxy: backs off: 5 deaths in a row, the next start in 4s" },
        { new SidecarGivenUp(Decision()) { At = default, Pod = Pod, Container = "proxy" }, "SidecarGivenUp", true, "Container proxy: attempt 2 ended" },
        { new MainsCompleted { At = default, Pod = Pod }, "SidecarCompleted", false, "Pod: all main containers have completed" },
        { new GateOpened(GateReason.TookTooLong) { At = default, Pod = Pod, Container = "proxy" }, "StartGateOpened", true, "Container proxy: other" },
        { new GateOpened(GateReason.GivenUp) { At = default, Pod = Pod, Container = "proxy" }, "StartGateOpened", true,
            "Container proxy: other containers wait for it no more: it died too often, and is given up" },
        { new GateOpened(GateReason.PodEnds) { At = default, Pod = Pod, Container = "proxy" }, "StartGateOpened", false, "Container proxy: other" },
        { new ProbeNotRun("no port") { At = default, Pod = Pod, Container = "proxy" }, "StartGateOpened", true, "Container proxy: its startup probe" },
        { new StopSent(TimeSpan.FromSeconds(5)) { At = default, Pod = Pod, Container = "proxy" }, "OrderedTeardown", false,
            "Container proxy: its turn to end: it has 5s" },
        { new TeardownEnded(TimeSpan.FromSeconds(40), TimeSpan.FromSeconds(10)) { At = default, Pod = Pod }, "OrderedTeardown", true,
            "Pod: has ended after 40s, 10s after its grace" },
        { new CompletionShown { At = default, Pod = Pod, Container = "proxy" }, "SidecarStarted", false,
            "Container proxy: has started, and runs on; the kubelet and other callers are shown that it completed" },
        { new CompletionNotRecorded { At = default, Pod = Pod, Container = "proxy" }, "SidecarNotRecorded", true, "Container proxy: has started, and can't" },
        { new StartupFailed(3) { At = default, Pod = Pod, Container = "proxy" }, "SidecarStartupFailed", true,
            "Container proxy: failed its startup probe 3 times in a row, and is stopped" },
        { new LeftAlone(Decision() with { Kind = DecisionKind.StandDown, Reason = StandDownReason.StartupFailed }) { At = default, Pod = Pod, Container = "proxy" },
            "SidecarStartupFailed", true, "Container proxy: attempt 2 ended with exit code 1: left alone: it ended before it had started" },
        { new AnnotationWrong("crishim.io/sidecars[0].kind: must be native, init or plain") { At = default, Pod = Pod }, "BadAnnotation", true,
            "Pod: annotation crishim.io/sidecars[0].kind: must be native, init or plain" },
    };

    [Theory]
    [MemberData(nameof(Told))]
    public void Happened_WhatPodAuthorsShouldKnow_IsAnEventOnTheirPod(Happening happening, string reason, bool isWarning, string message)
    {
        new PodStory(_events.Add).Happened(happening);

        PodEvent told = Assert.Single(_events);
        Assert.Equal(("shop", "web-1", "u1", reason, isWarning), (told.Namespace, told.Pod, told.Uid, told.Reason, told.IsWarning));
        Assert.StartsWith(message, told.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Happened_EverydayThings_AreNoEvents()
    {
        var story = new PodStory(_events.Add);
        story.Happened(new ContainerStarted(0, IsReplacement: false) { At = default, Pod = Pod, Container = "app" });
        story.Happened(new GateOpened(GateReason.Passed) { At = default, Pod = Pod, Container = "proxy" });
        story.Happened(new TeardownEnded(TimeSpan.FromSeconds(1), TimeSpan.Zero) { At = default, Pod = Pod });
        story.Happened(new StopHeld { At = default, Pod = Pod, Container = "proxy" });
        story.Happened(new StopSent(TimeSpan.FromSeconds(30)) { At = default, Pod = Pod, Container = "proxy", HasFailedToStart = true });
        story.Happened(new RemovalRefused { At = default, Pod = Pod, Container = "proxy" });

        Assert.Empty(_events);
    }

    [Fact]
    public void Happened_StopsOfSeveralContainers_AreOneEventThatCounts()
    {
        var story = new PodStory(_events.Add);
        story.Happened(new StopSent(TimeSpan.FromSeconds(5)) { At = default, Pod = Pod, Container = "app" });
        story.Happened(new StopSent(TimeSpan.FromSeconds(3)) { At = default, Pod = Pod, Container = "proxy" });

        Assert.Single(_events.DistinctBy(told => (told.Uid, told.Container, told.Reason)));
    }

    [Fact]
    public void Happened_TwoFaultyAnnotations_AreNotCountedInOne()
    {
        var story = new PodStory(_events.Add);
        story.Happened(new AnnotationWrong("crishim.io/sidecars[0].kind: must be native, init or plain") { At = default, Pod = Pod });

        Assert.True(Assert.Single(_events).CountsByMessage);
    }

    private static RestartDecision Decision() => new()
    {
        Lineage = "proxy", ContainerId = "c1", Attempt = 2, At = default, Kind = DecisionKind.GiveUp, Cause = DeathCause.ErrorExit, ExitCode = 1, Streak = 9,
    };
}
