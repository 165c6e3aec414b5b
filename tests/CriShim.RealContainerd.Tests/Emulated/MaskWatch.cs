using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>
/// Lists through crishim, with and without filters, and asks for statuses and statistics, all the time, as a kubelet would that polls
/// without a pause. Once a sidecar was shown completed, that is all that may be seen of it, at whatever moment.
/// </summary>
internal sealed class MaskWatch : IAsyncDisposable
{
    private readonly EmulatedRun _run;
    private readonly CriCaller _caller;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<string> _violations = new();
    private readonly Task _watching;
    private ContainerStatus? _completed;

    private MaskWatch(EmulatedRun run)
    {
        _run = run;
        _caller = new CriCaller(run.Caller.SocketPath);
        _watching = Task.Run(WatchAsync);
    }

    public static MaskWatch Start(EmulatedRun run) => new(run);

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
            catch (RpcException)
            {
                // crishim or containerd is killed; that there is nothing to be seen meanwhile is all right.
                await Task.Yield();
            }
        }
    }

    private async Task GoRoundAsync()
    {
        ContainerStatus? completed = _completed;
        Container[] listed = await _run.ListAsync(_caller);
        Container[] running = await _run.ListAsync(_caller, ContainerState.ContainerRunning);
        Container[] exited = await _run.ListAsync(_caller, ContainerState.ContainerExited);
        if (completed is not null)
        {
            ExpectOne("listed", listed, completed);
            ExpectOne("listed as EXITED", exited, completed);
            if (running.Length > 0)
            {
                _violations.Enqueue($"listed as RUNNING is {running[0].Id}");
            }

            ListContainerStatsResponse stats = await _caller.Runtime.ListContainerStatsAsync(
                new ListContainerStatsRequest { Filter = new ContainerStatsFilter { PodSandboxId = _run.Sandbox } });
            if (stats.Stats.Any(one => one.Attributes.Metadata.Name == EmulatedPod.Proxy))
            {
                _violations.Enqueue("it has statistics");
            }
        }

        foreach (Container one in listed)
        {
            ContainerStatus status = await _run.StatusAsync(_caller, one.Id);
            if (completed is not null)
            {
                ContainerStatus shown = status.Clone();
                shown.LogPath = completed.LogPath;
                if (!shown.Equals(completed))
                {
                    _violations.Enqueue($"was {completed}, is {status}");
                }
            }
            else if (status is { State: ContainerState.ContainerExited, ExitCode: 0 })
            {
                _completed = status;
            }
        }
    }

    private void ExpectOne(string what, Container[] containers, ContainerStatus completed)
    {
        if (containers is not [{ State: ContainerState.ContainerExited } only] || only.Id != completed.Id)
        {
            _violations.Enqueue($"{what} are {string.Join(", ", containers.Select(one => $"{one.Metadata.Attempt} {one.State}"))}");
        }
    }
}
