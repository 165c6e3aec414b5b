using System.Diagnostics.Metrics;

namespace CriShim.Metrics;

/// <summary>
/// Sums up what the instruments of one <see cref="MeterFactory"/> measure, for Prometheus to read. A measurement is added without a lock
/// and, once its labels were seen, without an allocation.
/// </summary>
/// <remarks>
/// Names come from the instruments': dots become underscores, the unit (<c>s</c>, <c>By</c>) is appended, and <c>_total</c> to counters.
/// Of our own, since what there is was made for other processes: on .NET 10, compiled ahead of time, prometheus-net and OpenTelemetry's
/// exporter bring megabytes of code and an HttpListener each; this is a listener of the runtime's own metrics API and a page of text.
/// </remarks>
internal sealed class MetricsCollector : IDisposable
{
    private readonly MeterFactory _meters;
    private readonly MeterListener _listener = new();
    private readonly Lock _collecting = new();
    private readonly List<MetricFamily> _families = [];
    private long _round;

    public MetricsCollector(MeterFactory meters)
    {
        _meters = meters;
        _listener.InstrumentPublished = OnPublished;
        _listener.SetMeasurementEventCallback<int>(static (_, value, labels, family) => ((MetricFamily)family!).Measure(value, labels));
        _listener.SetMeasurementEventCallback<long>(static (_, value, labels, family) => ((MetricFamily)family!).Measure(value, labels));
        _listener.SetMeasurementEventCallback<double>(static (_, value, labels, family) => ((MetricFamily)family!).Measure(value, labels));
        _listener.Start();
    }

    /// <summary>Which <see cref="Collect"/> it is that asks: another number each time.</summary>
    public long Round => Volatile.Read(ref _round);

    /// <summary>Asks the instruments that have to be asked, and shows all families, by name. One reader at a time; others wait.</summary>
    public void Collect(Action<IReadOnlyList<MetricFamily>> show)
    {
        lock (_collecting)
        {
            _ = Interlocked.Increment(ref _round);
            MetricFamily[] families;
            lock (_families)
            {
                families = [.. _families.OrderBy(family => family.Name, StringComparer.Ordinal)];
            }

            foreach (MetricFamily family in families)
            {
                family.BeginObservation();
            }

            try
            {
                _listener.RecordObservableInstruments();
            }
            catch (AggregateException)
            {
                // One that can't be asked now is left out; the others count.
            }

            show(families);
        }
    }

    public void Dispose() => _listener.Dispose();

    private void OnPublished(Instrument instrument, MeterListener listener)
    {
        if (ReferenceEquals(instrument.Meter.Scope, _meters))
        {
            var family = new MetricFamily(instrument);
            lock (_families)
            {
                _families.Add(family);
            }

            listener.EnableMeasurementEvents(instrument, family);
        }
    }
}
