namespace CriShim.Containerd.Events;

/// <summary>How long to wait before the next attempt to subscribe: doubling, with jitter, longer when the outage is.</summary>
internal sealed class ReconnectDelay(ContainerdEventsOptions options, Func<double> random)
{
    private TimeSpan _next = options.FirstDelay;

    /// <summary>The subscription stood: the next failure starts from the first delay.</summary>
    public void Reset() => _next = options.FirstDelay;

    /// <summary>Between half of the step and all of it, so that many shims do not come at once.</summary>
    /// <param name="outage">How long the subscription has been away.</param>
    public TimeSpan Next(TimeSpan outage)
    {
        TimeSpan limit = outage < options.KeenFor ? options.KeenDelay : options.MaxDelay;
        TimeSpan step = _next < limit ? _next : limit;
        _next = step * 2;
        return step * (0.5 + random() / 2);
    }
}
