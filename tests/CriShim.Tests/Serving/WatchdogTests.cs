using System.Threading.Channels;
using CriShim.Serving;
using CriShim.TestSupport;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Tests.Serving;

public sealed class WatchdogTests
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Third = Interval / 3;

    private readonly FakeTimeProvider _time = new();
    private readonly RecordedLog _log = new();
    private readonly Channel<string> _events = Channel.CreateUnbounded<string>();

    private Func<CancellationToken, Task> _loopProof = _ => Task.CompletedTask;
    private Func<CancellationToken, Task> _listenerProof = _ => Task.CompletedTask;

    [Fact]
    public async Task Run_BothPartsAlive_BeatsAtOnceAndEveryThird()
    {
        await using Running running = Start();

        Assert.Equal(["loop", "listener", "alive"], await Events(3));
        _time.Advance(Third);
        Assert.Equal(["loop", "listener", "alive"], await Events(3));
        _time.Advance(Third);
        Assert.Equal(["loop", "listener", "alive"], await Events(3));
        Assert.DoesNotContain(_log.Lines, l => l.Level > LogLevel.Debug);
    }

    [Fact]
    public async Task Run_LoopStandsStill_WithholdsTheBeatAndSaysSo()
    {
        _loopProof = _ => new TaskCompletionSource().Task; // Deaf to cancellation as well.
        await using Running running = Start();

        Assert.Equal(["loop"], await Events(1));
        _time.Advance(Third);

        await _log.Logged("Watchdog: the loop gave no proof of life within 10s: no answer in time");
        Assert.Equal("loop", (await Events(1))[0]); // The next round: no beat came between.
    }

    [Fact]
    public async Task Run_ListenerStandsStill_WithholdsTheBeatAndSaysSo()
    {
        _listenerProof = ct => Task.Delay(Timeout.Infinite, ct);
        await using Running running = Start();

        Assert.Equal(["loop", "listener"], await Events(2));
        _time.Advance(Third);

        await _log.Logged("Watchdog: the listener gave no proof of life within 10s: no answer in time");
        Assert.Equal(["loop", "listener"], await Events(2));
    }

    [Fact]
    public async Task Run_ListenerRefusesThenAnswers_BeatsAgainAndSaysSo()
    {
        _listenerProof = _ => Task.FromException(new IOException("refused"));
        await using Running running = Start();
        Assert.Equal(["loop", "listener"], await Events(2));
        await _log.Logged("Watchdog: the listener gave no proof of life within 10s: refused");

        _listenerProof = _ => Task.CompletedTask;
        _time.Advance(Third);

        Assert.Equal(["loop", "listener", "alive"], await Events(3));
        Assert.Contains(_log.Lines, l => l.Text == "Watchdog: all parts gave proof of life again");
    }

    [Fact]
    public async Task Run_StoppedWhileAProofIsOut_EndsWithoutComplaint()
    {
        _listenerProof = ct => Task.Delay(Timeout.Infinite, ct);
        Running running = Start();
        Assert.Equal(["loop", "listener"], await Events(2));

        await running.DisposeAsync();

        Assert.DoesNotContain(_log.Lines, l => l.Level > LogLevel.Debug);
    }

    [Theory]
    [InlineData("30000000", null, 30)]
    [InlineData("30000000", "42", 30)]
    public void Interval_ForThisProcess_IsTaken(string microseconds, string? pid, int seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), Watchdog.Interval(microseconds, pid, 42));

    [Theory]
    [InlineData(null, null)]
    [InlineData("30000000", "43")]
    [InlineData("0", null)]
    [InlineData("-5", null)]
    [InlineData("soon", null)]
    [InlineData("9223372036854775807", null)]
    public void Interval_NotForThisProcessOrSenseless_IsNone(string? microseconds, string? pid) =>
        Assert.Null(Watchdog.Interval(microseconds, pid, 42));

    private Running Start()
    {
        var watchdog = new Watchdog(
            Interval,
            ct =>
            {
                _events.Writer.TryWrite("loop");
                return _loopProof(ct);
            },
            ct =>
            {
                _events.Writer.TryWrite("listener");
                return _listenerProof(ct);
            },
            () => _events.Writer.TryWrite("alive"),
            _time,
            _log);
        var stop = new CancellationTokenSource();
        return new Running(watchdog.RunAsync(stop.Token), stop);
    }

    private async Task<string[]> Events(int count)
    {
        using var timeout = new CancellationTokenSource(Bounds.Failure);
        var events = new string[count];
        for (int i = 0; i < count; i++)
        {
            events[i] = await _events.Reader.ReadAsync(timeout.Token);
        }

        return events;
    }

    private sealed class Running(Task task, CancellationTokenSource stop) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await stop.CancelAsync();
            await task.WaitAsync(Bounds.Failure);
            stop.Dispose();
        }
    }
}
