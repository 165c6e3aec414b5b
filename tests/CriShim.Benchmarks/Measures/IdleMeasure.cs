using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>What a proxy costs while nobody calls: CPU time, and how often it wakes.</summary>
internal sealed class IdleMeasure() : Measure("idle")
{
    public override IReadOnlyList<string> RowIds => ["idle-cpu", "idle-ticks", "idle-wakes"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        using var routes = await RouteSet.StartAsync(bench, cancellation);
        await Task.Delay(bench.Options.Settle, cancellation);
        var before = Read(routes);
        await Task.Delay(bench.Options.Idle, cancellation);
        var after = Read(routes);

        var (cpu, ticks, wakes) = (new RoundFigures(), new RoundFigures(), new RoundFigures());
        foreach (var (earlier, later) in before.Zip(after))
        {
            cpu.Add(earlier.Name, (later.Cpu - earlier.Cpu).TotalMilliseconds);
            ticks.Add(earlier.Name, later.Ticks - earlier.Ticks);
            wakes.Add(earlier.Name, later.Switches - earlier.Switches);
        }

        var during = $"in {bench.Options.Idle.TotalSeconds} s idle";
        return
        [
            cpu.ToRow("idle-cpu", $"CPU {during}", "ms"),
            ticks.ToRow("idle-ticks", $"CPU ticks {during}", "10 ms"),
            wakes.ToRow("idle-wakes", $"Wakes {during}", ""),
        ];
    }

    private static List<(RouteName Name, TimeSpan Cpu, double Ticks, double Switches)> Read(RouteSet routes) =>
    [
        .. routes.Proxies.Select(route =>
        {
            var processes = route.Proxy!.ProcessIds;
            return (route.Name, ProcessReadings.CpuTime(processes), ProcessReadings.CpuTicks(processes),
                ProcessReadings.VoluntarySwitches(processes));
        }),
    ];
}
