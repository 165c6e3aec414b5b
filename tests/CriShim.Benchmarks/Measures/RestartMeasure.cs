using System.Diagnostics;
using System.Text.Json;
using CriShim.Benchmarks.Report;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Tmds.Linux;
using CriCaller = CriShim.TestSupport.Lab.CriCaller;

namespace CriShim.Benchmarks.Measures;

/// <summary>
/// From a sidecar's exit to the next instance RUNNING, on a real containerd, beside the least it can take: CreateContainer and
/// StartContainer of the same container on the bare socket.
/// </summary>
/// <remarks>
/// A round is one of each, beginning with another each time: the floor; a death that nobody looks at, timed by containerd's own
/// clock (FinishedAt of the dead, StartedAt of the next); and one that a caller waits for with list after list through crishim. The
/// last is a measurement of its own because these lists take time from what they look at.
/// </remarks>
/// <param name="executable">crishim.</param>
internal sealed class RestartMeasure(string executable) : Measure("restart")
{
    private const double MostTimesFloor = 1.25;
    private const int UncountedRounds = 2;
    private const string Sidecar = "proxy";
    private const string Script = "exec sleep 1000000";

    // Deaths come one after another here, so without this the back-off is what would be measured.
    private const string NoBackoff = """
          restart:
            errorExit:
              firstDelay: 0s
              initialDelay: 1ms
              maxDelay: 1ms
            nodeLimit:
              perSecond: 1000
              burst: 10000
        """;

    private static readonly TimeSpan UnwatchedAtLeast = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(150);

    // Often enough to tell when, seldom enough not to slow what is looked at: a list takes about a millisecond of two cores.
    private static readonly TimeSpan ListInterval = TimeSpan.FromMilliseconds(5);

    public override IReadOnlyList<string> RowIds => ["restart-p50", "restart-p95", "restart-listed-p50", "restart-listed-p95"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        await using var node = await RealNode.StartAsync(bench, executable, NoBackoff, cancellation);
        var (bare, through) = (node.Bare, node.Through);
        var recipe = node.Recipe("restarts");
        recipe.Annotations["crishim.io/sidecars"] = $$"""[{"name":"{{Sidecar}}","kind":"native"}]""";
        await using (var pod = await RunningPod.StartAsync(through, recipe))
        {
            await pod.RunAsync(recipe.Container(Sidecar, Script));
            var deaths = new Deaths(pod, bare, through, cancellation);
            var (floor, unwatched, listed) = (new List<double>(), new List<double>(), new List<double>());
            Func<int, bool, Task>[] kinds =
            [
                async (round, counted) => Add(floor, counted, await FloorAsync(pod, bare, round, cancellation)),
                async (_, counted) => Add(unwatched, counted, await deaths.UnwatchedAsync()),
                async (_, counted) => Add(listed, counted, await deaths.ListedAsync()),
            ];
            for (var round = 0; round < bench.Options.Deaths + UncountedRounds; round++)
            {
                for (var index = 0; index < kinds.Length; index++)
                {
                    await kinds[(round + index) % kinds.Length](round, round >= UncountedRounds);
                    node.Crishim.ThrowIfEnded();
                    await Task.Delay(Settle, cancellation);
                }
            }

            var title = $"Sidecar's exit to the next RUNNING, containerd {node.Containerd.Version}";
            var row = RealNode.Compare("restart-p50", $"{title}, p50", floor, unwatched, 50);
            return
            [
                row with { Aim = Aim.AtMost($"at most {MostTimesFloor} times bare", row.Ratio!.CriShim, MostTimesFloor) },
                RealNode.Compare("restart-p95", $"{title}, p95", floor, unwatched, 95),
                RealNode.Compare("restart-listed-p50", $"{title}, as a caller lists it, p50", floor, listed, 50),
                RealNode.Compare("restart-listed-p95", $"{title}, as a caller lists it, p95", floor, listed, 95),
            ];
        }
    }

    private static void Add(List<double> times, bool counted, TimeSpan time)
    {
        if (counted)
        {
            times.Add(time.TotalMilliseconds);
        }
    }

    private static async Task<TimeSpan> FloorAsync(RunningPod pod, CriCaller bare, int round, CancellationToken cancellation)
    {
        var create = pod.Recipe.Create(pod.SandboxId, pod.Recipe.Container("floor", Script, (uint)round));
        var began = Stopwatch.GetTimestamp();
        var created = await bare.Runtime.CreateContainerAsync(create, cancellationToken: cancellation);
        await bare.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId }, cancellationToken: cancellation);
        var took = Stopwatch.GetElapsedTime(began);
        await bare.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = created.ContainerId }, cancellationToken: cancellation);
        await bare.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = created.ContainerId }, cancellationToken: cancellation);
        return took;
    }

    /// <summary>Kills the sidecar's process and waits for the next instance.</summary>
    private sealed class Deaths(RunningPod pod, CriCaller bare, CriCaller through, CancellationToken cancellation)
    {
        public async Task<TimeSpan> UnwatchedAsync()
        {
            var old = await CurrentAsync();
            await KillAsync(old);
            await Task.Delay(UnwatchedAtLeast, cancellation);
            var next = await NextAsync(bare, old);
            var started = (await StatusAsync(next)).Status.StartedAt;
            return FromNanoseconds(started - await FinishedAtAsync(old));
        }

        public async Task<TimeSpan> ListedAsync()
        {
            var old = await CurrentAsync();
            await KillAsync(old);
            _ = await NextAsync(through, old);
            // containerd's clock and this one are the same machine's.
            var seen = (TimeProvider.System.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks * 100;
            return FromNanoseconds(seen - await FinishedAtAsync(old));
        }

        private async Task<string> CurrentAsync() => (await RunningAsync(bare)).Single();

        private async Task KillAsync(string containerId)
        {
            using var info = JsonDocument.Parse((await StatusAsync(containerId)).Info["info"]);
            if (LibC.kill(info.RootElement.GetProperty("pid").GetInt32(), LibC.SIGKILL) != 0)
            {
                throw new MeasurementException($"the sidecar's process in {containerId} can't be killed");
            }
        }

        private async Task<string> NextAsync(CriCaller caller, string old)
        {
            var began = Stopwatch.GetTimestamp();
            while (true)
            {
                if ((await RunningAsync(caller)).FirstOrDefault(id => id != old) is { } next)
                {
                    return next;
                }

                if (Stopwatch.GetElapsedTime(began) > RealNode.Deadline)
                {
                    throw new MeasurementException($"the sidecar {old} was killed and does not run again after {RealNode.Deadline.TotalSeconds} s");
                }

                await Task.Delay(ListInterval, cancellation);
            }
        }

        private async Task<IEnumerable<string>> RunningAsync(CriCaller caller)
        {
            var filter = new ContainerFilter { PodSandboxId = pod.SandboxId, LabelSelector = { ["io.kubernetes.container.name"] = Sidecar } };
            var list = await caller.Runtime.ListContainersAsync(new ListContainersRequest { Filter = filter }, cancellationToken: cancellation);
            return list.Containers.Where(container => container.State == ContainerState.ContainerRunning).Select(container => container.Id);
        }

        /// <summary>containerd publishes an exit before its own CRI has taken note of it, so the next instance can run before that.</summary>
        private async Task<long> FinishedAtAsync(string containerId)
        {
            var began = Stopwatch.GetTimestamp();
            while (true)
            {
                if ((await StatusAsync(containerId)).Status is { FinishedAt: > 0 and var finishedAt })
                {
                    return finishedAt;
                }

                if (Stopwatch.GetElapsedTime(began) > RealNode.Deadline)
                {
                    throw new MeasurementException($"containerd does not note the end of {containerId}");
                }

                await Task.Delay(ListInterval, cancellation);
            }
        }

        private async Task<ContainerStatusResponse> StatusAsync(string containerId) => await bare.Runtime.ContainerStatusAsync(
            new ContainerStatusRequest { ContainerId = containerId, Verbose = true }, cancellationToken: cancellation);

        private static TimeSpan FromNanoseconds(long nanoseconds) => TimeSpan.FromTicks(nanoseconds / 100);
    }
}
