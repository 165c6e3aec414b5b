using System.Diagnostics;
using CriShim.Benchmarks.Report;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using CriCaller = CriShim.TestSupport.Lab.CriCaller;

namespace CriShim.Benchmarks.Measures;

/// <summary>
/// StopPodSandbox of a running pod, on a real containerd, beside what the same stops take on the bare socket when their caller knows the
/// order: what is left is crishim's own.
/// </summary>
/// <param name="executable">crishim.</param>
internal sealed class TeardownMeasure(string executable) : Measure("teardown")
{
    private const double MostAddedMs = 50;
    private const int UncountedRounds = 2;
    private const int Grace = 30;

    // It says when it is there: a first process that has no handler yet ignores SIGTERM.
    private const string Script = "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done";
    private static readonly string[] Sidecars = ["log", "proxy"];
    private static readonly string[] Mains = ["app", "web"];

    public override IReadOnlyList<string> RowIds => ["teardown-p50", "teardown-p95"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        await using var node = await RealNode.StartAsync(bench, executable, "", cancellation);
        var (floor, ordered) = (new List<double>(), new List<double>());
        for (var round = 0; round < bench.Options.Teardowns + UncountedRounds; round++)
        {
            // Each goes first every other time.
            foreach (var isBare in round % 2 == 0 ? new[] { true, false } : [false, true])
            {
                var took = await (isBare ? FloorAsync(node, round, cancellation) : OrderedAsync(node, round, cancellation));
                if (round >= UncountedRounds)
                {
                    (isBare ? floor : ordered).Add(took.TotalMilliseconds);
                }

                node.Crishim.ThrowIfEnded();
            }
        }

        var title = $"StopPodSandbox of a running pod, containerd {node.Containerd.Version}";
        var row = RealNode.Compare("teardown-p50", $"{title}, p50", floor, ordered, 50);
        return
        [
            row with { Aim = Aim.AtMost($"at most {MostAddedMs} ms added", row.AddedByCriShim, MostAddedMs) },
            RealNode.Compare("teardown-p95", $"{title}, p95", floor, ordered, 95),
        ];
    }

    private static async Task<TimeSpan> OrderedAsync(RealNode node, int round, CancellationToken cancellation)
    {
        var recipe = node.Recipe($"ordered-{round}");
        recipe.Annotations["crishim.io/sidecars"] = """[{"name":"log","kind":"native"},{"name":"proxy","kind":"native"}]""";
        await using var pod = await RunningPod.StartAsync(node.Through, recipe);
        _ = await RunAsync(pod);
        var began = Stopwatch.GetTimestamp();
        await StopSandboxAsync(node.Through, pod, cancellation);
        return Stopwatch.GetElapsedTime(began);
    }

    private static async Task<TimeSpan> FloorAsync(RealNode node, int round, CancellationToken cancellation)
    {
        await using var pod = await RunningPod.StartAsync(node.Bare, node.Recipe($"floor-{round}"));
        var ids = await RunAsync(pod);
        var began = Stopwatch.GetTimestamp();
        await Task.WhenAll(Mains.Select(StopAsync));
        foreach (var sidecar in Sidecars.Reverse())
        {
            await StopAsync(sidecar);
        }

        await StopSandboxAsync(node.Bare, pod, cancellation);
        return Stopwatch.GetElapsedTime(began);

        async Task StopAsync(string name) => await node.Bare.Runtime.StopContainerAsync(
            new StopContainerRequest { ContainerId = ids[name], Timeout = Grace }, cancellationToken: cancellation);
    }

    private static async Task StopSandboxAsync(CriCaller caller, RunningPod pod, CancellationToken cancellation) =>
        await caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = pod.SandboxId }, cancellationToken: cancellation);

    /// <summary>Ids by name, once all of them end on SIGTERM.</summary>
    private static async Task<Dictionary<string, string>> RunAsync(RunningPod pod)
    {
        var ids = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var name in Sidecars.Concat(Mains))
        {
            ids[name] = await pod.RunAsync(pod.Recipe.Container(name, Script));
        }

        foreach (var name in ids.Keys)
        {
            var log = pod.Recipe.LogFile(name);
            await Condition.BecomesTrueAsync($"{name} is up", RealNode.Deadline, () =>
                File.Exists(log) && File.ReadAllText(log).Contains(" up\n", StringComparison.Ordinal));
        }

        return ids;
    }
}
