using System.Globalization;
using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Report;

namespace CriShim.Benchmarks.Measures;

/// <summary>Version, 32 calls at a time, on <paramref name="connections"/> connections.</summary>
internal sealed class ThroughputMeasure(int connections) : Measure("throughput")
{
    private const int Streams = 32;

    private readonly string _shape = $"{connections}x{Streams / connections}";

    public override IReadOnlyList<string> RowIds => [$"throughput-{_shape}", $"throughput-{_shape}-cpu"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        using var routes = await Routes.RouteSet.StartAsync(bench, cancellation);
        var length = await routes.VerifyAsync(CannedCall.Version, cancellation);
        var shape = new LoadShape(bench.Options.ThroughputCalls, connections, Streams / connections);
        await routes.AlternateAsync(1, route => bench.H2Load.RunAsync(route, CannedCall.Version, length, shape, cancellation));

        var (rate, cpu) = (new RoundFigures(), new RoundFigures());
        await routes.AlternateAsync(bench.Options.Rounds, async route =>
        {
            var meter = CpuMeter.Start(route);
            var result = await bench.H2Load.RunAsync(route, CannedCall.Version, length, shape, cancellation);
            rate.Add(route.Name, result.RequestsPerSecond);
            meter?.AddPerCall(cpu, shape.Requests);
        });

        var title = string.Create(CultureInfo.InvariantCulture, $"Version, {connections} x {Streams / connections} streams");
        var row = rate.ToRow(RowIds[0], title, "calls/s");
        var ratio = Figure.Quotient(row.CriShim, row.Nginx);
        return
        [
            row with { Ratio = new Ratio("to nginx's", ratio), Aim = Aim.AtLeast("no fewer than nginx", ratio, 1) },
            CpuMeter.ToRow(cpu, RowIds[1], $"{title}, CPU a call"),
        ];
    }
}
