using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using CriShim.Discovery;
using CriShim.Http;
using CriShim.Metrics;
using CriShim.Node;
using CriShim.Node.Journal;
using CriShim.Supervision.Sidecars;
using ContainerStarted = CriShim.Node.Journal.ContainerStarted;
using LineageState = CriShim.Supervision.Supervisor.LineageState;
using LineageView = CriShim.Supervision.Supervisor.LineageView;

namespace CriShim.StatusPage;

/// <summary>The page at <c>/</c>: a node's pods and sidecars. One static document: no script, and nothing that is loaded from anywhere.</summary>
internal static class StatusPageHtml
{
    /// <summary>A node has some hundred pods at most; what goes beyond is counted.</summary>
    private const int MaxPods = 500;
    private const int MaxLength = 4 * 1024 * 1024;
    private const int ShownHappenings = 12;

    private const string Style =
        """
        body{font:14px/1.4 system-ui,sans-serif;margin:1.5em auto;max-width:60em;padding:0 1em;color:#1b1f24;background:#fff}
        h1{font-size:1.4em}h2{font-size:1.05em;margin:1.6em 0 .3em}small,.dim{color:#59636e}
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #d1d9e0;vertical-align:top}
        th{font-weight:600}ul{margin:.3em 0;padding-left:1.2em}.bad{color:#b42318}.good{color:#116329}
        .timeline{margin:.4em 0;max-width:100%}.timeline text{font-size:11px;fill:#59636e}.timeline .name{text-anchor:end;fill:#1b1f24}
        .timeline .end{text-anchor:end}.rail{stroke:#d1d9e0}.life.running{fill:#2da44e}.life.ended{fill:#8c959f}.life.failed{fill:#cf222e}
        .mark.plain{fill:#0969da}.mark.warning{fill:#bf8700}
        """;

    private static readonly string Policy =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(Style)))}'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    public static HttpAnswer Render(StatusView view) => new()
    {
        Status = HttpStatusCode.OK,
        ContentType = "text/html; charset=utf-8",
        Body = Encoding.UTF8.GetBytes(Write(view)),
        ContentSecurityPolicy = Policy,
    };

    private static string Write(StatusView view)
    {
        var html = new HtmlText();
        _ = html.Add($"<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>crishim</title>");
        _ = html.Add($"<meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"15\">");
        _ = html.AddStyle(Style).Add($"</head>\n<body><h1>crishim <small>{view.Version}</small></h1>\n");
        WriteNode(html, view);
        foreach ((PodOverview pod, IReadOnlyList<Happening> happenings) in view.Pods.Take(MaxPods).TakeWhile(_ => html.Length < MaxLength))
        {
            WritePod(html, pod, happenings, view.Now);
        }

        if (view.Pods.Count == 0)
        {
            _ = html.Add($"<p class=\"dim\">No pod sandboxes are known.</p>\n");
        }
        else if (view.Pods.Count > MaxPods)
        {
            _ = html.Add($"<p class=\"dim\">{view.Pods.Count - MaxPods} more are not shown.</p>\n");
        }

        _ = html.Add($"<p class=\"dim\">As of {Clock(view.Now)}. ");
        return html.Add($"<a href=\"/metrics\">/metrics</a> <a href=\"/readyz\">/readyz</a></p></body></html>\n").ToString();
    }

    private static void WriteNode(HtmlText html, StatusView view)
    {
        int sidecars = view.Pods.Sum(one => one.Pod.Lineages.Count(IsSidecar));
        int down = view.Pods.Sum(one => one.Pod.Lineages.Count(lineage => IsSidecar(lineage) && IsDown(lineage)));
        _ = html.Add($"<table id=\"node\"><tr><th>Supervision</th><td>{view.Mode}</td></tr>");
        _ = html.Add($"<tr><th>Pod sandboxes</th><td>{view.Pods.Count}</td></tr>");
        _ = html.Add($"<tr><th>Sidecars</th><td>{sidecars}, of which {down} do not run</td></tr>");
        foreach (HealthCheck check in view.Checks)
        {
            string state = check.Fault is null ? "good" : "bad";
            _ = html.Add($"<tr><th>{check.Name}</th><td class=\"{state}\">{check.Fault ?? "ok"}</td></tr>");
        }

        foreach (PodSpecSourceStatus source in view.Sources)
        {
            string state = source.State == PodSpecSourceState.Synced ? "good" : "bad";
            string reason = source.Reason.Length > 0 ? $": {source.Reason}" : "";
            _ = html.Add($"<tr><th>Pod specs: {source.Name}</th><td class=\"{state}\">{MetricLabel.Of(source.State.ToString())}{reason}</td></tr>");
        }

        _ = html.Add($"</table>\n");
    }

    private static void WritePod(HtmlText html, PodOverview pod, IReadOnlyList<Happening> happenings, DateTimeOffset now)
    {
        string state = pod.IsTerminating ? pod.IsReady ? "terminating" : "ended" : pod.IsReady ? "ready" : "not ready";
        _ = html.Add($"<section class=\"pod\"><h2>{pod.Namespace}/{pod.Name} <small>{state}, sandbox {Id(pod.SandboxId)}</small></h2>\n");
        if (pod.Lineages.Count > 0)
        {
            _ = html.Add($"<table><tr><th>Container</th><th>Kind</th><th>State</th><th>Attempt</th><th>Deaths</th><th>Next</th></tr>\n");
            foreach (LineageView lineage in pod.Lineages)
            {
                string kind = lineage.Kind == SidecarKind.None ? "-" : MetricLabel.Of(lineage.Kind.ToString()).Replace('_', ' ');
                string color = IsSidecar(lineage) && IsDown(lineage) ? "bad" : "";
                string next = lineage.Due is { } due && due > now ? $"restart in {HappeningText.Time(due - now)}"
                    : lineage.RestReason is { } reason ? HappeningText.Why(reason)
                    : "";
                string lives = MetricLabel.Of(lineage.State.ToString()).Replace('_', ' ');
                _ = html.Add($"<tr><td>{lineage.Name}</td><td>{kind}</td><td class=\"{color}\">{lives}</td>");
                _ = html.Add($"<td>{lineage.Attempt}</td><td>{lineage.Tally.Total}</td><td>{next}</td></tr>\n");
            }

            _ = html.Add($"</table>\n");
        }

        TimelineDrawing.Draw(html, ContainerLives.Read(happenings), now);
        if (happenings.Any(happening => happening is not (ContainerStarted or ContainerFound)))
        {
            _ = html.Add($"<ul>");
            foreach (Happening happening in happenings.TakeLast(ShownHappenings))
            {
                string color = happening.IsWarning ? "bad" : "";
                string who = happening.Container is { } container ? $"{container}: " : "";
                _ = html.Add($"<li class=\"{color}\"><span class=\"dim\">{Clock(happening.At)}</span> {who}{happening.Words}</li>");
            }

            _ = html.Add($"</ul>");
        }

        _ = html.Add($"</section>\n");
    }

    private static bool IsSidecar(LineageView lineage) => lineage.Kind is SidecarKind.Native or SidecarKind.Emulated or SidecarKind.Adopted;

    private static bool IsDown(LineageView lineage) => lineage.State is not (LineageState.Running or LineageState.Created or LineageState.Absent);

    private static string Id(string id) => id.Length > 13 ? id[..13] : id;

    private static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
