using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.SystemdNode.Tests;

/// <summary>Callers that call without pause until they are told to stop: some on one connection for good, some on a new one each time.</summary>
internal sealed class Load : IAsyncDisposable
{
    private const int LastingCallers = 4;
    private const int NewCallers = 2;

    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _callers;
    private readonly List<string> _failures = [];
    private int _calls;

    private Load(string socketPath)
    {
        _callers =
        [
            .. Enumerable.Range(0, LastingCallers).Select(_ => Task.Run(async () =>
            {
                using var caller = new CriCaller(socketPath);
                while (!_stop.IsCancellationRequested)
                {
                    await CallAsync(caller);
                }
            })),
            .. Enumerable.Range(0, NewCallers).Select(_ => Task.Run(async () =>
            {
                while (!_stop.IsCancellationRequested)
                {
                    using var caller = new CriCaller(socketPath);
                    await CallAsync(caller);
                }
            })),
        ];
    }

    public static Load On(string socketPath) => new(socketPath);

    public int Calls => Volatile.Read(ref _calls);

    /// <summary>Lets the calls that are under way come to their end.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_callers);
    }

    public void CheckThatNoCallFailed()
    {
        if (_failures.Count > 0)
        {
            Assert.Fail($"{_failures.Count} of {Calls + _failures.Count} calls failed; the first of them:\n{string.Join('\n', _failures.Take(3))}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private async Task CallAsync(CriCaller caller)
    {
        try
        {
            DateTime deadline = TimeProvider.System.GetUtcNow().UtcDateTime + TimeSpan.FromMinutes(1);
            _ = await caller.Runtime.VersionAsync(new VersionRequest(), deadline: deadline);
            _ = await caller.Runtime.ListContainersAsync(new ListContainersRequest(), deadline: deadline);
            _ = await caller.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest(), deadline: deadline);
            Interlocked.Add(ref _calls, 3);
        }
        catch (RpcException failure)
        {
            lock (_failures)
            {
                _failures.Add($"{failure.StatusCode}: {failure.Status.Detail} {failure.Status.DebugException}");
            }
        }
    }
}
