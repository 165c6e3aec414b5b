using System.Diagnostics.Metrics;
using Grpc.Core;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// What is measured of calls and connections. Written by the loop's thread alone, without an allocation or a lock; read by any.
/// </summary>
/// <remarks>
/// Labels are bounded: methods are those that this build knows, and <c>other</c> for all else; codes are gRPC's. How long a stream is open
/// says nothing of anybody's speed: streams are counted, but not timed.
/// </remarks>
internal sealed class ProxyMetrics : IDisposable
{
    public const string MeterName = "CriShim.Proxy";

    /// <summary>In seconds: what a proxy adds is tens of microseconds; what it holds on purpose, up to minutes.</summary>
    private static readonly double[] OwnBounds = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10, 60];

    /// <summary>In seconds: statuses take a backend less than a millisecond; pulls of images, minutes.</summary>
    private static readonly double[] BackendBounds = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 300];

    private static readonly string[] CodeNames = [.. Enumerable.Range(0, 17).Select(code => ((StatusCode)code).ToString())];

    private readonly Meter _meter;
    private readonly Counter<long> _calls;
    private readonly Histogram<double> _own;
    private readonly Histogram<double> _backend;
    private readonly TimeProvider _time;
    private int _openUnary;
    private int _openStreams;
    private int _callers;
    private int _backends;

    public ProxyMetrics(IMeterFactory meters, TimeProvider time)
    {
        _time = time;
        _meter = meters.Create(MeterName);
        _calls = _meter.CreateCounter<long>("crishim.cri.calls", description: "CRI calls that have ended, by method and gRPC code.");
        _own = _meter.CreateHistogram(
            "crishim.cri.call.own_duration", "s", "Time of unary CRI calls that was spent in crishim, holds included.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = OwnBounds });
        _backend = _meter.CreateHistogram(
            "crishim.cri.call.backend_duration", "s", "Time of unary CRI calls that was spent in the backend.",
            advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = BackendBounds });
        _ = _meter.CreateObservableGauge(
            "crishim.cri.open_calls",
            () => new Measurement<int>[]
            {
                new(Volatile.Read(ref _openUnary), new KeyValuePair<string, object?>("type", "unary")),
                new(Volatile.Read(ref _openStreams), new KeyValuePair<string, object?>("type", "stream")),
            },
            description: "CRI calls that are open.");
        _ = _meter.CreateObservableGauge(
            "crishim.connections",
            () => new Measurement<int>[]
            {
                new(Volatile.Read(ref _callers), new KeyValuePair<string, object?>("peer", "caller")),
                new(Volatile.Read(ref _backends), new KeyValuePair<string, object?>("peer", "backend")),
            },
            description: "Connections of callers, and to the backend.");
    }

    public void OnStarted(CriMethod method) => OpenOf(method)++;

    /// <param name="method">The call's.</param>
    /// <param name="code">As the caller is told.</param>
    /// <param name="times">Of the call.</param>
    public void OnConcluded(CriMethod method, StatusCode code, in CallTimes times)
    {
        OpenOf(method)--;
        _calls.Add(1, method.Label, CodeLabel(code));
        if (method.IsStream)
        {
            return;
        }

        TimeSpan backend = TimeSpan.Zero;
        if (times.ForwardedAt != 0)
        {
            backend = _time.GetElapsedTime(times.ForwardedAt, times.BackendEndedAt == 0 ? times.ConcludedAt : times.BackendEndedAt);
            _backend.Record(backend.TotalSeconds, method.Label);
        }

        _own.Record((_time.GetElapsedTime(times.StartedAt, times.ConcludedAt) - backend).TotalSeconds, method.Label);
    }

    public void OnConnected(bool isCaller) => (isCaller ? ref _callers : ref _backends)++;

    public void OnDisconnected(bool isCaller) => (isCaller ? ref _callers : ref _backends)--;

    public void Dispose() => _meter.Dispose();

    private static KeyValuePair<string, object?> CodeLabel(StatusCode code) =>
        new("code", (uint)code < (uint)CodeNames.Length ? CodeNames[(int)code] : nameof(StatusCode.Unknown));

    private ref int OpenOf(CriMethod method) => ref method.IsStream ? ref _openStreams : ref _openUnary;
}

/// <summary>Timestamps of one call; 0 where it did not come to that.</summary>
/// <param name="StartedAt">The caller's headers were read.</param>
/// <param name="ForwardedAt">The backend's stream was opened.</param>
/// <param name="BackendEndedAt">The backend's answer was whole, or its stream was closed.</param>
/// <param name="ConcludedAt">The outcome was known.</param>
internal readonly record struct CallTimes(long StartedAt, long ForwardedAt, long BackendEndedAt, long ConcludedAt);
