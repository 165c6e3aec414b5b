using System.Globalization;

namespace CriShim.Supervision.Restarts;

/// <summary>Finds everything that is wrong with options, not only the first fault.</summary>
public static class RestartOptionsValidator
{
    private static readonly TimeSpan Hour = TimeSpan.FromHours(1);

    /// <param name="options">What to check.</param>
    /// <param name="place">Where the options stand in the configuration, such as <c>restart</c>; leads every error's place.</param>
    /// <returns>Empty when the options are valid.</returns>
    public static IReadOnlyList<SettingError> Validate(RestartOptions options, string place)
    {
        var errors = new List<SettingError>();
        CheckSteps(options.CleanExit, $"{place}.cleanExit", errors);
        CheckSteps(options.ErrorExit, $"{place}.errorExit", errors);
        CheckSteps(options.OutOfMemory, $"{place}.outOfMemory", errors);
        CheckSteps(options.StartFailed, $"{place}.startFailed", errors);
        Check(options.ResetAfter, TimeSpan.FromSeconds(1), Hour, $"{place}.resetAfter", errors);
        if (!(options.Jitter >= 0 && options.Jitter <= 1))
        {
            errors.Add(new SettingError($"{place}.jitter", Text(options.Jitter), "must be a number from 0 to 1"));
        }

        // Longer, and a kubelet that looks would believe in a container that has long been gone.
        Check(options.ShownRunningFor, TimeSpan.Zero, TimeSpan.FromSeconds(10), $"{place}.shownRunningFor", errors);
        Check(options.LeastGraceLeft, TimeSpan.Zero, Hour, $"{place}.leastGraceLeft", errors);
        Check(options.AssumedGrace, TimeSpan.Zero, Hour, $"{place}.assumedGrace", errors);
        CheckNodeLimit(options.NodeLimit, $"{place}.nodeLimit", errors);
        CheckGiveUp(options.GiveUp, $"{place}.giveUp", errors);
        CheckBounds(options.Bounds.InitialDelay, TimeSpan.Zero, $"{place}.annotationBounds.initialDelay", errors);
        CheckBounds(options.Bounds.MaxDelay, TimeSpan.FromMilliseconds(1), $"{place}.annotationBounds.maxDelay", errors);
        CheckBounds(options.Bounds.ResetAfter, TimeSpan.FromSeconds(1), $"{place}.annotationBounds.resetAfter", errors);
        return errors;
    }

    private static void CheckSteps(BackoffSteps steps, string place, List<SettingError> errors)
    {
        Check(steps.MaxDelay, TimeSpan.FromMilliseconds(1), Hour, $"{place}.maxDelay", errors);
        TimeSpan most = steps.MaxDelay < TimeSpan.Zero ? Hour : steps.MaxDelay;
        Check(steps.FirstDelay, TimeSpan.Zero, most, $"{place}.firstDelay", errors);

        // Doubling nothing stays nothing: a container that dies at once would be restarted in a tight loop.
        Check(steps.InitialDelay, TimeSpan.FromMilliseconds(1), most, $"{place}.initialDelay", errors);
    }

    private static void CheckNodeLimit(NodeLimitOptions limit, string place, List<SettingError> errors)
    {
        if (!(limit.PerSecond >= 0.1 && limit.PerSecond <= 1000))
        {
            errors.Add(new SettingError($"{place}.perSecond", Text(limit.PerSecond), "must be a number from 0.1 to 1000"));
        }

        if (limit.Burst is < 1 or > 10_000)
        {
            errors.Add(new SettingError($"{place}.burst", Text(limit.Burst), "must be a whole number from 1 to 10000"));
        }
    }

    private static void CheckGiveUp(GiveUpOptions? giveUp, string place, List<SettingError> errors)
    {
        if (giveUp is null)
        {
            return;
        }

        // More than the tally keeps could never be counted.
        if (giveUp.Deaths is < 1 or > DeathTally.Capacity)
        {
            errors.Add(new SettingError($"{place}.deaths", Text(giveUp.Deaths), $"must be a whole number from 1 to {DeathTally.Capacity}"));
        }

        Check(giveUp.Within, TimeSpan.FromSeconds(1), TimeSpan.FromDays(1), $"{place}.within", errors);
        if (giveUp.Causes.IsDefaultOrEmpty)
        {
            errors.Add(new SettingError($"{place}.causes", null, "must list at least one of cleanExit, errorExit, outOfMemory"));
            return;
        }

        foreach (DeathCause cause in giveUp.Causes.Where(c => c is not (DeathCause.CleanExit or DeathCause.ErrorExit or DeathCause.OutOfMemory)))
        {
            errors.Add(new SettingError($"{place}.causes", cause.ToString(), "must list only cleanExit, errorExit, outOfMemory"));
        }
    }

    private static void CheckBounds(DurationBounds bounds, TimeSpan least, string place, List<SettingError> errors)
    {
        Check(bounds.Least, least, Hour, $"{place}.least", errors);
        Check(bounds.Most, bounds.Least > least ? bounds.Least : least, Hour, $"{place}.most", errors);
    }

    private static void Check(TimeSpan value, TimeSpan least, TimeSpan most, string place, List<SettingError> errors)
    {
        if (value < least || value > most)
        {
            string given = value < TimeSpan.Zero ? "-" + GoDuration.Format(value.Negate()) : GoDuration.Format(value);
            errors.Add(new SettingError(place, given, $"must be a duration from {GoDuration.Format(least)} to {GoDuration.Format(most)}"));
        }
    }

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
