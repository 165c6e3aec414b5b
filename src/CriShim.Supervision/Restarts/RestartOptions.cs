using System.Collections.Immutable;

namespace CriShim.Supervision.Restarts;

/// <summary>The delays after deaths of one cause.</summary>
public sealed record BackoffSteps
{
    /// <summary>Delay before the first restart, and after every death of an instance that was healthy for long enough. Zero: at once.</summary>
    public TimeSpan FirstDelay { get; init; } = TimeSpan.Zero;

    /// <summary>Delay before the second restart; every later one is twice the one before.</summary>
    public TimeSpan InitialDelay { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>The longest delay.</summary>
    public TimeSpan MaxDelay { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>What a pod's annotation may ask for: from <paramref name="Least"/> to <paramref name="Most"/>, both included.</summary>
public sealed record DurationBounds(TimeSpan Least, TimeSpan Most)
{
    public TimeSpan Clamp(TimeSpan asked) => asked < Least ? Least : asked > Most ? Most : asked;
}

/// <summary>The operator's bounds for <c>restart:</c> of <c>crishim.io/sidecars</c>. What is asked beyond them is clamped, with a note.</summary>
public sealed record AnnotationBounds
{
    public DurationBounds InitialDelay { get; init; } = new(TimeSpan.FromMilliseconds(100), TimeSpan.FromMinutes(1));

    public DurationBounds MaxDelay { get; init; } = new(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5));

    public DurationBounds ResetAfter { get; init; } = new(TimeSpan.FromSeconds(10), TimeSpan.FromMinutes(30));
}

/// <summary>The node-wide rate limit of restarts, which protects the backend when many sidecars die together.</summary>
public sealed record NodeLimitOptions
{
    /// <summary>Restarts a second once the burst is used up.</summary>
    public double PerSecond { get; init; } = 10;

    /// <summary>Restarts that may start at once after a quiet time.</summary>
    public int Burst { get; init; } = 20;
}

/// <summary>When to leave a sidecar to the kubelet: so many deaths of these causes within this time.</summary>
public sealed record GiveUpOptions
{
    public int Deaths { get; init; } = 10;

    public TimeSpan Within { get; init; } = TimeSpan.FromMinutes(10);

    public ImmutableArray<DeathCause> Causes { get; init; } = [DeathCause.ErrorExit, DeathCause.OutOfMemory];
}

/// <summary>How sidecars are restarted on this node. Immutable; see <see cref="RestartOptionsValidator"/>.</summary>
public sealed record RestartOptions
{
    public BackoffSteps CleanExit { get; init; } = new();

    public BackoffSteps ErrorExit { get; init; } = new();

    public BackoffSteps OutOfMemory { get; init; } = new() { FirstDelay = TimeSpan.FromSeconds(1), InitialDelay = TimeSpan.FromSeconds(2) };

    /// <summary>Between tries to create and start a replacement that the backend refuses.</summary>
    public BackoffSteps StartFailed { get; init; } = new() { FirstDelay = TimeSpan.FromMilliseconds(250), InitialDelay = TimeSpan.FromMilliseconds(500) };

    /// <summary>An instance that lived this long was healthy: the next death counts as the first.</summary>
    public TimeSpan ResetAfter { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Which part of a delay is left to chance, from 0 to 1. A delay is only ever shortened by it, so <c>maxDelay</c> holds.</summary>
    public double Jitter { get; init; } = 0.2;

    /// <summary>How long a dead instance may show RUNNING while its replacement is created and started (rule 3).</summary>
    public TimeSpan ShownRunningFor { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>In a terminating pod a sidecar is restarted only if this much of the grace is left when it starts.</summary>
    public TimeSpan LeastGraceLeft { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>The grace period where nothing tells it: the API's default.</summary>
    public TimeSpan AssumedGrace { get; init; } = TimeSpan.FromSeconds(30);

    public NodeLimitOptions NodeLimit { get; init; } = new();

    /// <summary>Null: never given up.</summary>
    public GiveUpOptions? GiveUp { get; init; }

    public AnnotationBounds Bounds { get; init; } = new();

    public BackoffSteps StepsOf(DeathCause cause) => cause switch
    {
        DeathCause.CleanExit => CleanExit,
        DeathCause.OutOfMemory => OutOfMemory,
        DeathCause.StartFailed => StartFailed,
        _ => ErrorExit,
    };
}
