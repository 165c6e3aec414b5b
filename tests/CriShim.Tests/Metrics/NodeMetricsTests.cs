using CriShim.Discovery;
using CriShim.Metrics;
using CriShim.Node;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using LineageState = CriShim.Supervision.Supervisor.LineageState;
using LineageView = CriShim.Supervision.Supervisor.LineageView;

namespace CriShim.Tests.Metrics;

public sealed class NodeMetricsTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private readonly MeterFactory _meters = new();
    private readonly MetricsCollector _collector;
    private IReadOnlyList<PodOverview> _pods = [];
    private int _asked;

    public NodeMetricsTests()
    {
        _collector = new MetricsCollector(_meters);
        _ = new NodeMetrics(
            _meters,
            () => new NodeHealth
            {
                IsKnown = true, ListedAt = DateTimeOffset.UnixEpoch.AddSeconds(17), HasEvents = false, RewrittenPods = 2, StateBytes = 4096, StateFailures = 1,
            },
            () =>
            {
                _asked++;
                return _pods;
            },
            () => [new PodSpecSourceStatus("API server", PodSpecSourceState.Degraded, "cannot connect", Now, 5, 0) { Failures = 3 }],
            _collector);
    }

    public void Dispose()
    {
        _collector.Dispose();
        _meters.Dispose();
    }

    [Fact]
    public void Scrape_AtOnceAfterAnother_IsOfItsOwnMomentAndAsksOnce()
    {
        _pods = [Pod(isReady: true, isTerminating: false, LineageState.Running)];
        Assert.Contains("crishim_pods{state=\"ready\"} 1", Scrape());

        _pods = [];
        string[] second = Scrape();

        Assert.Contains("crishim_pods{state=\"ready\"} 0", second);
        Assert.Contains("crishim_lineages 0", second);
        Assert.Contains("crishim_sidecars{kind=\"native\",state=\"running\"} 0", second);
        Assert.Equal(2, _asked);
    }

    [Fact]
    public void Scrape_OfANode_CountsPodsAndSidecarsByKindAndState()
    {
        _pods =
        [
            Pod(isReady: true, isTerminating: false, LineageState.Running), Pod(isReady: true, isTerminating: true, LineageState.BackingOff),
            Pod(isReady: false, isTerminating: true, LineageState.Resting),
        ];

        string[] lines = Scrape();

        Assert.Contains("crishim_pods{state=\"ready\"} 1", lines);
        Assert.Contains("crishim_pods{state=\"terminating\"} 1", lines);
        Assert.Contains("crishim_pods{state=\"not_ready\"} 1", lines);
        Assert.Contains("crishim_sidecars{kind=\"native\",state=\"running\"} 1", lines);
        Assert.Contains("crishim_sidecars{kind=\"native\",state=\"backing_off\"} 1", lines);
        Assert.Contains("crishim_sidecars{kind=\"emulated\",state=\"running\"} 0", lines);
        Assert.DoesNotContain(lines, line => line.Contains("kind=\"none\"", StringComparison.Ordinal));
        Assert.Contains("crishim_lineages 6", lines);
    }

    [Fact]
    public void Scrape_OfSourcesAndBackend_SaysHowTheyAre()
    {
        string[] lines = Scrape();

        Assert.Contains("crishim_discovery_source_synced{source=\"api_server\"} 0", lines);
        Assert.Contains("crishim_discovery_source_pods{source=\"api_server\"} 5", lines);
        Assert.Contains("crishim_discovery_source_failures_total{source=\"api_server\"} 3", lines);
        Assert.Contains("crishim_backend_events_connected 0", lines);
        Assert.Contains("crishim_backend_last_list_timestamp_seconds 17", lines);
        Assert.Contains("crishim_rewritten_pods 2", lines);
        Assert.Contains("crishim_state_bytes 4096", lines);
        Assert.Contains("crishim_state_failures_total 1", lines);
    }

    private static PodOverview Pod(bool isReady, bool isTerminating, LineageState sidecar) => new()
    {
        IsReady = isReady, IsTerminating = isTerminating,
        Lineages = [Lineage("proxy", SidecarKind.Native, sidecar), Lineage("app", SidecarKind.None, LineageState.Running)],
    };

    private static LineageView Lineage(string name, SidecarKind kind, LineageState state) => new()
    {
        Name = name, Kind = kind, State = state, Tally = new DeathTally(), Notes = [],
    };

    private string[] Scrape()
    {
        string text = "";
        _collector.Collect(families => text = PrometheusText.Write(families, isOpenMetrics: false));
        return text.Split('\n');
    }
}
