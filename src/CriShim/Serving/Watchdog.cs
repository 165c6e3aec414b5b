using System.Diagnostics.Metrics;
using System.Globalization;
using CriShim.Configuration;
using Microsoft.Extensions.Logging;
using CriShim.Supervision;

namespace CriShim.Serving;

/// <summary>
/// Tells systemd that we live as long as that is proved: the proxy's loop turns, and the listening socket answers a caller in HTTP/2.
/// The backend is no part of the proof: a restart of crishim mends nothing that containerd lacks.
/// </summary>
internal sealed class Watchdog(
    TimeSpan interval,
    Func<CancellationToken, Task> loopProof,
    Func<CancellationToken, Task> listenerProof,
    Action alive,
    TimeProvider time,
    ILogger log,
    IMeterFactory? meters = null)
{
    public const string MeterName = "CriShim.Watchdog";

    private readonly Counter<long>? _failures = meters?.Create(MeterName)
        .CreateCounter<long>("crishim.watchdog.failures", description: "Proofs of life that were not given in time, by what failed to give them.");

    private bool _failing;

    /// <summary>systemd kills us when it hears nothing for this long; null when no watchdog is set, or it is set for another process.</summary>
    public static TimeSpan? Interval() => Interval(
        Environment.GetEnvironmentVariable("WATCHDOG_USEC"), Environment.GetEnvironmentVariable("WATCHDOG_PID"), Environment.ProcessId);

    // sd_watchdog_enabled(3): without WATCHDOG_PID it is meant for whoever reads it.
    internal static TimeSpan? Interval(string? microseconds, string? pid, int ownPid) =>
        long.TryParse(microseconds, NumberStyles.None, CultureInfo.InvariantCulture, out long value)
        && value is > 0 and < long.MaxValue / TimeSpan.TicksPerMicrosecond
        && (pid is null || pid == ownPid.ToString(CultureInfo.InvariantCulture))
            ? TimeSpan.FromMicroseconds(value)
            : null;

    /// <summary>
    /// Proves life at a third of the interval, and allows each round as much: two rounds may fail for a passing reason before systemd acts.
    /// </summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        TimeSpan period = interval / 3;
        log.WatchdogStarted(GoDuration.Format(period));
        _failures?.Add(0, new KeyValuePair<string, object?>("part", "loop"));
        _failures?.Add(0, new KeyValuePair<string, object?>("part", "listener"));
        using var timer = new PeriodicTimer(period, time);
        try
        {
            do
            {
                await BeatAsync(period, cancellationToken);
            }
            while (await timer.WaitForNextTickAsync(cancellationToken));
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
    }

    private async Task BeatAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(limit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancellationToken);
        string part = "loop";
        try
        {
            await loopProof(either.Token).WaitAsync(either.Token);
            part = "listener";
            await listenerProof(either.Token).WaitAsync(either.Token);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            _failing = true;
            _failures?.Add(1, new KeyValuePair<string, object?>("part", part));
            log.ProofOfLifeFailed(part, GoDuration.Format(limit), e is OperationCanceledException ? "no answer in time" : e.Message);
            return;
        }

        if (_failing)
        {
            _failing = false;
            log.ProofOfLifeRegained();
        }

        alive();
    }
}
