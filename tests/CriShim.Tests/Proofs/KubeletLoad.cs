using System.Collections.Concurrent;
using System.Diagnostics;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.Tests.Proofs;

/// <summary>
/// A kubelet's calls at its rates: all pods and containers listed every second (the generic PLEG), Status and Version every 5 s, statistics
/// every 10 s. Statuses, which a kubelet asks for on change, come 50 times a second, so that there is enough to measure.
/// </summary>
internal sealed class KubeletLoad : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly CriCaller _caller;
    private readonly Task _running;
    private ConcurrentQueue<double> _latencies = new();
    private volatile string[] _known = [];

    public KubeletLoad(string socketPath)
    {
        _caller = new CriCaller(socketPath);
        _running = Task.WhenAll(
            EveryAsync(TimeSpan.FromSeconds(1), RelistAsync),
            EveryAsync(TimeSpan.FromSeconds(5), async () =>
            {
                await TimedAsync(() => _caller.Runtime.StatusAsync(new StatusRequest(), cancellationToken: _stop.Token));
                await TimedAsync(() => _caller.Runtime.VersionAsync(new VersionRequest(), cancellationToken: _stop.Token));
            }),
            EveryAsync(TimeSpan.FromSeconds(10), async () =>
            {
                await TimedAsync(() => _caller.Runtime.ListContainerStatsAsync(new ListContainerStatsRequest(), cancellationToken: _stop.Token));
                await TimedAsync(() => _caller.Runtime.ListPodSandboxStatsAsync(new ListPodSandboxStatsRequest(), cancellationToken: _stop.Token));
            }),
            EveryAsync(TimeSpan.FromMilliseconds(20), async () =>
            {
                if (_known is { Length: > 0 } ids)
                {
                    string id = ids[Random.Shared.Next(ids.Length)];
                    await TimedAsync(() => _caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id }, cancellationToken: _stop.Token));
                }
            }));
    }

    /// <summary>Calls that failed otherwise than by the death of what they asked for.</summary>
    public ConcurrentQueue<string> Failures { get; } = new();

    /// <summary>Of the calls since the last time, in ms: how many there were, their median, and what 99 % of them took at most.</summary>
    public (int Calls, double Median, double P99) Take()
    {
        double[] taken = [.. Interlocked.Exchange(ref _latencies, new ConcurrentQueue<double>())];
        Array.Sort(taken);
        return taken.Length == 0 ? (0, 0, 0) : (taken.Length, taken[taken.Length / 2], taken[(int)(taken.Length * 0.99)]);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _caller.Dispose();
        _stop.Dispose();
    }

    private async Task RelistAsync()
    {
        await TimedAsync(() => _caller.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest(), cancellationToken: _stop.Token));
        if (await TimedAsync(() => _caller.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: _stop.Token)) is { } list)
        {
            _known = [.. list.Containers.Select(container => container.Id)];
        }
    }

    private async Task<T?> TimedAsync<T>(Func<AsyncUnaryCall<T>> call)
        where T : class
    {
        long began = Stopwatch.GetTimestamp();
        T? answer = null;
        try
        {
            answer = await call();
        }
        catch (RpcException failure) when (failure.StatusCode == StatusCode.NotFound || _stop.IsCancellationRequested)
        {
            // It has been replaced and removed since the list.
        }
        catch (RpcException failure)
        {
            Failures.Enqueue($"{typeof(T).Name}: {failure.Status}");
        }

        _latencies.Enqueue(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
        return answer;
    }

    private async Task EveryAsync(TimeSpan period, Func<Task> act)
    {
        using var timer = new PeriodicTimer(period);
        do
        {
            await act();
        }
        while (await timer.WaitForNextTickAsync(_stop.Token));
    }
}
