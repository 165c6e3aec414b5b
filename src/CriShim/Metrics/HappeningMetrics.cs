using System.Diagnostics.Metrics;
using CriShim.Node.Journal;
using CriShim.Supervision.Restarts;
using GateReason = CriShim.Supervision.Supervisor.GateReason;

namespace CriShim.Metrics;

/// <summary>Counts what supervision does, by cause and reason; never by pod.</summary>
internal sealed class HappeningMetrics : IHappeningListener
{
    public const string MeterName = "CriShim.Supervision";

    /// <summary>In seconds: a replacement takes little more than containerd takes; a back-off, up to half a minute.</summary>
    private static readonly double[] RestartBounds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

    /// <summary>In seconds: from pods that end at once to the longest graces.</summary>
    private static readonly double[] TeardownBounds = [0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

    private readonly Counter<long> _restarts;
    private readonly Counter<long> _backOffs;
    private readonly Counter<long> _giveUps;
    private readonly Counter<long> _leftAlone;
    private readonly Counter<long> _cancelled;
    private readonly Counter<long> _failures;
    private readonly Counter<long> _holds;
    private readonly Counter<long> _gates;
    private readonly Counter<long> _stops;
    private readonly Counter<long> _overruns;
    private readonly Counter<long> _completions;
    private readonly Counter<long> _annotationErrors;
    private readonly Counter<long> _completionsShown;
    private readonly Counter<long> _completionsNotRecorded;
    private readonly Counter<long> _startupFailures;
    private readonly Counter<long> _removalsRefused;
    private readonly Histogram<double> _restartLatency;
    private readonly Histogram<double> _teardown;

    public HappeningMetrics(IMeterFactory meters)
    {
        Meter meter = meters.Create(MeterName);
        _restarts = meter.CreateCounter<long>("crishim.restarts", description: "Deaths of sidecars that a restart was decided for, by cause.");
        _restartLatency = meter.CreateHistogram(
            "crishim.restart.latency", "s", "Time from a sidecar's end until its replacement ran, back-off included.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = RestartBounds });
        _backOffs = meter.CreateCounter<long>("crishim.backoffs", description: "Restarts that had to wait for their back-off.");
        _giveUps = meter.CreateCounter<long>("crishim.giveups", description: "Sidecars that died too often and were left to the kubelet.");
        _leftAlone = meter.CreateCounter<long>("crishim.left_alone", description: "Ends of sidecars that no restart was decided for, by reason.");
        _cancelled = meter.CreateCounter<long>("crishim.restarts_cancelled", description: "Restarts that were called off, by reason.");
        _failures = meter.CreateCounter<long>(
            "crishim.replacement_failures", description: "Calls for a replacement that failed, by the backend's method.");
        _holds = meter.CreateCounter<long>("crishim.holds", description: "Callers' calls that were made to wait, by what they wanted.");
        _gates = meter.CreateCounter<long>("crishim.gates_opened", description: "Sidecars that others' starts wait for no more, by reason.");
        _stops = meter.CreateCounter<long>("crishim.stops", description: "Stops that crishim sent itself, for their turn had come.");
        _teardown = meter.CreateHistogram(
            "crishim.teardown.duration", "s", "Time from a pod's deletion, or its sandbox's stop, until the sandbox was stopped.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = TeardownBounds });
        _overruns = meter.CreateCounter<long>("crishim.teardown.overruns", description: "Pods whose last container ended after their grace.");
        _completions = meter.CreateCounter<long>(
            "crishim.mains_completed", description: "Pods whose main containers have completed, so that their adopted sidecars were ended.");
        _annotationErrors = meter.CreateCounter<long>(
            "crishim.annotation_errors", description: "Annotations of pods that can't be used, or parts of them.");
        _completionsShown = meter.CreateCounter<long>(
            "crishim.completions_shown", description: "Emulated sidecars that have started, and are shown completed from then on.");
        _completionsNotRecorded = meter.CreateCounter<long>(
            "crishim.completions_not_recorded", description: "Emulated sidecars that have started, and whose pods wait since that can't be recorded.");
        _startupFailures = meter.CreateCounter<long>(
            "crishim.startup_failures", description: "Emulated sidecars that failed their startup probe too often, and were stopped.");
        _removalsRefused = meter.CreateCounter<long>(
            "crishim.removals_refused", description: "Containers that run, are shown completed, and whose removal was refused, each counted once.");

        // What has not happened yet is zero, and not unknown: rates need a start.
        foreach (DeathCause cause in Enum.GetValues<DeathCause>())
        {
            _restarts.Add(0, Label("cause", cause.ToString()));
        }

        foreach (GateReason reason in Enum.GetValues<GateReason>())
        {
            _gates.Add(0, Label("reason", reason.ToString()));
        }

        foreach (string call in (ReadOnlySpan<string>)["start", "stop", "sandbox_stop", "remove"])
        {
            _holds.Add(0, Label("call", call));
        }

        foreach (Counter<long> counter in (ReadOnlySpan<Counter<long>>)
            [
                _backOffs, _giveUps, _stops, _overruns, _completions, _annotationErrors, _completionsShown, _completionsNotRecorded, _startupFailures,
                _removalsRefused,
            ])
        {
            counter.Add(0);
        }
    }

    /// <inheritdoc/>
    public void Happened(Happening happening)
    {
        switch (happening)
        {
            case RestartDecided decided:
                _restarts.Add(1, Label("cause", decided.Decision.Cause.ToString()));
                break;
            case SidecarBackOff:
                _backOffs.Add(1);
                break;
            case SidecarGivenUp:
                _giveUps.Add(1);
                break;
            case LeftAlone left:
                _leftAlone.Add(1, Label("reason", left.Decision.Reason?.ToString() ?? "unknown"));
                break;
            case RestartCancelled cancelled:
                _cancelled.Add(1, Label("reason", cancelled.Decision.OutcomeReason?.ToString() ?? "unknown"));
                break;
            case ReplacementFailed failed:
                _failures.Add(1, Label("method", failed.Step));
                break;
            case SidecarRestored { Elapsed: { } elapsed }:
                _restartLatency.Record(elapsed.TotalSeconds);
                break;
            case StartHeld:
                _holds.Add(1, Label("call", "start"));
                break;
            case StopHeld:
                _holds.Add(1, Label("call", "stop"));
                break;
            case SandboxStopHeld:
                _holds.Add(1, Label("call", "sandbox_stop"));
                break;
            case GateOpened gate:
                _gates.Add(1, Label("reason", gate.Reason.ToString()));
                break;
            case RemovalHeld:
                _holds.Add(1, Label("call", "remove"));
                break;
            case RemovalRefused:
                _removalsRefused.Add(1);
                break;
            case CompletionShown:
                _completionsShown.Add(1);
                break;
            case CompletionNotRecorded:
                _completionsNotRecorded.Add(1);
                break;
            case StartupFailed:
                _startupFailures.Add(1);
                break;
            case StopSent { HasFailedToStart: false }:
                _stops.Add(1);
                break;
            case MainsCompleted:
                _completions.Add(1);
                break;
            case TeardownEnded ended:
                _teardown.Record(ended.Duration.TotalSeconds);
                if (ended.Overrun > TimeSpan.Zero)
                {
                    _overruns.Add(1);
                }

                break;
            case AnnotationWrong:
                _annotationErrors.Add(1);
                break;
            default:
                break;
        }
    }

    private static KeyValuePair<string, object?> Label(string name, string value) => new(name, MetricLabel.Of(value));
}
