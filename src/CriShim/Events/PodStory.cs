using CriShim.Discovery.Events;
using CriShim.Node.Journal;
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
            StartupFailed => "StartupProbeFailed",
            AnnotationWrong => "BadAnnotation",

            // Not of each pod's end, but of those that crishim put in order, or that took too long.
            StopSent or TeardownEnded { Overrun.Ticks: > 0 } => "OrderedTeardown",
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
