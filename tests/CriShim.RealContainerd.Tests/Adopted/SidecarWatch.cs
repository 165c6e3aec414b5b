using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>
/// Lists through crishim, and asks for statuses, all the time, as a kubelet would that polls without a pause: what a kubelet must never see of
/// a sidecar is a violation at whatever moment it is seen.
/// </summary>
internal sealed class SidecarWatch : IAsyncDisposable
{
    private readonly AdoptedRun _run;
    private readonly CriCaller _caller;
    private readonly bool _mayFail;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Dictionary<string, ContainerStatus> _ended = new(StringComparer.Ordinal);
    private readonly Task _watching;

    private SidecarWatch(AdoptedRun run, bool mayFail)
    {
        _run = run;
        _mayFail = mayFail;
        _caller = new CriCaller(run.Caller.SocketPath);
        _watching = Task.Run(WatchAsync);
    }

    /// <param name="run">Its sidecar.</param>
    /// <param name="mayFail">It is a death's true code that is to be shown.</param>
    public static SidecarWatch Start(AdoptedRun run, bool mayFail = false) => new(run, mayFail);

    /// <summary>Rounds that were asked through.</summary>
    public int Rounds { get; private set; }

    /// <summary>Nothing was seen that may not be; the state as it is now was seen, too.</summary>
    public async Task CheckAsync()
    {
        int before = Rounds;
        await _run.BecomesTrueAsync("the watch has gone round", () => Task.FromResult(Rounds >= before + 2 || _watching.IsCompleted));
        if (_watching.IsFaulted)
        {
            await _watching;
        }

        if (!_violations.IsEmpty)
        {
            throw _run.Explain($"seen in {Rounds} rounds: {string.Join("; ", _violations.Take(5))}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _watching;
        _caller.Dispose();
        _stop.Dispose();
    }

    private async Task WatchAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await GoRoundAsync();
                Rounds++;
            }
            catch (RpcException failure) when (failure.StatusCode != StatusCode.NotFound)
            {
                // crishim or containerd is killed; that there is nothing to be seen meanwhile is all right.
                await Task.Yield();
            }
        }
    }

    private async Task GoRoundAsync()
    {
        Container[] listed = await _run.ListAsync(_caller);
        if (listed.Length == 0 || listed.Count(one => one.State == ContainerState.ContainerRunning) > 1)
        {
            _violations.Enqueue($"listed are {string.Join(", ", listed.Select(one => $"{one.Metadata.Attempt} {one.State}"))}");
        }

        foreach (Container one in listed)
        {
            ContainerStatus status;
            try
            {
                status = await AdoptedRun.StatusAsync(_caller, one.Id);
            }
            catch (RpcException gone) when (gone.StatusCode == StatusCode.NotFound)
            {
                // An older instance is removed when its successor runs.
                continue;
            }

            bool isNewest = one == listed[^1];
            bool isListedEnded = one.State == ContainerState.ContainerExited;
            bool isEnded = status.State == ContainerState.ContainerExited;
            if (isListedEnded && !isEnded)
            {
                _violations.Enqueue($"listed as ended, but {status}");
            }

            if (isEnded && isNewest && !_mayFail && status is not { ExitCode: 0, Reason: "Completed" }
                && (await _run.ListAsync(_caller))[^1].Id == one.Id)
            {
                _violations.Enqueue($"failed: {status}");
            }

            if (_ended.TryGetValue(one.Id, out ContainerStatus? before) && !before.Equals(status))
            {
                _violations.Enqueue($"was {before}, is {status}");
            }

            if (isEnded)
            {
                _ended[one.Id] = status;
                if (status.FinishedAt <= 0)
                {
                    _violations.Enqueue($"ended at no time: {status}");
                }
            }
        }
    }
}
