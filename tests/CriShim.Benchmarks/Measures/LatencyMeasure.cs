using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>Version, one call after the other on one connection, where the scheduler likes or on one core.</summary>
internal sealed class LatencyMeasure(bool oneCore) : Measure("latency")
{
    private readonly string _id = oneCore ? "latency-one-core" : "latency";
    private readonly string _title = oneCore ? "Version, 1 stream, one core" : "Version, 1 stream";

    public override IReadOnlyList<string> RowIds => [$"{_id}-p50", $"{_id}-p99", $"{_id}-cpu"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        using var routes = await RouteSet.StartAsync(bench, cancellation);
        var length = await routes.VerifyAsync(CannedCall.Version, cancellation);
        var shape = new LoadShape(bench.Options.LatencyCalls, Connections: 1, StreamsEach: 1) { OneCore = oneCore };
        IEnumerable<int> moved = oneCore
            ? [.. routes.Proxies.SelectMany(route => route.Proxy!.ProcessIds), .. bench.Backend.Process!.ProcessIds]
            : [];
        await Cores.ToFirstAsync(moved, cancellation);

        var (median, tail, cpu) = (new RoundFigures(), new RoundFigures(), new RoundFigures());
        await routes.AlternateAsync(1, route => bench.H2Load.RunAsync(route, CannedCall.Version, length, shape, cancellation));
        await routes.AlternateAsync(bench.Options.LatencyRounds, async route =>
        {
            var meter = CpuMeter.Start(route);
            var result = await bench.H2Load.RunAsync(route, CannedCall.Version, length, shape, cancellation);
            median.Add(route.Name, result.Latencies.Percentile(50));
            tail.Add(route.Name, result.Latencies.Percentile(99));
            meter?.AddPerCall(cpu, shape.Requests);
        });
        await Cores.ToAllAsync(moved, cancellation);

        return
        [
            WithAim(median.ToRowWithAdded(RowIds[0], $"{_title}, p50", "µs")),
            WithAim(tail.ToRowWithAdded(RowIds[1], $"{_title}, p99", "µs")),
            CpuMeter.ToRow(cpu, RowIds[2], $"{_title}, CPU a call"),
        ];
    }

    private static Row WithAim(Row row)
    {
        var ratio = Figure.QuotientOfMedians(row.AddedByCriShim, row.AddedByNginx);
        return row with { Ratio = new Ratio("added, to nginx's", ratio), Aim = Aim.AtMost("adds no more than nginx", ratio, 1) };
    }
}
