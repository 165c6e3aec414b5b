using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Report;

namespace CriShim.Benchmarks.Measures;

/// <summary>A list of containers, one call after the other on one connection.</summary>
internal sealed class ListMeasure(string id, string title, CannedCall call, int windowBits, bool hasAim) : Measure("list")
{
    private const double MostTimesBare = 1.3;

    /// <summary>
    /// The aim is a multiple of the bare call, so it depends on what the bare call costs: as little as the kernel lets it where
    /// the answer lies ready and no window holds it back; what a runtime needs at the least where it is marshalled for each call.
    /// </summary>
    public static IEnumerable<ListMeasure> OnFakeBackend =>
    [
        new("list-500", "500", CannedCall.List500, LoadShape.LargeWindow, hasAim: false),
        new("list-5000", "5,000", CannedCall.List5000, LoadShape.LargeWindow, hasAim: true),
        new("list-5000-64k", "5,000, 64 KiB windows", CannedCall.List5000, LoadShape.GrpcWindow, hasAim: true),
        new("list-5000-marshalled", "5,000, marshalled", CannedCall.List5000Marshalled,
            LoadShape.LargeWindow, hasAim: true),
    ];

    public static IEnumerable<ListMeasure> OnRealBackend =>
        [new("list", "all", CannedCall.ListAll, LoadShape.LargeWindow, hasAim: false)];

    public override IReadOnlyList<string> RowIds => [id];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        using var routes = await Routes.RouteSet.StartAsync(bench, cancellation);
        var length = await routes.VerifyAsync(call, cancellation);
        var calls = length > 1_000_000 ? bench.Options.LargeListCalls : bench.Options.SmallListCalls;
        var shape = new LoadShape(calls, Connections: 1, StreamsEach: 1, windowBits);
        await routes.AlternateAsync(1, route => bench.H2Load.RunAsync(route, call, length, shape, cancellation));

        var median = new RoundFigures();
        await routes.AlternateAsync(bench.Options.Rounds, async route =>
        {
            var result = await bench.H2Load.RunAsync(route, call, length, shape, cancellation);
            median.Add(route.Name, result.Latencies.Percentile(50) / 1e3);
        });

        var row = median.ToRowWithAdded(id, $"List {title} ({length / 1e6:0.0} MB), p50", "ms");
        var ratio = Figure.Quotient(row.CriShim, row.Direct);
        return
        [
            row with
            {
                Ratio = new Ratio("to bare", ratio, Figure.Quotient(row.Nginx, row.Direct)),
                Aim = hasAim ? Aim.AtMost($"at most {MostTimesBare} times bare", ratio, MostTimesBare) : null,
            },
        ];
    }
}
