using System.Collections.Concurrent;
using System.Diagnostics;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Proofs;

namespace CriShim.Tests.Proofs;

/// <summary>A node five times as full as a kubelet allows by default, and the worst moments of it.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class ScaleTests
{
    private const string Subject = "Scale, simulated";
    private const int Pods = 500;
    private const int Containers = 5000;
    private const int Deaths = 2 * Pods;
    private const int Burst = 20;

    /// <summary>Of the process as built for a node, with five times its share of pods; the other one has the runtime's own memory beside it.</summary>
    private const double MostMegabytes = 400;

    private static readonly int PerSecond = Proof.Pick(100, 10);

    [Fact]
    public async Task FullNode_DiesAndStorms_EverySidecarRunsAgainOnceAndTheKubeletsCallsGoThrough()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync(
            $"supervision: {{restart: {{nodeLimit: {{perSecond: {PerSecond}, burst: {Burst}}}}}}}");
        var pods = new ConcurrentBag<string>();
        await Parallel.ForEachAsync(
            Enumerable.Range(0, Pods), new ParallelOptions { MaxDegreeOfParallelism = 16 },
            async (pod, stop) => pods.Add(await bed.RunPodAsync(pod, stop)));
        bed.Node.Fill(Containers - bed.Node.Containers);
        int process = bed.Crishim.ProcessId;
        await using var kubelet = new KubeletLoad(bed.Crishim.ListenPath);

        // Idle.
        await bed.BecomesTrueAsync("the kubelet is at work", () => kubelet.Take().Calls > 0);
        TimeSpan cpu = ProcessFigures.Cpu(process);
        TimeSpan idle = Proof.Pick(TimeSpan.FromSeconds(4), TimeSpan.FromMinutes(1));
        await Task.Delay(idle);
        (int calls, double median, double p99) quiet = kubelet.Take();
        double idleCpu = (ProcessFigures.Cpu(process) - cpu).TotalMilliseconds / idle.TotalSeconds;
        double resident = ProcessFigures.ResidentMegabytes(process);

        // A list of all, as it is.
        ListContainersResponse all = await bed.Caller.Runtime.ListContainersAsync(new ListContainersRequest());
        Assert.Equal(Containers, all.Containers.Select(container => container.Id).Distinct().Count());

        // A thousand deaths at once, pod by pod: whoever took them as they come would restart both of a pod before the next pod's.
        int started = bed.Node.Started;
        _ = kubelet.Take();
        cpu = ProcessFigures.Cpu(process);
        long began = Stopwatch.GetTimestamp();
        bed.Node.Kill([.. pods.SelectMany(pod => bed.Node.RunningIn(pod).Take(2))]);
        await bed.BecomesTrueAsync("all that died run again", () => bed.Node.Started - started >= Deaths);
        TimeSpan took = Stopwatch.GetElapsedTime(began);
        (int calls, double median, double p99) dying = kubelet.Take();
        double deathCpu = (ProcessFigures.Cpu(process) - cpu).TotalMilliseconds / Deaths;
        Assert.All(SidecarPods.Names, name => Assert.Equal(Pods, bed.Node.Running(name).Count));
        Assert.True(took.TotalSeconds >= 0.9 * (Deaths - Burst) / PerSecond, $"{Deaths} restarts in {took.TotalSeconds:0.0} s are more than the node's limit");
        int untilMost = StartsUntilPodsHadOne([.. bed.Node.StartedSandboxes.Skip(started)], Pods * 9 / 10);
        Assert.True(untilMost <= Pods * 3 / 2, $"only after {untilMost} restarts had nine pods of ten their first; all took {took.TotalSeconds:0.0} s");

        // A storm of events that mean nothing, and one behind it that does.
        int events = Proof.Pick(20_000, 1_000_000);
        bed.Node.Storm(events);
        string last = bed.Node.StartedSandboxes.First();
        await bed.RestartsADeadOneAsync(last);
        (int calls, double median, double p99) storming = kubelet.Take();
        Assert.Equal(Deaths + 1, bed.Node.Started - started);

        Assert.Empty(kubelet.Failures);
        double peak = ProcessFigures.PeakMegabytes(process);
        if (Environment.GetEnvironmentVariable("CRISHIM_BIN") is { Length: > 0 })
        {
            Assert.InRange(peak, 1, MostMegabytes);
        }

        Proof.Record(Subject, $"memory with {Pods:n0} pods, {3 * Pods:n0} sidecars, {Containers:n0} containers; at most", $"{resident:0.0} MB; {peak:0.0} MB");
        Proof.Record(Subject, "CPU under the kubelet's calls, a second", $"{idleCpu:0.0} ms");
        Proof.Record(Subject, "the kubelet's calls while nothing happens: median, 99 %", $"{quiet.median:0.00} ms, {quiet.p99:0.00} ms of {quiet.calls:n0}");
        Proof.Record(
            Subject, $"{Deaths:n0} deaths at once, {PerSecond}/s after {Burst}: until all run; CPU each",
            $"{took.TotalSeconds:0.0} s (the limit's least {(Deaths - Burst) / (double)PerSecond:0.0} s); {deathCpu:0.00} ms");
        Proof.Record(Subject, $"restarts until nine of ten pods of {Pods:n0} had their first of two", $"{untilMost:n0}");
        Proof.Record(
            Subject, "the kubelet's calls meanwhile: median, 99 %; to idle",
            $"{dying.median:0.00} ms, {dying.p99:0.00} ms of {dying.calls:n0}; {dying.p99 / quiet.p99:0.0} times");
        Proof.Record(
            Subject, $"the kubelet's calls in a storm of {events:n0} events: median, 99 %; to idle",
            $"{storming.median:0.00} ms, {storming.p99:0.00} ms of {storming.calls:n0}; {storming.p99 / quiet.p99:0.0} times");
    }

    private static int StartsUntilPodsHadOne(string[] starts, int pods)
    {
        var seen = new HashSet<string>();
        for (int i = 0; i < starts.Length; i++)
        {
            if (seen.Add(starts[i]) && seen.Count == pods)
            {
                return i + 1;
            }
        }

        return int.MaxValue;
    }
}
