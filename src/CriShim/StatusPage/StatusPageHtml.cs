using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using CriShim.Discovery;
using CriShim.Http;
using CriShim.Metrics;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;

namespace CriShim.StatusPage;

/// <summary>
/// The page at <c>/</c>: a node's pods and sidecars, as the reports tell of them. One static document: no script, and nothing that is
/// loaded from anywhere.
/// </summary>
internal static class StatusPageHtml
{
    /// <summary>Pods of one page: nobody reads more, and each takes a picture to draw. What goes beyond is counted.</summary>
    public const int MaxPods = 100;

    /// <summary>Things that happened, of each.</summary>
    public const int MaxEvents = 12;

    /// <summary>Bytes, about: pods that die all the time have pictures of some ten thousand.</summary>
    private const int MaxLength = 2 * 1024 * 1024;

    private const string Style =
        """
        body{font:14px/1.4 system-ui,sans-serif;margin:1.5em auto;max-width:60em;padding:0 1em;color:#1b1f24;background:#fff}
        h1{font-size:1.4em}h2{font-size:1.05em;margin:1.6em 0 .3em}small,.dim{color:#59636e}
        table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2em .8em .2em 0;border-bottom:1px solid #d1d9e0;vertical-align:top}
        th{font-weight:600}ul{margin:.3em 0;padding-left:1.2em}.bad{color:#b42318}.good{color:#116329}
        svg{display:block;margin:.4em 0;width:100%}
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
        int shown = 0;
        foreach (PodPage pod in view.Node.Pods.Take(MaxPods).TakeWhile(_ => html.Length < MaxLength))
        {
            WritePod(html, pod, view.Now);
            shown++;
        }

        if (view.Node.All == 0)
        {
            _ = html.Add($"<p class=\"dim\">No pod sandboxes are known.</p>\n");
        }
        else if (view.Node.All > shown)
        {
            _ = html.Add($"<p class=\"dim\">{view.Node.All - shown} more are not shown; crishim pods shows all.</p>\n");
        }

        _ = html.Add($"<p class=\"dim\">As of {Clock(view.Now)}. ");
        return html.Add($"<a href=\"/metrics\">/metrics</a> <a href=\"/readyz\">/readyz</a></p></body></html>\n").ToString();
    }

    private static void WriteNode(HtmlText html, StatusView view)
    {
        _ = html.Add($"<table id=\"node\"><tr><th>Supervision</th><td>{view.Mode}</td></tr>");
        _ = html.Add($"<tr><th>Pod sandboxes</th><td>{view.Node.All}</td></tr>");
        _ = html.Add($"<tr><th>Sidecars</th><td>{view.Node.Sidecars}, of which {view.Node.Down} are down</td></tr>");
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

    private static void WritePod(HtmlText html, PodPage page, DateTimeOffset now)
    {
        Pod pod = page.Pod;
        string id = ReportText.Start(pod.SandboxId);
        _ = html.Add($"<section class=\"pod\"><h2>{pod.Namespace}/{pod.Name} <small>{ReportText.StateOf(pod)}, sandbox {id}</small></h2>\n");
        if (pod.Containers.Count > 0)
        {
            _ = html.Add($"<table><tr><th>Container</th><th>Role</th><th>State</th><th>Attempt</th><th>Last exit</th><th>Deaths</th><th>Why</th></tr>\n");
            foreach (Container container in pod.Containers)
            {
                string color = page.Down.Contains(container.Name) ? "bad" : "";
                _ = html.Add($"<tr><td>{container.Name}</td><td>{ReportText.RoleOf(container)}</td><td class=\"{color}\">{container.State}</td>");
                _ = html.Add($"<td>{ReportText.AttemptOf(container)}</td><td>{ReportText.LastExitOf(container, now)}</td><td>{container.Deaths}</td>");
                _ = html.Add($"<td>{ReportText.WhyOf(container, now)}</td></tr>\n");
            }

            _ = html.Add($"</table>\n");
        }

        if (page.Timeline.Rows.Count > 0)
        {
            _ = html.AddPicture(page.Timeline);
        }

        if (page.Trail.Count > 0)
        {
            _ = html.Add($"<ul>");
            foreach (Event happened in page.Trail)
            {
                string color = happened.IsWarning ? "bad" : "";
                string who = happened.Container.Length > 0 ? $"{happened.Container}: " : "";
                _ = html.Add($"<li class=\"{color}\"><span class=\"dim\">{Clock(happened.At.ToDateTimeOffset())}</span> {who}{happened.Text}</li>");
            }

            _ = html.Add($"</ul>");
        }

        _ = html.Add($"</section>\n");
    }

    private static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
