using CriShim.Discovery.Events;
using CriShim.Node.Journal;
using CriShim.Supervision.Restarts;
using GateReason = CriShim.Supervision.Supervisor.GateReason;

namespace CriShim.Events;

/// <summary>Tells, as Kubernetes Events, of what supervision does those things that <c>kubectl describe pod</c> should show.</summary>
/// <param name="record">Takes an Event without waiting.</param>
internal sealed class PodStory(Action<PodEvent> record) : IHappeningListener
{
    /// <inheritdoc/>
    public void Happened(Happening happening)
    {
        string? reason = happening switch
        {
            SidecarRestored => "SidecarRestarted",
            SidecarBackOff => "SidecarBackOff",
            SidecarGivenUp => "SidecarGivenUp",
            MainsCompleted => "SidecarCompleted",
            GateOpened { Reason: not GateReason.Passed } or ProbeNotRun => "StartGateOpened",
            AnnotationWrong => "BadAnnotation",

            // The init container of a pod that the kubelet goes on with, while it still runs; and why a pod does not go on.
            CompletionShown => "SidecarStarted",
            CompletionNotRecorded => "SidecarNotRecorded",
            StartupFailed or LeftAlone { Decision.Reason: StandDownReason.StartupFailed } => "SidecarStartupFailed",

            // Not of each pod's end, but of those that crishim put in order, or that took too long.
            StopSent { HasFailedToStart: false } or TeardownEnded { Overrun.Ticks: > 0 } => "OrderedTeardown",
            _ => null,
        };
        if (reason is not null)
        {
            record(new PodEvent
            {
                At = happening.At,
                Namespace = happening.Pod.Namespace,
                Pod = happening.Pod.Name,
                Uid = happening.Pod.Uid,

                // One Event counts the stops of all of a pod's containers.
                Container = happening is StopSent ? null : happening.Container,
                Reason = reason,
                Message = happening.Container is { } container ? $"Container {container}: {happening.Words}" : $"Pod: {happening.Words}",
                IsWarning = happening.IsWarning,

                // What is wrong with one annotation is not more of what is wrong with another.
                CountsByMessage = happening is AnnotationWrong,
            });
        }
    }
}
