using System.Globalization;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;

namespace CriShim.Commands.Drain;

/// <summary>A drain in words.</summary>
internal static class DrainText
{
    public static string NameOf(DrainedPod pod) => Clean($"{pod.Namespace}/{pod.Name}");

    /// <summary>What a pod does, without its name.</summary>
    public static string Describe(DrainedPod pod, DrainState drain) => pod.Phase switch
    {
        PodEndPhase.Done => pod.EndedAt is null || pod.EndedAt <= drain.BeganAt
            ? "ended"
            : $"ended after {Seconds(pod.EndedAt.ToDateTimeOffset() - drain.BeganAt.ToDateTimeOffset())}",
        PodEndPhase.Failed => $"did not end: {Clean(pod.Stage)}",
        _ => pod.Running.Count > 0 ? $"{Clean(pod.Stage)}: {Clean(string.Join(", ", pod.Running))}" : Clean(pod.Stage),
    };

    /// <summary>The outcome, in one line.</summary>
    public static string Summary(DrainState drain, TimeSpan elapsed)
    {
        int ended = drain.Pods.Count(pod => pod.Phase == PodEndPhase.Done);
        string held = "no pod starts until 'crishim drain --cancel'";
        return !drain.IsNodeKnown ? "containerd has not answered: which pods there are is not known, and none was ended"
            : drain.Pods.Count == 0 ? $"no pods were there to end; {held}"
            : ended == drain.Pods.Count ? $"all {Count(ended)} have ended after {Seconds(elapsed)}; {held}"
            : $"{ended} of {Count(drain.Pods.Count)} have ended; still there: "
                + string.Join(", ", drain.Pods.Where(pod => pod.Phase != PodEndPhase.Done).Select(NameOf));
    }

    public static string Count(int pods) => pods == 1 ? "1 pod" : string.Create(CultureInfo.InvariantCulture, $"{pods} pods");

    public static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, time.TotalSeconds):0.0}s");

    /// <summary>The drain as one JSON object.</summary>
    public static string ToJson(DrainState drain) => ReportJson.Text(json =>
    {
        json.WriteStartObject();
        json.WriteString("beganAt", drain.BeganAt.ToDateTimeOffset());
        json.WriteString("deadline", drain.Deadline.ToDateTimeOffset());
        json.WriteBoolean("nodeKnown", drain.IsNodeKnown);
        json.WriteBoolean("complete", drain.IsComplete);
        json.WriteStartArray("pods");
        foreach (DrainedPod pod in drain.Pods)
        {
            json.WriteStartObject();
            json.WriteString("namespace", pod.Namespace);
            json.WriteString("name", pod.Name);
            json.WriteString("sandboxId", pod.SandboxId);
            json.WriteString("phase", pod.Phase switch { PodEndPhase.Done => "done", PodEndPhase.Failed => "failed", _ => "ending" });
            json.WriteString("stage", pod.Stage);
            json.WriteStartArray("running");
            foreach (string container in pod.Running)
            {
                json.WriteStringValue(container);
            }

            json.WriteEndArray();
            if (pod.EndedAt is not null)
            {
                json.WriteString("endedAt", pod.EndedAt.ToDateTimeOffset());
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    /// <summary>Names come from pods, which may hold anything: nothing of it reaches a terminal as an escape sequence, or turns a line round.</summary>
    private static string Clean(string text) => UntrustedText.Replace(text, '?');
}
