using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace CriShim.TestSupport;

/// <summary>Keeps every measurement of the meters that it made.</summary>
public sealed class RecordedMeters : IMeterFactory
{
    private readonly ConcurrentQueue<(string Name, string Labels, double Value)> _measured = new();
    private readonly MeterListener _listener = new();
    private readonly List<Meter> _meters = [];

    public RecordedMeters()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Scope == this)
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.SetMeasurementEventCallback<int>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.SetMeasurementEventCallback<double>((instrument, value, labels, _) => Keep(instrument, value, labels));
        _listener.Start();
    }

    public IEnumerable<double> Of(string name, string labels) =>
        _measured.Where(one => one.Name == name && one.Labels == labels).Select(one => one.Value);

    public double Sum(string name) => _measured.Where(one => one.Name == name).Sum(one => one.Value);

    public double Observe(string name, string labels)
    {
        _listener.RecordObservableInstruments();
        return Of(name, labels).Last();
    }

    public Meter Create(MeterOptions options)
    {
        options.Scope = this;
        var meter = new Meter(options);
        _meters.Add(meter);
        return meter;
    }

    public void Dispose()
    {
        _listener.Dispose();
        _meters.ForEach(meter => meter.Dispose());
    }

    private void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> labels) =>
        _measured.Enqueue((instrument.Name, string.Join(',', labels.ToArray().Select(label => $"{label.Key}={label.Value}")), value));
}
