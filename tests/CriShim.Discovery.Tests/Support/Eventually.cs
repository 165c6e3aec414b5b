using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests.Support;

/// <summary>Waits for conditions, never for times.</summary>
internal static class Eventually
{
    /// <summary>Long enough for a machine under load; nothing waits for it where all is well.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>What to print when a condition is not met: of the test that runs here.</summary>
    public static readonly AsyncLocal<Func<string>?> Context = new();

    public static async Task TrueAsync(Func<bool> condition, string what, FakeTimeProvider? clock = null, TimeSpan step = default)
    {
        using var limit = new CancellationTokenSource(Limit);
        while (!condition())
        {
            Assert.False(limit.IsCancellationRequested, $"Not within {Limit}: {what}\n{Context.Value?.Invoke()}");
            clock?.Advance(step);
            await Task.Delay(5, CancellationToken.None);
        }
    }
}
