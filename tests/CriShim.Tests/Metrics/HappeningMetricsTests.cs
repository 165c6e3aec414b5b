using CriShim.Metrics;
using CriShim.Node.Journal;
using CriShim.Supervision.Restarts;
using GateReason = CriShim.Supervision.Supervisor.GateReason;

namespace CriShim.Tests.Metrics;

/// <summary>What is counted of what happens: by cause and reason, never by pod.</summary>
public sealed class HappeningMetricsTests : IDisposable
{
    private static readonly PodName Pod = new("shop", "web-1", "u1", "s1");
    private readonly MeterFactory _meters = new();
    private readonly MetricsCollector _collector;
    private readonly HappeningMetrics _metrics;

    public HappeningMetricsTests()
    {
        _collector = new MetricsCollector(_meters);
        _metrics = new HappeningMetrics(_meters);
    }

    public static TheoryData<Happening, string> Counted => new()
    {
        { new RestartDecided(Decision(DecisionKind.Restart)) { At = default, Pod = Pod }, "crishim_restarts_total{cause=\"error_exit\"}" },
        { new SidecarBackOff(1, TimeSpan.FromSeconds(1), 2) { At = default, Pod = Pod }, "crishim_backoffs_total" },
        { new SidecarGivenUp(Decision(DecisionKind.GiveUp)) { At = default, Pod = Pod }, "crishim_giveups_total" },
        { new SidecarRestored(1, TimeSpan.FromMilliseconds(120)) { At = default, Pod = Pod }, "crishim_restart_latency_seconds_bucket{le=\"0.25\"}" },
        { new StartHeld { At = default, Pod = Pod }, "crishim_holds_total{call=\"start\"}" },
        { new StopHeld { At = default, Pod = Pod }, "crishim_holds_total{call=\"stop\"}" },
        { new SandboxStopHeld { At = default, Pod = Pod }, "crishim_holds_total{call=\"sandbox_stop\"}" },
        { new RemovalHeld { At = default, Pod = Pod }, "crishim_holds_total{call=\"remove\"}" },
        { new RemovalRefused { At = default, Pod = Pod }, "crishim_removals_refused_total" },
        { new GateOpened(GateReason.TookTooLong) { At = default, Pod = Pod }, "crishim_gates_opened_total{reason=\"took_too_long\"}" },
        { new CompletionShown { At = default, Pod = Pod }, "crishim_completions_shown_total" },
        { new CompletionNotRecorded { At = default, Pod = Pod }, "crishim_completions_not_recorded_total" },
        { new StartupFailed(3) { At = default, Pod = Pod }, "crishim_startup_failures_total" },
        { new StopSent(TimeSpan.FromSeconds(5)) { At = default, Pod = Pod }, "crishim_stops_total" },
        { new MainsCompleted { At = default, Pod = Pod }, "crishim_mains_completed_total" },
        { new TeardownEnded(TimeSpan.FromSeconds(40), TimeSpan.FromSeconds(10)) { At = default, Pod = Pod }, "crishim_teardown_overruns_total" },
        { new AnnotationWrong("crishim.io/sidecars: must be valid YAML or JSON") { At = default, Pod = Pod }, "crishim_annotation_errors_total" },
    };

    public void Dispose()
    {
        _collector.Dispose();
        _meters.Dispose();
    }

    [Theory]
    [MemberData(nameof(Counted))]
    public void Happened_AnyOfThem_IsCountedFromZero(Happening happening, string series)
    {
        Assert.Contains(Scrape(), line => line == $"{series} 0" || series.Contains("_bucket", StringComparison.Ordinal));

        _metrics.Happened(happening);

        Assert.Contains($"{series} 1", Scrape());
        Assert.DoesNotContain(Scrape(), line => line.Contains("web-1", StringComparison.Ordinal) || line.Contains("shop", StringComparison.Ordinal));
    }

    [Fact]
    public void Happened_AStopThatIsNoTurn_IsNoneOfTheTurns()
    {
        _metrics.Happened(new StopSent(TimeSpan.FromSeconds(5)) { At = default, Pod = Pod, HasFailedToStart = true });

        Assert.Contains("crishim_stops_total 0", Scrape());
    }

    private static RestartDecision Decision(DecisionKind kind) => new()
    {
        Lineage = "proxy", ContainerId = "c1", Attempt = 2, At = default, Kind = kind, Cause = DeathCause.ErrorExit, ExitCode = 1,
    };

    private string[] Scrape()
    {
        string text = "";
        _collector.Collect(families => text = PrometheusText.Write(families, isOpenMetrics: false));
        return text.Split('\n');
    }
}
