using System.Diagnostics.Metrics;
using CriShim.Metrics;

namespace CriShim.Tests.Metrics;

public sealed class MetricsCollectorTests : IDisposable
{
    private readonly MeterFactory _meters = new();
    private readonly MetricsCollector _collector;
    private readonly Meter _meter;

    public MetricsCollectorTests()
    {
        _collector = new MetricsCollector(_meters);
        _meter = _meters.Create(new MeterOptions("Test"));
    }

    public void Dispose()
    {
        _collector.Dispose();
        _meters.Dispose();
    }

    [Fact]
    public void Collect_CounterWithLabels_SumsEachSeriesUnderItsConventionalName()
    {
        Counter<long> calls = _meter.CreateCounter<long>("crishim.cri.calls", description: "Calls.");
        calls.Add(1, new("method", "Version"), new("code", "OK"));
        calls.Add(2, new("method", "Version"), new("code", "OK"));
        calls.Add(5, new("method", "Status"), new KeyValuePair<string, object?>("code", "NotFound"));

        Assert.Equal(
            """
            # HELP crishim_cri_calls_total Calls.
            # TYPE crishim_cri_calls_total counter
            crishim_cri_calls_total{method="Status",code="NotFound"} 5
            crishim_cri_calls_total{method="Version",code="OK"} 3

            """,
            Scrape());
    }

    [Fact]
    public void Collect_Histogram_HasCumulativeBucketsSumAndCount()
    {
        Histogram<double> latency = _meter.CreateHistogram(
            "crishim.latency", "s", "How long.", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        latency.Record(0.5);
        latency.Record(0.75);
        latency.Record(4);

        Assert.Equal(
            """
            # HELP crishim_latency_seconds How long.
            # TYPE crishim_latency_seconds histogram
            crishim_latency_seconds_bucket{le="0.5"} 1
            crishim_latency_seconds_bucket{le="1"} 2
            crishim_latency_seconds_bucket{le="+Inf"} 3
            crishim_latency_seconds_sum 5.25
            crishim_latency_seconds_count 3

            """,
            Scrape());
    }

    [Fact]
    public void Collect_OpenMetrics_HasUnitsAndAnEnd()
    {
        _meter.CreateCounter<double>("process.cpu", "s", "CPU.").Add(1.5);

        Assert.Equal(
            """
            # HELP process_cpu_seconds CPU.
            # TYPE process_cpu_seconds counter
            # UNIT process_cpu_seconds seconds
            process_cpu_seconds_total 1.5
            # EOF

            """,
            Scrape(isOpenMetrics: true));
    }

    [Fact]
    public void Collect_LabelOfAnObservedGaugeThatIsGone_IsNotShownAnyMore()
    {
        string[] there = ["a", "b"];
        _meter.CreateObservableGauge("crishim.things", () => there.Select(name => new Measurement<int>(1, new KeyValuePair<string, object?>("name", name))));
        Assert.Contains("crishim_things{name=\"a\"} 1", Scrape(), StringComparison.Ordinal);

        there = ["b"];
        string now = Scrape();

        Assert.DoesNotContain("\"a\"", now, StringComparison.Ordinal);
        Assert.Contains("crishim_things{name=\"b\"} 1", now, StringComparison.Ordinal);
    }

    [Fact]
    public void Collect_LabelWithQuotesBackslashesAndLines_IsEscaped()
    {
        _meter.CreateCounter<long>("odd").Add(1, new KeyValuePair<string, object?>("value", "a\"b\\c\nd"));

        Assert.Contains("""odd_total{value="a\"b\\c\nd"} 1""", Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void Collect_ObservedInstrumentThatFails_LeavesTheOthers()
    {
        _meter.CreateObservableGauge("broken", () => File.ReadAllBytes("/nowhere/at/all").Length);
        _meter.CreateObservableGauge("sound", () => 7);

        Assert.Contains("sound 7", Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void Collect_MoreLabelsThanAllowed_KeepsTheFirst()
    {
        Counter<long> wild = _meter.CreateCounter<long>("wild");
        for (int i = 0; i < MetricFamily.MaxSeries + 10; i++)
        {
            wild.Add(1, new KeyValuePair<string, object?>("id", $"{i}"));
        }

        Assert.Equal(MetricFamily.MaxSeries, Scrape().Split('\n').Count(line => line.StartsWith("wild_total{", StringComparison.Ordinal)));
    }

    [Fact]
    public void Collect_AnotherFactorysMeter_IsNotSeen()
    {
        using var others = new MeterFactory();
        others.Create(new MeterOptions("Test")).CreateCounter<long>("strange").Add(1);

        Assert.DoesNotContain("strange", Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public void Measure_KnownLabels_AllocatesNothing()
    {
        Counter<long> calls = _meter.CreateCounter<long>("calls");
        Histogram<double> latency = _meter.CreateHistogram(
            "latency", "s", advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.5, 1] });
        var method = new KeyValuePair<string, object?>("method", "Version");
        var code = new KeyValuePair<string, object?>("code", "OK");
        Measure(10_000);

        long before = GC.GetAllocatedBytesForCurrentThread();
        Measure(10_000);

        // Less than a byte a measurement: the runtime may have an allocation of its own in between.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 5000);

        void Measure(int times)
        {
            for (int i = 0; i < times; i++)
            {
                calls.Add(1, method, code);
                latency.Record(0.7, method);
            }
        }
    }

    [Fact]
    public async Task Measure_ManyThreads_LosesNothing()
    {
        Counter<long> calls = _meter.CreateCounter<long>("calls");
        Counter<double> time = _meter.CreateCounter<double>("time");
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 5000; i++)
            {
                calls.Add(1);
                time.Add(0.5);
            }
        })));

        string text = Scrape();
        Assert.Contains("calls_total 40000\n", text, StringComparison.Ordinal);
        Assert.Contains("time_total 20000\n", text, StringComparison.Ordinal);
    }

    private string Scrape(bool isOpenMetrics = false)
    {
        string text = "";
        _collector.Collect(families => text = PrometheusText.Write(families, isOpenMetrics));
        return text;
    }
}
