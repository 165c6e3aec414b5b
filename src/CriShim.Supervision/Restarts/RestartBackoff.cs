using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Restarts;

/// <summary>
/// The delay before a restart: arithmetic only, apart from whoever waits. One sidecar's, that is the operator's options with what the
/// pod's annotation asked for inside the operator's bounds (rule 12: the shim has its own back-off).
/// </summary>
public sealed class RestartBackoff
{
    private readonly RestartOptions _options;
    private readonly TimeSpan? _initialDelay;
    private readonly TimeSpan? _maxDelay;

    public RestartBackoff(RestartOptions options, RestartRequest? asked = null)
    {
        _options = options;
        var notes = new List<SettingError>();
        _initialDelay = Bound(asked?.InitialDelay, options.Bounds.InitialDelay, "initialDelay", notes);
        _maxDelay = Bound(asked?.MaxDelay, options.Bounds.MaxDelay, "maxDelay", notes);
        ResetAfter = Bound(asked?.ResetAfter, options.Bounds.ResetAfter, "resetAfter", notes) ?? options.ResetAfter;
        Notes = notes;
    }

    /// <summary>An instance that lived this long was healthy.</summary>
    public TimeSpan ResetAfter { get; }

    /// <summary>What the annotation asked for beyond the operator's bounds, and what it got.</summary>
    public IReadOnlyList<SettingError> Notes { get; }

    /// <summary>The longest delay before a restart, before jitter shortens it.</summary>
    /// <param name="cause">Of the death, or of the failed try.</param>
    /// <param name="streak">How many deaths (or failed tries) went before without a time of health between; 0 for the first.</param>
    public TimeSpan FullDelay(DeathCause cause, int streak)
    {
        BackoffSteps steps = _options.StepsOf(cause);
        TimeSpan most = _maxDelay ?? steps.MaxDelay;
        TimeSpan initial = InitialDelayFor(cause, steps);
        TimeSpan delay = steps.FirstDelay;
        if (streak > 0)
        {
            // Beyond 2^30 the most is reached for any initial delay of a millisecond or more; a plain shift would overflow.
            double doubled = initial.TotalMilliseconds * Math.Pow(2, Math.Min(streak - 1, 30));
            delay = doubled >= most.TotalMilliseconds ? most : TimeSpan.FromMilliseconds(doubled);
            delay = delay < steps.FirstDelay ? steps.FirstDelay : delay;
        }

        return delay > most ? most : delay;
    }

    /// <summary><see cref="FullDelay"/> shortened by chance, so that what died together does not restart together.</summary>
    /// <param name="cause">Of the death, or of the failed try.</param>
    /// <param name="streak">See <see cref="FullDelay"/>.</param>
    /// <param name="chance">From 0 (included) to 1 (excluded).</param>
    public TimeSpan Delay(DeathCause cause, int streak, double chance) => FullDelay(cause, streak) * (1 - (_options.Jitter * chance));

    private TimeSpan InitialDelayFor(DeathCause cause, BackoffSteps steps)
    {
        if (_initialDelay is not { } asked || cause == DeathCause.StartFailed)
        {
            return steps.InitialDelay;
        }

        // A pod may not hurry the node when memory is what it lacks.
        return cause == DeathCause.OutOfMemory && asked < steps.InitialDelay ? steps.InitialDelay : asked;
    }

    private static TimeSpan? Bound(TimeSpan? asked, DurationBounds bounds, string setting, List<SettingError> notes)
    {
        if (asked is not { } value)
        {
            return null;
        }

        TimeSpan given = bounds.Clamp(value);
        if (given != value)
        {
            notes.Add(new SettingError(
                $"restart.{setting}",
                GoDuration.Format(value),
                $"is {GoDuration.Format(given)}: this node allows {GoDuration.Format(bounds.Least)} to {GoDuration.Format(bounds.Most)}"));
        }

        return given;
    }
}
