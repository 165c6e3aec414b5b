using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;

namespace CriShim.Metrics;

internal enum MetricKind
{
    Counter,
    Gauge,
    Histogram,
}

/// <summary>All series of one instrument.</summary>
internal sealed class MetricFamily
{
    /// <summary>Labels are bounded where they are made; should one not be, this process stays small all the same.</summary>
    public const int MaxSeries = 2000;

    private readonly ConcurrentDictionary<LabelValues, MetricSeries> _series = new(concurrencyLevel: 1, capacity: 31);
    private readonly bool _isObserved;
    private readonly bool _isSet;
    private readonly double[] _bounds = [];
    private int _count;

    public MetricFamily(Instrument instrument)
    {
        Type type = instrument.GetType();
        Type definition = type.IsGenericType ? type.GetGenericTypeDefinition() : type;
        Kind = definition == typeof(Counter<>) || definition == typeof(ObservableCounter<>) ? MetricKind.Counter
            : definition == typeof(Histogram<>) ? MetricKind.Histogram
            : MetricKind.Gauge;
        _isObserved = instrument.IsObservable;
        _isSet = _isObserved || definition == typeof(Gauge<>);
        if (instrument is Histogram<double> histogram)
        {
            _bounds = [.. histogram.Advice?.HistogramBucketBoundaries ?? []];
        }

        Unit = instrument.Unit switch { "s" => "seconds", "By" => "bytes", _ => "" };
        Name = instrument.Name.Replace('.', '_') + (Unit.Length > 0 ? "_" + Unit : "");
        Help = instrument.Description ?? "";
    }

    /// <summary>With its unit, without <c>_total</c>.</summary>
    public string Name { get; }

    /// <summary>Empty where there is none.</summary>
    public string Unit { get; }

    public string Help { get; }

    public MetricKind Kind { get; }

    /// <summary>Upper bounds of a histogram's buckets, without the last, infinite one.</summary>
    public IReadOnlyList<double> Bounds => _bounds;

    /// <summary>In the order of their labels.</summary>
    public IEnumerable<MetricSeries> Series =>
        _series.Values.Where(series => series.IsShown).OrderBy(series => series.Labels, StringComparer.Ordinal);

    /// <summary>What an observable instrument does not tell this time is not there any more.</summary>
    public void BeginObservation()
    {
        if (_isObserved)
        {
            foreach (MetricSeries series in _series.Values)
            {
                series.IsShown = false;
            }
        }
    }

    public void Measure(long value, ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        if (Find(labels) is not { } series)
        {
            return;
        }

        if (_isSet)
        {
            series.Set(value);
        }
        else
        {
            series.Add(value);
        }
    }

    public void Measure(double value, ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        if (Find(labels) is not { } series)
        {
            return;
        }

        if (Kind == MetricKind.Histogram)
        {
            series.Observe(value, _bounds);
        }
        else if (_isSet)
        {
            series.Set(value);
        }
        else
        {
            series.Add(value);
        }
    }

    private MetricSeries? Find(ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        var key = new LabelValues(ValueOf(labels, 0), ValueOf(labels, 1), ValueOf(labels, 2));
        return _series.TryGetValue(key, out MetricSeries? series) ? series : Add(key, labels);
    }

    private MetricSeries? Add(LabelValues key, ReadOnlySpan<KeyValuePair<string, object?>> labels)
    {
        if (Interlocked.Increment(ref _count) > MaxSeries)
        {
            _ = Interlocked.Decrement(ref _count);
            return null;
        }

        return _series.GetOrAdd(key, new MetricSeries(PrometheusText.Labels(labels), _bounds.Length + 1));
    }

    private static string ValueOf(ReadOnlySpan<KeyValuePair<string, object?>> labels, int index) =>
        index >= labels.Length ? ""
        : labels[index].Value as string ?? Convert.ToString(labels[index].Value, CultureInfo.InvariantCulture) ?? "";

    /// <summary>An instrument always has the same labels, three at most, in the same order.</summary>
    private readonly record struct LabelValues(string First, string Second, string Third);
}

/// <summary>One combination of labels.</summary>
/// <param name="labels">As they are written, without braces: <c>method="Version",code="OK"</c>.</param>
/// <param name="buckets">How many buckets there are, the infinite one included.</param>
internal sealed class MetricSeries(string labels, int buckets)
{
    private readonly long[] _buckets = new long[buckets];
    private long _whole;
    private double _part;
    private bool _isShown = true;

    public string Labels => labels;

    public double Value => Interlocked.Read(ref _whole) + Volatile.Read(ref _part);

    /// <summary>Of a histogram: how many fell into each bucket; not yet summed up.</summary>
    public long Bucket(int index) => Interlocked.Read(ref _buckets[index]);

    public bool IsShown
    {
        get => Volatile.Read(ref _isShown);
        set => Volatile.Write(ref _isShown, value);
    }

    public void Add(long value) => _ = Interlocked.Add(ref _whole, value);

    public void Add(double value)
    {
        double before = Volatile.Read(ref _part);
        while (true)
        {
            double seen = Interlocked.CompareExchange(ref _part, before + value, before);
            if (seen.Equals(before))
            {
                return;
            }

            before = seen;
        }
    }

    public void Set(double value)
    {
        Volatile.Write(ref _part, value);
        IsShown = true;
    }

    public void Observe(double value, double[] bounds)
    {
        int index = 0;
        while (index < bounds.Length && value > bounds[index])
        {
            index++;
        }

        _ = Interlocked.Increment(ref _buckets[index]);
        Add(value);
    }
}
