using System.Diagnostics;
using System.Globalization;
using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriCaller = CriShim.TestSupport.Lab.CriCaller;

namespace CriShim.Benchmarks.Measures;

/// <summary>
/// What supervision costs on a full node that is not there: memory, CPU time while nothing happens, and the time until all of many
/// sidecars that die at once run again.
/// </summary>
/// <param name="executable">crishim.</param>
internal sealed class SupervisionMeasure(string executable) : Measure("supervision")
{
    // The defaults of supervision.restart.nodeLimit; the row's name says them, so that a change of theirs is seen here.
    private const double PerSecond = 10;
    private const int Burst = 20;

    private const string RaisedLimit = """
          restart:
            nodeLimit:
              perSecond: 1000
              burst: 10000
        """;

    private const int CallsAtOnce = 16;

    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(3);

    public override IReadOnlyList<string> RowIds =>
    [
        "supervision-memory-empty", "supervision-memory", "supervision-memory-sidecar", "supervision-memory-sidecar-rebuilt",
        "supervision-idle-cpu", "supervision-deaths", "supervision-deaths-raised", "supervision-deaths-cpu",
    ];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        var pods = bench.Options.Pods;
        var sidecars = pods * SidecarPods.Names.Count;
        var node = string.Create(CultureInfo.InvariantCulture, $"{pods:#,0} pods of {SidecarPods.Names.Count} sidecars");
        await using var backend = await FakeNode.StartAsync(bench.Workspace.NewPath("node.sock"));
        var state = bench.Workspace.NewPath("state");

        var (crishim, socket) = await ServeAsync(bench, backend, state, supervision: "", cancellation);
        await Task.Delay(bench.Options.Settle, cancellation);
        var empty = ProcessReadings.ResidentMegabytes(crishim.ProcessIds);
        var emptyCpu = await IdleAsync(bench, crishim, cancellation);

        await FillAsync(socket, pods, cancellation);
        await Task.Delay(bench.Options.Settle, cancellation);
        var full = ProcessReadings.ResidentMegabytes(crishim.ProcessIds);
        var fullCpu = await IdleAsync(bench, crishim, cancellation);
        var (limited, _) = await DieAsync(backend, crishim, SidecarPods.Names[0], pods, cancellation);
        bench.Workspace.End(crishim);

        // What the next crishim holds is what it needs: of the first, a part is what the calls left behind.
        (crishim, socket) = await ServeAsync(bench, backend, state, RaisedLimit, cancellation);
        await Task.Delay(bench.Options.Settle, cancellation);
        var rebuilt = ProcessReadings.ResidentMegabytes(crishim.ProcessIds);
        var bare = await FloorAsync(backend, pods, cancellation);
        var (raised, cpu) = await DieAsync(backend, crishim, SidecarPods.Names[1], pods, cancellation);
        bench.Workspace.End(crishim);

        var least = Figure.Of(Math.Max(0, pods - Burst) / PerSecond);
        var deaths = string.Create(CultureInfo.InvariantCulture, $"{pods:#,0} deaths at once until all run");
        return
        [
            Crishim("supervision-memory-empty", "Memory, empty node, resident", "MB", empty),
            Crishim("supervision-memory", $"Memory, {node}, resident", "MB", full),
            Crishim("supervision-memory-sidecar", "Memory for each sidecar", "kB", (full - empty) * 1e3 / sidecars),
            Crishim("supervision-memory-sidecar-rebuilt", "Memory for each sidecar, after a restart of crishim", "kB", (rebuilt - empty) * 1e3 / sidecars),
            Crishim("supervision-idle-cpu", $"CPU in {bench.Options.SupervisedIdle.TotalSeconds} s idle, {node}", "ms", fullCpu) with
            {
                Ratio = new Ratio("to an empty node", Figure.Of(fullCpu / emptyCpu)),
            },
            WithRatio(
                Crishim("supervision-deaths", $"{deaths}, node limit {PerSecond}/s after {Burst}", "s", limited) with { Direct = least }, "to the limit's least"),
            WithRatio(Crishim("supervision-deaths-raised", $"{deaths}, limit raised", "s", raised) with { Direct = Figure.Of(bare) }, "to bare"),
            Crishim("supervision-deaths-cpu", $"CPU a restart, {pods:#,0} at once", "µs", cpu.TotalMicroseconds / pods),
        ];
    }

    private static Row Crishim(string id, string title, string unit, double value) => new(id, title, unit) { CriShim = Figure.Of(value) };

    private static Row WithRatio(Row row, string of) => row with { Ratio = new Ratio(of, Figure.Quotient(row.CriShim, row.Direct)) };

    /// <summary>A crishim that knows the node: it has listed it and is told of exits.</summary>
    private async Task<(StartedProcess Process, string SocketPath)> ServeAsync(
        Bench bench, FakeNode backend, string state, string supervision, CancellationToken cancellation)
    {
        var socket = bench.Workspace.NewPath("crishim.sock");
        var listed = backend.Listed;
        var process = CriShimLaunch.Start(executable, bench.Workspace, socket, backend.SocketPath, supervision, state);
        await WaitAsync("crishim lists the node", () =>
        {
            process.ThrowIfEnded();
            return backend.Listed > listed && File.Exists(socket);
        }, cancellation);
        return (process, socket);
    }

    private static async Task<double> IdleAsync(Bench bench, StartedProcess crishim, CancellationToken cancellation)
    {
        var before = ProcessReadings.CpuTime(crishim.ProcessIds);
        await Task.Delay(bench.Options.SupervisedIdle, cancellation);
        return (ProcessReadings.CpuTime(crishim.ProcessIds) - before).TotalMilliseconds;
    }

    private static async Task FillAsync(string socket, int pods, CancellationToken cancellation)
    {
        using var caller = new CriCaller(socket);
        var options = new ParallelOptions { MaxDegreeOfParallelism = CallsAtOnce, CancellationToken = cancellation };
        await Parallel.ForEachAsync(Enumerable.Range(0, pods), options, async (pod, stop) =>
        {
            var sandbox = SidecarPods.Sandbox(pod);
            var run = await caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = sandbox }, cancellationToken: stop);
            foreach (var name in SidecarPods.Names)
            {
                await RunAsync(caller, SidecarPods.Create(run.PodSandboxId, sandbox, name), stop);
            }
        });
    }

    /// <summary>As many containers made by a caller on the bare socket, in a sandbox that is not supervised.</summary>
    private static async Task<double> FloorAsync(FakeNode backend, int containers, CancellationToken cancellation)
    {
        using var caller = new CriCaller(backend.SocketPath);
        var sandbox = SidecarPods.Sandbox(int.MaxValue);
        sandbox.Annotations.Clear();
        var run = await caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = sandbox }, cancellationToken: cancellation);
        var began = Stopwatch.GetTimestamp();
        var options = new ParallelOptions { MaxDegreeOfParallelism = CallsAtOnce, CancellationToken = cancellation };
        await Parallel.ForEachAsync(Enumerable.Range(0, containers), options, async (index, stop) =>
            await RunAsync(caller, SidecarPods.Create(run.PodSandboxId, sandbox, string.Create(CultureInfo.InvariantCulture, $"floor-{index}")), stop));
        return Stopwatch.GetElapsedTime(began).TotalSeconds;
    }

    private static async Task RunAsync(CriCaller caller, CreateContainerRequest request, CancellationToken cancellation)
    {
        var created = await caller.Runtime.CreateContainerAsync(request, cancellationToken: cancellation);
        await caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId }, cancellationToken: cancellation);
    }

    /// <summary>Kills one sidecar of each pod. Gives the seconds until the last runs again, and what that cost crishim.</summary>
    private static async Task<(double Seconds, TimeSpan Cpu)> DieAsync(
        FakeNode backend, StartedProcess crishim, string name, int pods, CancellationToken cancellation)
    {
        var started = backend.Started;
        var cpu = ProcessReadings.CpuTime(crishim.ProcessIds);
        var began = Stopwatch.GetTimestamp();
        backend.Kill(backend.Running(name));
        await WaitAsync($"all {name} run again", () =>
        {
            crishim.ThrowIfEnded();
            return backend.Started - started >= pods;
        }, cancellation);
        var took = Stopwatch.GetElapsedTime(began);
        await Task.Delay(TimeSpan.FromSeconds(1), cancellation);
        var spent = ProcessReadings.CpuTime(crishim.ProcessIds) - cpu;
        return backend.Running(name).Count == pods && backend.Started - started == pods
            ? (took.TotalSeconds, spent)
            : throw new MeasurementException($"{backend.Running(name).Count} instances of {name} run in {pods} pods, after {backend.Started - started} starts");
    }

    private static async Task WaitAsync(string what, Func<bool> holds, CancellationToken cancellation)
    {
        var began = Stopwatch.GetTimestamp();
        while (!holds())
        {
            if (Stopwatch.GetElapsedTime(began) > Deadline)
            {
                throw new MeasurementException($"within {Deadline.TotalSeconds} s it did not happen that {what}");
            }

            await Task.Delay(5, cancellation);
        }
    }
}
