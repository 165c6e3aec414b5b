using System.Globalization;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;

namespace CriShim.Node.Reports;

/// <summary>Short words for what a report says, for tables of any kind. Names in them are pod authors': who prints them makes them fit for that.</summary>
public static class ReportText
{
    /// <summary>A pod's state: <c>ready</c>, <c>not ready</c>, <c>ending</c>, ...</summary>
    public static string StateOf(Pod pod) => pod.Teardown is { } teardown ? teardown.State : pod.IsReady ? "ready" : "not ready";

    /// <summary>What a container is: <c>sidecar (native)</c>, <c>main</c>, ...</summary>
    public static string RoleOf(Container container) => container.Kind.Length > 0 ? $"{container.Role} ({container.Kind})" : container.Role;

    /// <summary>Its attempt; empty before the first.</summary>
    public static string AttemptOf(Container container) => container.Attempt < 0 ? "" : container.Attempt.ToString(CultureInfo.InvariantCulture);

    /// <summary>Its last end, with the true exit code; empty where none is known.</summary>
    public static string LastExitOf(Container container, DateTimeOffset now)
    {
        if (container.Attempts.LastOrDefault(attempt => attempt.FinishedAt is not null || attempt.HasExitCode) is not { } ended)
        {
            return "";
        }

        string code = ended.HasExitCode ? ended.ExitCode.ToString(CultureInfo.InvariantCulture) : "?";
        string oom = ended.IsOutOfMemory ? " (out of memory)" : "";
        string ago = ended.FinishedAt is null ? "" : $", {Age(now - ended.FinishedAt.ToDateTimeOffset())} ago";
        return code + oom + ago;
    }

    /// <summary>Why it is as it is, where that needs a word.</summary>
    public static string WhyOf(Container container, DateTimeOffset now) => container.State switch
    {
        "backing off" when container.NextRestart is { } next =>
            $"starts in {HappeningText.Time(next.ToDateTimeOffset() - now)}, after {container.DeathsInRow} deaths in a row",
        _ when container.Why.Length > 0 => container.Why,
        _ when container.Stop == "held" => "its stop waits for its turn",
        _ when container.Stop == "ending" => "its turn to end",
        _ when container.IsGating => "others wait for its startup probe",
        _ when container.FailedTries > 0 => string.Create(CultureInfo.InvariantCulture, $"{container.FailedTries} failed tries to start it"),
        _ when container.WouldNotRestart.Length > 0 => $"would be left alone: {container.WouldNotRestart}",
        _ when container is { ShownCompletedAt: not null, State: "running" } => "shown to the kubelet as completed",
        _ => "",
    };

    /// <summary>As much of an id as crictl shows.</summary>
    public static string Start(string id) => id[..Math.Min(13, id.Length)];

    private static string Age(TimeSpan age) => age.TotalSeconds < 100 ? string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, age.TotalSeconds):0}s")
        : age.TotalMinutes < 100 ? string.Create(CultureInfo.InvariantCulture, $"{age.TotalMinutes:0}m")
        : age.TotalHours < 48 ? string.Create(CultureInfo.InvariantCulture, $"{age.TotalHours:0}h")
        : string.Create(CultureInfo.InvariantCulture, $"{age.TotalDays:0}d");
}
