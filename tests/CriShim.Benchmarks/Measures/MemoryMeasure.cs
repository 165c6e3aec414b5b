using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>Memory of proxies that have served one call, and of the same after calls and lists by the thousand.</summary>
internal sealed class MemoryMeasure() : Measure("memory")
{
    private const double MostMegabytes = 40;
    private const int LoadRounds = 3;

    private static readonly (string Id, string Title, Func<IEnumerable<int>, double> Read)[] Sizes =
    [
        ("rss", "resident", ProcessReadings.ResidentMegabytes),
        ("anonymous", "anonymous", ProcessReadings.AnonymousMegabytes),
        ("pss", "proportional", ProcessReadings.ProportionalMegabytes),
    ];

    public override IReadOnlyList<string> RowIds =>
        [.. Sizes.Select(size => $"memory-idle-{size.Id}"), .. Sizes.Select(size => $"memory-load-{size.Id}"), "memory-peak-rss"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        using var routes = await RouteSet.StartAsync(bench, cancellation);
        await Task.Delay(bench.Options.Settle, cancellation);
        var rows = Read(routes, "memory-idle", "Memory idle");

        await LoadAsync(bench, routes, cancellation);
        rows.AddRange(Read(routes, "memory-load", "Memory after the load").Select(row =>
            row.Id == "memory-load-rss"
                ? row with { Aim = Aim.AtMost($"at most {MostMegabytes} MB", row.CriShim, MostMegabytes) }
                : row));

        var peak = new RoundFigures();
        foreach (var route in routes.Proxies)
        {
            peak.Add(route.Name, ProcessReadings.PeakResidentMegabytes(route.Proxy!.ProcessIds));
        }

        return [.. rows, peak.ToRow("memory-peak-rss", "Memory at its peak, resident", "MB")];
    }

    private static List<Row> Read(RouteSet routes, string id, string title) =>
    [
        .. Sizes.Select(size =>
        {
            var figures = new RoundFigures();
            foreach (var route in routes.Proxies)
            {
                figures.Add(route.Name, size.Read(route.Proxy!.ProcessIds));
            }

            return figures.ToRow($"{id}-{size.Id}", $"{title}, {size.Title}", "MB");
        }),
    ];

    private static async Task LoadAsync(Bench bench, RouteSet routes, CancellationToken cancellation)
    {
        (CannedCall Call, LoadShape Shape)[] loads =
        [
            (CannedCall.Version, new LoadShape(bench.Options.ThroughputCalls, 1, 32)),
            (CannedCall.Version, new LoadShape(bench.Options.ThroughputCalls, 4, 8)),
            (CannedCall.List5000, new LoadShape(bench.Options.LargeListCalls, 1, 1)),
            (CannedCall.List5000, new LoadShape(bench.Options.LargeListCalls, 2, 2, LoadShape.GrpcWindow)),
        ];
        for (var round = 0; round < LoadRounds; round++)
        {
            foreach (var (call, shape) in loads)
            {
                foreach (var route in routes.Proxies)
                {
                    await bench.H2Load.RunAsync(route, call, call.Response!.Length, shape, cancellation);
                }
            }
        }
    }
}
