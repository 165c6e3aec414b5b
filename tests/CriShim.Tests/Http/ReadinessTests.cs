using CriShim.Http;
using CriShim.Node;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Tests.Http;

public sealed class ReadinessTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly TaskCompletionSource _hung = new();
    private NodeHealth _health;
    private Func<CancellationToken, Task> _loop = _ => Task.CompletedTask;
    private Func<CancellationToken, Task> _listener = _ => Task.CompletedTask;

    public ReadinessTests() => _health = new NodeHealth
    {
        IsKnown = true, ListedAt = _time.GetUtcNow(), HasEvents = true, IsDraining = false, RewrittenPods = 0, StateBytes = 0, StateFailures = 0,
    };

    private Readiness Readiness => new(TimeSpan.FromSeconds(10), () => _health, ct => _loop(ct), ct => _listener(ct), _time);

    [Fact]
    public async Task Ready_AllIsWell_HasNoFault() =>
        Assert.All(await Readiness.ReadyAsync(CancellationToken.None), check => Assert.Null(check.Fault));

    [Fact]
    public async Task Ready_BackendNotListedLately_SaysForHowLong()
    {
        _time.Advance(TimeSpan.FromSeconds(31));

        HealthCheck wrong = Assert.Single(await Readiness.ReadyAsync(CancellationToken.None), check => check.Fault is not null);
        Assert.Equal(new HealthCheck("backend", "containerd was last reached 31 s ago"), wrong);
    }

    [Fact]
    public async Task Ready_AtTheStart_SaysThatTheNodeIsNotKnown()
    {
        _health = _health with { IsKnown = false, ListedAt = null };

        Assert.Equal(
            ["backend", "supervision"],
            (await Readiness.ReadyAsync(CancellationToken.None)).Where(check => check.Fault is not null).Select(check => check.Name));
    }

    [Fact]
    public async Task Ready_NobodyListens_SaysWhy()
    {
        _listener = _ => throw new IOException("connection refused");

        Assert.Contains(new HealthCheck("listener", "connection refused"), await Readiness.ReadyAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Live_LoopHangs_SaysSoWhenItsTimeIsUp()
    {
        _loop = _ => _hung.Task;
        Task<IReadOnlyList<HealthCheck>> checks = Readiness.LiveAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(2));

        Assert.Equal([new HealthCheck("loop", "no answer within 2s")], await checks);
    }
}
