using System.Diagnostics.Metrics;
using CriShim.Discovery;
using CriShim.Node;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Metrics;

/// <summary>What there is on the node, asked for at each scrape: pods, sidecars, records, and where knowledge comes from.</summary>
internal sealed class NodeMetrics
{
    public const string MeterName = "CriShim.Node";

    private static readonly SidecarKind[] Kinds = [.. Enum.GetValues<SidecarKind>().Where(kind => kind != SidecarKind.None)];

    private readonly Func<IReadOnlyList<PodOverview>> _pods;
    private readonly MetricsCollector _collector;
    private long _round = -1;
    private IReadOnlyList<PodOverview> _last = [];

    /// <param name="meters">Where they are measured.</param>
    /// <param name="health">How supervision stands.</param>
    /// <param name="pods">What is supervised.</param>
    /// <param name="sources">The pod spec sources.</param>
    /// <param name="collector">Who asks: what is asked for in one go is of one moment.</param>
    public NodeMetrics(
        IMeterFactory meters, Func<NodeHealth> health, Func<IReadOnlyList<PodOverview>> pods, Func<IReadOnlyList<PodSpecSourceStatus>> sources,
        MetricsCollector collector)
    {
        _pods = pods;
        _collector = collector;
        Meter meter = meters.Create(MeterName);
        _ = meter.CreateObservableGauge("crishim.pods", CountPods, description: "Pod sandboxes, by state.");
        _ = meter.CreateObservableGauge("crishim.sidecars", CountSidecars, description: "Sidecars, by kind and state.");
        _ = meter.CreateObservableGauge(
            "crishim.lineages", () => Pods().Sum(pod => pod.Lineages.Count),
            description: "Container names that are followed, sidecars and others.");
        _ = meter.CreateObservableGauge(
            "crishim.rewritten_pods", () => health().RewrittenPods,
            description: "Pod sandboxes of which callers are shown something else than the backend says.");
        _ = meter.CreateObservableGauge(
            "crishim.backend.events_connected", () => health().HasEvents ? 1 : 0,
            description: "Whether the subscription to the backend's events stands.");
        _ = meter.CreateObservableGauge(
            "crishim.backend.last_list_timestamp", () => Timestamp(health().ListedAt), "s",
            "When the backend's containers were last listed; 0: never.");
        _ = meter.CreateObservableGauge(
            "crishim.supervision_known", () => health().IsKnown ? 1 : 0,
            description: "Whether supervision knows the node: the backend was listed and compared with the records.");
        _ = meter.CreateObservableGauge("crishim.state", () => health().StateBytes, "By", "Requests that are kept for replacements.");
        _ = meter.CreateObservableCounter("crishim.state.failures", () => health().StateFailures, description: "Records that could not be written or read.");
        _ = meter.CreateObservableGauge(
            "crishim.discovery.source_synced", () => OfSources(sources, source => source.State == PodSpecSourceState.Synced ? 1 : 0),
            description: "Whether what a pod spec source has told is current.");
        _ = meter.CreateObservableGauge(
            "crishim.discovery.source_pods", () => OfSources(sources, source => source.Pods), description: "Pods that a pod spec source knows.");
        _ = meter.CreateObservableGauge(
            "crishim.discovery.source_last_success_timestamp", () => OfSources(sources, source => Timestamp(source.LastSuccessAt)), "s",
            "When a pod spec source last was current; 0: never.");
        _ = meter.CreateObservableCounter(
            "crishim.discovery.source_failures", () => OfSources(sources, source => (double)source.Failures),
            description: "How often a pod spec source became degraded, or was for another reason.");
    }

    private static double Timestamp(DateTimeOffset? at) => at is { } time ? (time - DateTimeOffset.UnixEpoch).TotalSeconds : 0;

    private static IEnumerable<Measurement<double>> OfSources(
        Func<IReadOnlyList<PodSpecSourceStatus>> sources, Func<PodSpecSourceStatus, double> value) =>
        sources().Select(source => new Measurement<double>(
            value(source), new KeyValuePair<string, object?>("source", MetricLabel.Of(source.Name))));

    private IEnumerable<Measurement<int>> CountPods()
    {
        IReadOnlyList<PodOverview> pods = Pods();
        int ready = pods.Count(pod => pod is { IsReady: true, IsTerminating: false });
        int terminating = pods.Count(pod => pod is { IsReady: true, IsTerminating: true });
        return
        [
            new(ready, new KeyValuePair<string, object?>("state", "ready")),
            new(terminating, new KeyValuePair<string, object?>("state", "terminating")),
            new(pods.Count - ready - terminating, new KeyValuePair<string, object?>("state", "not_ready")),
        ];
    }

    private IEnumerable<Measurement<int>> CountSidecars()
    {
        Dictionary<(SidecarKind, LineageState), int> counts = Pods().SelectMany(pod => pod.Lineages)
            .CountBy(lineage => (lineage.Kind, lineage.State)).ToDictionary(count => count.Key, count => count.Value);
        foreach (SidecarKind kind in Kinds)
        {
            foreach (LineageState state in Enum.GetValues<LineageState>())
            {
                yield return new Measurement<int>(
                    counts.GetValueOrDefault((kind, state)),
                    new KeyValuePair<string, object?>("kind", MetricLabel.Of(kind.ToString())),
                    new KeyValuePair<string, object?>("state", MetricLabel.Of(state.ToString())));
            }
        }
    }

    /// <summary>Once for a scrape: each pod's lock is taken for it.</summary>
    private IReadOnlyList<PodOverview> Pods()
    {
        if (_round != _collector.Round)
        {
            _last = _pods();
            _round = _collector.Round;
        }

        return _last;
    }
}
