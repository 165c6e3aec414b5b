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

        await Condition.BecomesTrueAsync(
            "timers and folders are as many as before", NodeBed.Patience,
            () => time.Timers <= before && Directory.GetDirectories(bed.StateDirectory).Length == 1);
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
        private int _timers;

        public int Timers => Volatile.Read(ref _timers);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _ = Interlocked.Increment(ref _timers);
            return new Counted(base.CreateTimer(callback, state, dueTime, period), this);
        }

        private sealed class Counted(ITimer timer, CountingTime time) : ITimer
        {
            private int _isGone;

            public bool Change(TimeSpan dueTime, TimeSpan period) => timer.Change(dueTime, period);

            public void Dispose()
            {
                timer.Dispose();
                Count();
            }

            public ValueTask DisposeAsync()
            {
                Count();
                return timer.DisposeAsync();
            }

            private void Count()
            {
                if (Interlocked.Exchange(ref _isGone, 1) == 0)
                {
                    _ = Interlocked.Decrement(ref time._timers);
                }
            }
        }
    }
}
