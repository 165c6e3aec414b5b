using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>A container that containerd had.</summary>
/// <param name="SandboxId">Its sandbox.</param>
/// <param name="Name">Its name.</param>
/// <param name="Attempt">Its attempt.</param>
/// <param name="Id">Its id.</param>
/// <param name="HasRun">It was seen running.</param>
internal sealed record SeenInstance(string SandboxId, string Name, uint Attempt, string Id, bool HasRun);

/// <summary>Lists at containerd's own socket all the time: which attempts there were, and whether two of a name ran at a time.</summary>
internal sealed class BackendWatch : IAsyncDisposable
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(100), CallTime = TimeSpan.FromSeconds(3);

    private readonly CriCaller _bare;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<string, SeenInstance> _seen = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Task _watching;

    public BackendWatch(string socketPath)
    {
        _bare = new CriCaller(socketPath);
        _watching = Task.Run(WatchAsync);
    }

    public IReadOnlyList<string> Violations => [.. _violations];

    public ICollection<SeenInstance> Seen => _seen.Values;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _bare.Dispose();
        _stop.Dispose();
    }

    /// <summary>No attempt was left out in a lineage, and none ran twice.</summary>
    public IEnumerable<string> Faults(Func<string, bool> isOurs)
    {
        foreach (IGrouping<(string, string), SeenInstance> lineage in Seen.Where(one => isOurs(one.SandboxId)).GroupBy(one => (one.SandboxId, one.Name)))
        {
            uint[] attempts = [.. lineage.Select(one => one.Attempt).Distinct().Order()];
            if (!attempts.SequenceEqual(Enumerable.Range(0, attempts.Length).Select(attempt => (uint)attempt)))
            {
                yield return $"{lineage.First().Name} in {lineage.First().SandboxId[..12]} had the attempts {string.Join(' ', attempts)}";
            }

            foreach (IGrouping<uint, SeenInstance> attempt in lineage.Where(one => one.HasRun).GroupBy(one => one.Attempt).Where(ran => ran.Count() > 1))
            {
                yield return $"attempt {attempt.Key} of {attempt.First().Name} in {attempt.First().SandboxId[..12]} ran as "
                    + string.Join(" and ", attempt.Select(one => one.Id[..12]));
            }
        }
    }

    private async Task WatchAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                ListContainersResponse list = await _bare.Runtime.ListContainersAsync(
                    new ListContainersRequest(), deadline: TimeProvider.System.GetUtcNow().UtcDateTime + CallTime);
                foreach (Container one in list.Containers)
                {
                    var now = new SeenInstance(
                        one.PodSandboxId, one.Metadata.Name, one.Metadata.Attempt, one.Id, one.State == ContainerState.ContainerRunning);
                    _ = _seen.AddOrUpdate(one.Id, now, (_, before) => before with { HasRun = before.HasRun || now.HasRun });
                }

                foreach (IGrouping<(string, string), Container> two in list.Containers.Where(one => one.State == ContainerState.ContainerRunning)
                    .GroupBy(one => (one.PodSandboxId, one.Metadata.Name)).Where(running => running.Count() > 1))
                {
                    _violations.Enqueue($"containerd has {two.First().Metadata.Name} running as {string.Join(" and ", two.Select(one => $"{one.Metadata.Attempt}"))}");
                }
            }
            catch (RpcException)
            {
                // containerd is killed or stopped.
                await Task.Yield();
            }

            await Task.Delay(Period);
        }
    }
}
