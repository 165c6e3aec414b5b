using System.Net;
using System.Text;
using CriShim.Metrics;

namespace CriShim.Http;

/// <summary>What is to be read over HTTP: <c>/metrics</c>, <c>/healthz</c>, <c>/readyz</c>, and <c>/</c> for people.</summary>
internal sealed class OperatorSite(MetricsCollector metrics, Readiness readiness, Func<IReadOnlyList<HealthCheck>, HttpAnswer> statusPage)
{
    public async ValueTask<HttpAnswer> AnswerAsync(HttpRequest request, CancellationToken cancellationToken) => request.Path switch
    {
        "/" => statusPage(await readiness.ReadyAsync(cancellationToken)),
        "/metrics" => Metrics(PrometheusText.WantsOpenMetrics(request.Accept)),
        "/healthz" or "/livez" => Checks(await readiness.LiveAsync(cancellationToken)),
        "/readyz" => Checks(await readiness.ReadyAsync(cancellationToken)),
        _ => HttpAnswer.Text(HttpStatusCode.NotFound, "there is /, /metrics, /healthz and /readyz\n"),
    };

    private HttpAnswer Metrics(bool isOpenMetrics)
    {
        string text = "";
        metrics.Collect(families => text = PrometheusText.Write(families, isOpenMetrics));
        return new HttpAnswer
        {
            Status = HttpStatusCode.OK,
            ContentType = isOpenMetrics ? PrometheusText.OpenMetricsContentType : PrometheusText.ContentType,
            Body = Encoding.UTF8.GetBytes(text),
        };
    }

    private static HttpAnswer Checks(IReadOnlyList<HealthCheck> checks)
    {
        var text = new StringBuilder();
        foreach (HealthCheck check in checks)
        {
            _ = text.Append(check.Fault is null ? "[+] " : "[-] ").Append(check.Name).Append(": ").Append(check.Fault ?? "ok").Append('\n');
        }

        return HttpAnswer.Text(checks.All(check => check.Fault is null) ? HttpStatusCode.OK : HttpStatusCode.ServiceUnavailable, text.ToString());
    }
}
