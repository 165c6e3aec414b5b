using System.Globalization;
using CriShim.Supervision;
using CriShim.Supervision.Restarts;

namespace CriShim.Node.Journal;

/// <summary>Words for what happens.</summary>
public static class HappeningText
{
    /// <summary>A duration as people read it: <c>250ms</c>, <c>2.5s</c>, <c>1m30s</c>.</summary>
    public static string Time(TimeSpan time)
    {
        double milliseconds = time.TotalMilliseconds;
        TimeSpan rounded = TimeSpan.FromMilliseconds(
            milliseconds < 1_000 ? Math.Round(milliseconds)
            : milliseconds < 10_000 ? Math.Round(milliseconds / 10) * 10
            : Math.Round(milliseconds / 100) * 100);
        return GoDuration.Format(rounded > TimeSpan.Zero ? rounded : TimeSpan.Zero);
    }

    /// <summary>A death and what was decided about it.</summary>
    public static string Decision(RestartDecision decision)
    {
        string died = string.Create(
            CultureInfo.InvariantCulture,
            $"attempt {decision.Attempt} ended with {(decision.ExitCode is { } code ? $"exit code {code}" : "an exit code that nobody saw")}");
        died += decision.Cause == DeathCause.OutOfMemory ? ", out of memory" : "";
        return died + decision.Kind switch
        {
            DecisionKind.Restart when decision.Due is null || decision.Due <= decision.At => ": restarted at once",
            DecisionKind.Restart => $": restarted in {Time(decision.Due.Value - decision.At)}, after {decision.Streak + 1} deaths in a row",
            DecisionKind.OnlyObserved => ": it would have been restarted, but supervision only observes (supervision.mode: observe)",
            DecisionKind.GiveUp => ": given up, for it died more often than supervision.restart.giveUp allows; the kubelet may start it again",
            _ => $": left alone: {Why(AtThePodsEnd(decision.Reason, decision.WhileTerminating))}",
        };
    }

    /// <summary>In a pod that ends, crishim's own stops are marked as callers' are; what people want to know is that the pod ends.</summary>
    internal static StandDownReason? AtThePodsEnd(StandDownReason? reason, bool isEnding) =>
        isEnding && reason == StandDownReason.StoppedByCaller ? StandDownReason.TurnToEnd : reason;

    /// <summary>Why a container is left alone, and what can be done where that may not be wanted.</summary>
    public static string Why(StandDownReason? reason) => reason switch
    {
        StandDownReason.SandboxGone => "its pod sandbox is gone",
        StandDownReason.SandboxStopping => "its pod sandbox is being stopped, and nothing is created in it any more",
        StandDownReason.SandboxNotReady => "containerd says that its pod sandbox is not ready, as after a reboot; the kubelet makes a new one",
        StandDownReason.SuperviseModeOff => "supervision is off on this node (supervision.mode, or --supervise)",
        StandDownReason.SuperviseAnnotationOff =>
            "the pod's annotation crishim.io/supervise says off; remove it, and create the pod anew, to have it supervised",
        StandDownReason.StoppedByCaller => "the kubelet, or another caller, stopped it: it is theirs until they start it again",
        StandDownReason.TakenOverByCaller => "the kubelet, or another caller, created its next attempt itself",
        StandDownReason.Superseded => "a newer instance of it was there already",
        StandDownReason.NoRecord => "it had ended before crishim first saw it, and nothing is known of how; the kubelet restarts it",
        StandDownReason.RemovedByOthers => "somebody removed it, so that nobody knows whether it died",
        StandDownReason.NotASidecar => "it is no sidecar; annotate the pod with crishim.io/sidecars to make it one",
        StandDownReason.SpecUnknown => "no pod spec source has told the pod's spec yet, so its kind is not known; see the settings under discovery",
        StandDownReason.OnlyOrdered =>
            "nothing tells whether it is an init or a plain container, so it is only put in order; configure a pod spec source, or give its kind "
            + "in crishim.io/sidecars",
        StandDownReason.RestartPolicyUnknown =>
            "nothing tells the pod's restartPolicy; configure a pod spec source, or annotate the pod with crishim.io/restart-policy",
        StandDownReason.PostStartHook => "it has a postStart hook, which only the kubelet can run",
        StandDownReason.RestartRules => "it has container restart rules, which only the kubelet applies",
        StandDownReason.MainsCompleted => "all main containers have completed, and it has nothing left to do",
        StandDownReason.StartupFailed => "it ended before it had started, in a pod that restarts nothing, and is reported as failed",
        StandDownReason.EndIsFinal =>
            "the pod's restartPolicy makes an end final once the kubelet has seen it, and the restart would have come too late to keep it from that",
        StandDownReason.TurnToEnd => "the pod ends, and it was this container's turn to end",
        StandDownReason.NoGraceLeft => "the pod ends, and too little of its grace period is left",
        StandDownReason.GivenUp => "it died more often than supervision.restart.giveUp allows; the kubelet may start it again",
        StandDownReason.SuperviseModeObserve => "supervision only observes on this node (supervision.mode: observe)",
        null => "no reason is known",
        _ => reason.ToString()!,
    };
}
