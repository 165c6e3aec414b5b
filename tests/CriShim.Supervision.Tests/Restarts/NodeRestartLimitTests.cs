using CriShim.Supervision.Restarts;
using CriShim.TestSupport.Proofs;
using CsCheck;

namespace CriShim.Supervision.Tests.Restarts;

public sealed class NodeRestartLimitTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly NodeLimitOptions Slow = new() { PerSecond = 10, Burst = 2 };

    [Fact]
    public void TakeGranted_AfterTheBurst_GivesOneATenthOfASecond()
    {
        var limit = new NodeRestartLimit(Slow, Start);
        for (int i = 0; i < 5; i++)
        {
            limit.Ask($"pod{i}", "proxy");
        }

        Assert.Equal(2, limit.TakeGranted(Start).Count);
        Assert.Empty(limit.TakeGranted(Start));
        Assert.Equal(Start.AddMilliseconds(100), limit.NextAt(Start));
        Assert.Equal(new RestartSlot("pod2", "proxy"), Assert.Single(limit.TakeGranted(Start.AddMilliseconds(100))));
    }

    [Fact]
    public void TakeGranted_AfterALongQuietTime_GivesNoMoreThanTheBurst()
    {
        var limit = new NodeRestartLimit(Slow, Start);
        for (int i = 0; i < 5; i++)
        {
            limit.Ask($"pod{i}", "proxy");
        }

        Assert.Equal(2, limit.TakeGranted(Start.AddHours(1)).Count);
    }

    [Fact]
    public void TakeGranted_BesideAPodThatAsksForMuch_TakesTurnsByPod()
    {
        var limit = new NodeRestartLimit(new NodeLimitOptions { PerSecond = 1, Burst = 1 }, Start);
        for (int i = 0; i < 100; i++)
        {
            limit.Ask("greedy", $"sidecar{i}");
        }

        limit.Ask("modest", "proxy");
        Assert.Equal("greedy", limit.TakeGranted(Start)[0].Pod);
        Assert.Equal("modest", limit.TakeGranted(Start.AddSeconds(1))[0].Pod);
    }

    [Fact]
    public void Ask_TwiceOrCancelled_CountsOnceOrNotAtAll()
    {
        var limit = new NodeRestartLimit(Slow, Start);
        limit.Ask("pod", "proxy");
        limit.Ask("pod", "proxy");
        limit.Ask("pod", "agent");
        limit.Cancel("pod", "agent");
        limit.Cancel("pod", "agent");
        Assert.Equal(1, limit.Waiting);
        Assert.Single(limit.TakeGranted(Start));
        Assert.Null(limit.NextAt(Start));
    }

    [Fact]
    public void TakeGranted_OfAnyAsks_KeepsTheRateAndStarvesNoPod()
    {
        // However others ask, a pod that waits gets its next slot before any other pod has got two.
        Gen.Int[0, 5].Array[1, 200].CheckFixed(asks =>
        {
            var limit = new NodeRestartLimit(Slow, Start);
            var passed = new Dictionary<string, Dictionary<string, int>>();
            DateTimeOffset now = Start;
            int granted = 0;
            for (int i = 0; i < asks.Length || limit.Waiting > 0; i++)
            {
                if (i < asks.Length)
                {
                    string pod = $"pod{asks[i]}";
                    limit.Ask(pod, $"sidecar{i}");
                    _ = passed.TryAdd(pod, []);
                }

                now = now.AddMilliseconds(37);
                foreach (RestartSlot slot in limit.TakeGranted(now))
                {
                    granted++;
                    _ = passed.Remove(slot.Pod);
                    foreach (Dictionary<string, int> others in passed.Values)
                    {
                        others[slot.Pod] = others.GetValueOrDefault(slot.Pod) + 1;
                        Assert.True(others[slot.Pod] <= 1, $"{slot.Pod} went twice before another");
                    }

                    if (limit.HasWaiting(slot.Pod))
                    {
                        passed[slot.Pod] = [];
                    }
                }

                Assert.True(granted <= Slow.Burst + ((now - Start).TotalSeconds * Slow.PerSecond) + 1e-6);
            }
        });
    }
}
