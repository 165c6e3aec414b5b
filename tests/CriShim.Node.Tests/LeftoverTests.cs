using System.Collections.Concurrent;
using System.Diagnostics;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;

namespace CriShim.Node.Tests;

/// <summary>What a soak can't see from outside: timers.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class LeftoverTests
{
    [Fact]
    public async Task Pods_ThatComeCrashAndGo_LeaveNoTimerAndNoFile()
    {
        int pods = Proof.Pick(40, 2_000);
        var time = new CountingTime();
        await using NodeBed bed = await NodeBed.StartAsync(time);
        await ChurnAsync(bed, "first");
        await Condition.BecomesTrueAsync("the first is gone", NodeBed.Patience, () => !Directory.Exists(Path.Combine(bed.StateDirectory, "first")));
        int before = time.Timers;

        for (int i = 0; i < pods; i++)
        {
            await ChurnAsync(bed, $"pod-{i}");
        }

        await Condition.BecomesTrueAsync("folders are as many as before", NodeBed.Patience, () => Directory.GetDirectories(bed.StateDirectory).Length == 1);
        try
        {
            await Condition.BecomesTrueAsync($"timers are the {before} of before", NodeBed.Patience, () => time.Timers <= before);
        }
        catch (TimeoutException failure)
        {
            throw new Xunit.Sdk.XunitException($"{failure.Message} They are {time.Timers}:\n{time.Describe()}");
        }

        Proof.Record("Soak", "timers before, and after pods that came, crashed and went", $"{before}, {time.Timers} ({pods:n0} pods)");
    }

    private static async Task ChurnAsync(NodeBed bed, string sandbox)
    {
        bed.RunSandbox(sandbox);
        string id = await bed.RunAsync(NodeBed.Create(sandbox: sandbox));
        bed.Backend.Exit(id, 1);
        await Condition.BecomesTrueAsync("its sidecar runs again", NodeBed.Patience, () => bed.Backend.Instances.Any(
            one => one.Request.PodSandboxId == sandbox && one.State == ContainerState.ContainerRunning && one.Request.Config.Metadata.Attempt == 1));
        await bed.Node.BeforeStopSandboxAsync(sandbox, DateTime.MaxValue, CancellationToken.None);
        _ = bed.Backend.StopSandbox(new StopPodSandboxRequest { PodSandboxId = sandbox });
        bed.Node.OnStopSandboxEnded(sandbox, true);
        bed.Backend.RemoveSandbox(sandbox);
        bed.Node.OnPodSandboxRemoved(sandbox);
    }

    /// <summary>Counts the timers that are there.</summary>
    private sealed class CountingTime : TimeProvider
    {
        private readonly ConcurrentDictionary<Counted, string> _timers = new();

        public int Timers => _timers.Count;

        /// <summary>Where those that are there were made, the most frequent first.</summary>
        public string Describe() => string.Join(
            "\n\n", _timers.Values.GroupBy(place => place).OrderByDescending(places => places.Count()).Take(5).Select(places => $"{places.Count()} by\n{places.Key}"));

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            var counted = new Counted(base.CreateTimer(callback, state, dueTime, period), this);
            _timers[counted] = new StackTrace().ToString();
            return counted;
        }

        private sealed class Counted(ITimer timer, CountingTime time) : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(dueTime, period);

            public void Dispose()
            {
                timer.Dispose();
                _ = time._timers.TryRemove(this, out _);
            }

            public ValueTask DisposeAsync()
            {
                _ = time._timers.TryRemove(this, out _);
                return timer.DisposeAsync();
            }
        }
    }
}
