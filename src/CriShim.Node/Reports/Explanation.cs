using System.Globalization;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;
using CriShim.Supervision.Supervisor;
using Google.Protobuf.Collections;

namespace CriShim.Node.Reports;

/// <summary>Why a pod and its containers are as they are, in sentences, with what an operator can do where that may not be wanted.</summary>
internal static class Explanation
{
    /// <param name="pod">The pod as it is now.</param>
    /// <param name="view">The same, as its supervisor knows it.</param>
    /// <param name="mode">Of the node.</param>
    /// <param name="isSpecSourceConfigured">Some source may tell specs.</param>
    /// <param name="isDraining">The node is being drained.</param>
    /// <param name="container">The one that is asked about; empty: all.</param>
    public static IEnumerable<Statement> Build(
        Pod pod, PodView view, SupervisionMode mode, bool isSpecSourceConfigured, bool isDraining, string container)
    {
        foreach (string error in pod.AnnotationErrors)
        {
            yield return Warn("", $"annotation {error}. Until it is mended, and the pod created anew, that part of it is ignored");
        }

        foreach ((string text, bool isWarning) in OfPod(pod, mode, isSpecSourceConfigured, isDraining))
        {
            yield return new Statement { Text = text, IsWarning = isWarning };
        }

        foreach (Container one in pod.Containers.Where(one => container.Length == 0 || one.Name == container))
        {
            foreach ((string text, bool isWarning) in OfContainer(one, pod, view, mode))
            {
                yield return new Statement { Container = one.Name, Text = text, IsWarning = isWarning };
            }
        }
    }

    private static IEnumerable<(string Text, bool IsWarning)> OfPod(Pod pod, SupervisionMode mode, bool isSpecSourceConfigured, bool isDraining)
    {
        if (mode == SupervisionMode.Off)
        {
            yield return ("supervision is off on this node (supervision.mode, or --supervise): nothing is restarted or put in order", true);
        }
        else if (mode == SupervisionMode.Observe)
        {
            yield return ("supervision only observes on this node (supervision.mode: observe): it decides, and does nothing", true);
        }

        if (pod.IsLeftAlone)
        {
            yield return (
                "its annotation crishim.io/supervise says off: it is left to the kubelet. Remove it, and create the pod anew, to change that", false);
        }

        if (pod.SpecSource.Length > 0)
        {
            yield return ($"its spec is known from: {pod.SpecSource}", false);
        }
        else if (isSpecSourceConfigured)
        {
            yield return (
                "no pod spec source has told its spec yet, so what its containers are is not known; 'crishim doctor' looks at the sources", true);
        }
        else
        {
            yield return (
                "no pod spec source is configured, so only annotations tell which of its containers are sidecars (see discovery in the configuration)",
                false);
        }

        if (isDraining)
        {
            yield return ("the node is being drained: nothing is created or started until 'crishim drain --cancel', or a reboot", true);
        }

        if (pod.HaveMainsCompleted)
        {
            yield return ("all of its main containers have completed for good: its adopted sidecars are ended, in order", false);
        }

        if (pod.Teardown is { } teardown)
        {
            string since = teardown.BeganAt is null ? "" : $" since {Clock(teardown.BeganAt.ToDateTimeOffset())}";
            string until = teardown.Deadline is null ? "" : $"; its grace is used up at {Clock(teardown.Deadline.ToDateTimeOffset())}";
            yield return teardown.State switch
            {
                "ended" => ("it has ended, and its sandbox is stopped", false),
                "stopping sandbox" => ($"it ends{since}: nothing runs any more, and its sandbox is being stopped", false),
                _ when teardown.IsSandboxEnd => ($"it ends{since}{until}. crishim stops its containers in order: main containers, then sidecars, "
                    + $"the last started first. Running: {Names(teardown.Running)}", false),
                _ => ($"it ends{since}{until}. Whoever ends it stops its containers; sidecars wait for their turn. "
                    + $"Running: {Names(teardown.Running)}", false),
            };
        }
        else if (!pod.IsReady)
        {
            yield return ("containerd says that its sandbox is not ready, so nothing is restarted in it; the kubelet makes a new one", true);
        }
    }

    private static IEnumerable<(string Text, bool IsWarning)> OfContainer(Container container, Pod pod, PodView view, SupervisionMode mode)
    {
        string by = container.KnownBy.Length > 0 ? $", known by the {container.KnownBy}" : "";
        yield return (container switch
        {
            { Kind: "native" } => $"is a native sidecar (an init container with restartPolicy Always){by}",
            { Kind: "adopted" } => $"is an adopted sidecar (a plain container that the annotation names){by}",
            { Kind: "emulated" } => $"is an emulated sidecar (an init container that the annotation names){by}",
            { Kind: "ordered" } => $"is named by the annotation, but nothing tells whether it is an init or a plain container: it is only put in order. "
                + "Configure a pod spec source, or give its kind in crishim.io/sidecars",
            { Role: "main" } => "is a main container: the kubelet restarts it; crishim ends it before the sidecars",
            { Role: "init" } => "is an init container that runs to completion: it is the kubelet's alone",
            { Role: "ephemeral" } => "is no container of the pod's spec (an ephemeral one): it is never waited for",
            _ => "may be a main or an init container: nothing tells the pod's spec. It is the kubelet's, and is ended before the sidecars",
        }, false);
        yield return StateOf(container);
        if (container.ShownCompletedAt is { } completed)
        {
            yield return ($"is shown to the kubelet and other callers as completed, since {Clock(completed.ToDateTimeOffset())}, by the id "
                + $"{ReportText.Start(container.ShownId)}: that id reaches whichever attempt runs", false);
        }
        else if (container is { Kind: "emulated", State: "running" } && pod is { Teardown: null, IsLeftAlone: false } && mode == SupervisionMode.On)
        {
            yield return ("has not started yet, by its startup probe: the kubelet waits for it, and goes on with the pod once it is shown completed", false);
        }

        if (container.WouldNotRestart.Length > 0)
        {
            yield return ($"would be left alone if it died now: {container.WouldNotRestart}", false);
        }

        if (container.IsGating)
        {
            yield return ("other containers' starts wait for its startup probe", false);
        }

        if (StartedBefore(container, view) is { } main)
        {
            yield return ($"has a startup probe, but comes after main container {main} in the spec: the kubelet starts one after another, "
                + "so that one did not wait for it. Put it first in the pod's spec to have the others wait", true);
        }

        if (container.Stop == "held")
        {
            yield return ("its stop waits for its turn: main containers end first, then sidecars, the last started first", false);
        }
        else if (container.Stop == "ending")
        {
            yield return ("its turn to end has come: it is being stopped", false);
        }

        if (container.Kind.Length > 0 && container.Deaths > 0)
        {
            yield return (string.Create(
                CultureInfo.InvariantCulture, $"has died {(container.Deaths == 1 ? "once" : $"{container.Deaths} times")} in this sandbox")
                + (container.DeathsInRow > 1 ? string.Create(CultureInfo.InvariantCulture, $", {container.DeathsInRow} times in a row") : ""), false);
        }

        if (container.FailedTries > 0)
        {
            yield return (string.Create(CultureInfo.InvariantCulture, $"{container.FailedTries} tries in a row to start a replacement have failed")
                + "; the log of crishim has the codes, that of containerd the reason", true);
        }

        if (container.Reserve is { } reserve)
        {
            yield return ($"has {HappeningText.Time(reserve.ToTimeSpan())} reserved at the end of the pod's grace period; all reserves together "
                + "get at most half of it", false);
        }

        foreach (string note in container.Notes)
        {
            yield return ($"its annotation asks for more than this node allows: {note}", true);
        }
    }

    private static (string Text, bool IsWarning) StateOf(Container container)
    {
        Attempt? current = container.Attempts.LastOrDefault(attempt => attempt.ContainerId == container.ContainerId);
        Attempt? ended = container.Attempts.LastOrDefault(attempt => attempt.HasExitCode);
        string number = string.Create(CultureInfo.InvariantCulture, $"attempt {container.Attempt}");
        string end = ended is null ? "how it ended is not known"
            : string.Create(CultureInfo.InvariantCulture, $"attempt {ended.Attempt_} ended with exit code {ended.ExitCode}")
                + (ended.IsOutOfMemory ? ", out of memory" : "")
                + (ended.FinishedAt is null ? "" : $" at {Clock(ended.FinishedAt.ToDateTimeOffset())}");
        string why = container.Why.Length > 0 ? $". Left alone: {container.Why}" : "";
        return container.State switch
        {
            "absent" => ("has not been created in this sandbox", false),
            "created" => ($"is created ({number}), and not started", false),
            "running" => ($"runs: {number}{(current?.StartedAt is null ? "" : $", since {Clock(current.StartedAt.ToDateTimeOffset())}")}"
                + $"{(current is { IsOurs: true } ? ", started by crishim" : "")}", false),
            "completed" => ($"{end}, after the main containers had completed: callers are shown that it completed", false),
            "backing off" => ($"is down: {end}. It is started again "
                + (container.NextRestart is null ? "soon" : $"at {Clock(container.NextRestart.ToDateTimeOffset())}"), true),
            "restarting" => ($"is being started again: {end}", false),
            _ => ($"does not run: {end}{why}", container.Why.Length > 0),
        };
    }

    /// <summary>The main container that was started before an adopted sidecar with a startup probe.</summary>
    private static string? StartedBefore(Container container, PodView view)
    {
        if (container.Kind != "adopted" || view.Annotation.Find(container.Name)?.StartupProbe is null)
        {
            return null;
        }

        return view.StartOrder.TakeWhile(name => name != container.Name)
            .FirstOrDefault(name => view.Annotation.Find(name) is null
                && view.Facts?.Containers.Any(one => one.Name == name && one.Role == CriShim.Supervision.Pods.ContainerRole.Plain) == true);
    }

    private static string Names(RepeatedField<string> names) => names.Count > 0 ? string.Join(", ", names) : "nothing";

    private static Statement Warn(string container, string text) => new() { Container = container, Text = text, IsWarning = true };

    /// <summary>UTC: an operator may sit anywhere.</summary>
    private static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
