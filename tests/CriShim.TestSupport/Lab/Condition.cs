using System.Diagnostics;

namespace CriShim.TestSupport.Lab;

/// <summary>Waits for something that becomes true by itself in another process, where there is nothing to await.</summary>
public static class Condition
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(20);

    /// <summary>Asks again and again until <paramref name="holds"/> says yes. Throws <see cref="TimeoutException"/> naming <paramref name="what"/>.</summary>
    public static Task BecomesTrueAsync(string what, TimeSpan timeout, Func<bool> holds) =>
        BecomesTrueAsync(what, timeout, () => Task.FromResult(holds()));

    /// <inheritdoc cref="BecomesTrueAsync(string, TimeSpan, Func{bool})"/>
    public static async Task BecomesTrueAsync(string what, TimeSpan timeout, Func<Task<bool>> holds)
    {
        var clock = Stopwatch.StartNew();
        while (!await holds().ConfigureAwait(false))
        {
            if (clock.Elapsed > timeout)
            {
                throw new TimeoutException($"Within {timeout.TotalSeconds:0.#} s it did not happen that {what}.");
            }

            await Task.Delay(s_interval, TimeProvider.System).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until <paramref name="attempt"/> no longer throws, and gives what it returned; at the end, its last failure.</summary>
    public static async Task<T> SucceedsAsync<T>(string what, TimeSpan timeout, Func<Task<T>> attempt)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                return await attempt().ConfigureAwait(false);
            }
            catch (Exception failure) when (clock.Elapsed <= timeout && failure is not LabException)
            {
                await Task.Delay(s_interval, TimeProvider.System).ConfigureAwait(false);
            }
            catch (Exception failure) when (failure is not LabException)
            {
                throw new TimeoutException($"Within {timeout.TotalSeconds:0.#} s it did not succeed: {what}.", failure);
            }
        }
    }
}
