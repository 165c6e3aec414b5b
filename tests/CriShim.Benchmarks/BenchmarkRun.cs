using System.Net.Sockets;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Measures;
using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.Benchmarks;

/// <summary>A run from the first process to the written report.</summary>
internal static class BenchmarkRun
{
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(BenchmarkOptions options, CancellationToken cancellation)
    {
        var begun = TimeProvider.System.GetUtcNow();
        var machine = Machine.Describe(
            await NginxLaunch.VersionAsync(cancellation), await H2Load.VersionAsync(cancellation), options.CriShim);
        var busyBefore = await Machine.BusyShareAsync(cancellation);
        List<Row> rows = [];

        using (var workspace = new Workspace())
        {
            List<ProxyLaunch> proxies = [new NginxLaunch()];
            if (options.CriShim is not null)
            {
                proxies.Add(new CriShimLaunch(options.CriShim));
            }

            var fakeSocket = workspace.NewPath("backend.sock");
            var fakeProcess = workspace.Start(Environment.ProcessPath!, "--fake-backend", fakeSocket);
            var fake = new Bench(options, workspace, new MeasuredBackend(fakeSocket, fakeProcess), proxies);
            Measure[] measures =
            [
                new StartupMeasure(), new LatencyMeasure(oneCore: false), new LatencyMeasure(oneCore: true),
                new ThroughputMeasure(1), new ThroughputMeasure(4),
                .. ListMeasure.OnFakeBackend, new MemoryMeasure(), new IdleMeasure(),
            ];
            await RunAllAsync(fake, measures, rows, cancellation);
            if (options.CriShim is { } executable)
            {
                await RunAllAsync(fake, [new RestartMeasure(executable), new TeardownMeasure(executable), new SupervisionMeasure(executable)], rows, cancellation);
            }

            if (options.Containerd is not null)
            {
                var real = new Bench(options, workspace, new MeasuredBackend(options.Containerd, null), proxies);
                measures = [new LatencyMeasure(oneCore: false), new ThroughputMeasure(1), .. ListMeasure.OnRealBackend];
                await RunAllAsync(real, measures, rows, cancellation);
            }
        }

        if (rows.Count == 0)
        {
            throw new MeasurementException($"no row or group is called {string.Join(" or ", options.Only)}");
        }

        var busyAfter = await Machine.BusyShareAsync(cancellation);
        var took = TimeProvider.System.GetUtcNow() - begun;
        var report = new BenchReport(begun, took, options.Quick, machine, busyBefore, busyAfter, rows);
        var markdown = MarkdownTable.Render(report);
        Write(options.Json, report.ToJson());
        Write(options.Markdown, markdown);
        Console.WriteLine(markdown);
        return rows.Any(row => row.Failure is not null) ? 1 : 0;
    }

    private static async Task RunAllAsync(Bench bench, IEnumerable<Measure> measures, List<Row> rows, CancellationToken cancellation)
    {
        foreach (var measure in measures)
        {
            bool Wanted(string row) => bench.Options.Wants(measure.Group, bench.Backend.RowPrefix + row);
            if (!measure.RowIds.Any(Wanted))
            {
                continue;
            }

            Console.Error.WriteLine($"measuring {string.Join(", ", measure.RowIds.Where(Wanted).Select(row => bench.Backend.RowPrefix + row))}");
            try
            {
                var measured = await measure.RunAsync(bench, cancellation);
                rows.AddRange(measured.Where(row => Wanted(row.Id)).Select(row => Labelled(bench, row)));
            }
            catch (Exception failure) when (IsOfTheMeasured(failure, cancellation))
            {
                Console.Error.WriteLine(failure.Message);
                var lost = string.Join(", ", measure.RowIds.Where(Wanted).Select(row => bench.Backend.RowPrefix + row));
                rows.Add(new Row(lost, lost, "") { Failure = failure.Message.TrimEnd() });
            }
        }
    }

    /// <summary>As against a fault of the benchmark itself, which ends it.</summary>
    private static bool IsOfTheMeasured(Exception failure, CancellationToken cancellation) =>
        !cancellation.IsCancellationRequested
        && failure is MeasurementException or IOException or SocketException or RpcException or LabException or TimeoutException;

    private static Row Labelled(Bench bench, Row row) => row with
    {
        Id = bench.Backend.RowPrefix + row.Id,
        Title = row.Title + bench.Backend.TitleSuffix,
        Aim = bench.Backend.IsReal ? null : row.Aim,
    };

    private static void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        File.WriteAllText(path, text);
    }
}
