using System.Buffers;
using System.Globalization;
using System.Text;

namespace CriShim.Supervision;

/// <summary>Durations as Kubernetes writes them, which is Go's way: "10s", "1m30s", "1.5h", "250ms" (Go's time.ParseDuration).</summary>
public static class GoDuration
{
    private static readonly (string Unit, decimal Ticks)[] Units =
    [
        // Longest first: "ms" before "m" and "s".
        ("ns", 0.01m), ("us", 10m), ("µs", 10m), ("μs", 10m), ("ms", 10_000m), ("s", 10_000_000m), ("m", 600_000_000m), ("h", 36_000_000_000m),
    ];

    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    /// <summary>Negative ones are no duration here. Parts below 100 ns are dropped.</summary>
    public static bool TryParse(string text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (text == "0")
        {
            return true;
        }

        decimal ticks = 0;
        ReadOnlySpan<char> rest = text;
        if (rest.IsEmpty)
        {
            return false;
        }

        while (!rest.IsEmpty)
        {
            int digits = rest.IndexOfAnyExcept(NumberCharacters);
            if (digits is <= 0 or > 20
                || !decimal.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number)
                || !TakeUnit(ref rest, digits, out decimal ticksOfUnit))
            {
                return false;
            }

            ticks += Math.Min(number, 10_000_000_000m) * ticksOfUnit;
        }

        duration = ticks >= long.MaxValue ? TimeSpan.MaxValue : TimeSpan.FromTicks((long)ticks);
        return true;
    }

    /// <summary>Written as Go does, in whole units: "1m30s", "1.5s", "250ms".</summary>
    public static string Format(TimeSpan duration)
    {
        if (duration == TimeSpan.Zero)
        {
            return "0s";
        }

        if (duration < TimeSpan.FromSeconds(1))
        {
            return string.Create(CultureInfo.InvariantCulture, $"{duration.TotalMilliseconds:0.####}ms");
        }

        var text = new StringBuilder();
        if (duration.TotalHours >= 1)
        {
            _ = text.Append(CultureInfo.InvariantCulture, $"{(long)duration.TotalHours}h");
        }

        if (duration.TotalMinutes >= 1)
        {
            _ = text.Append(CultureInfo.InvariantCulture, $"{duration.Minutes}m");
        }

        decimal seconds = duration.Ticks % TimeSpan.TicksPerMinute / (decimal)TimeSpan.TicksPerSecond;
        return text.Append(CultureInfo.InvariantCulture, $"{seconds:0.#######}s").ToString();
    }

    private static bool TakeUnit(ref ReadOnlySpan<char> rest, int start, out decimal ticks)
    {
        foreach ((string unit, decimal ticksOfUnit) in Units)
        {
            // "m" must not eat the start of what is no unit, such as "mo": what follows a unit is a number or nothing.
            if (rest[start..].StartsWith(unit, StringComparison.Ordinal))
            {
                ReadOnlySpan<char> after = rest[(start + unit.Length)..];
                if (after.IsEmpty || char.IsAsciiDigit(after[0]) || after[0] == '.')
                {
                    rest = after;
                    ticks = ticksOfUnit;
                    return true;
                }
            }
        }

        ticks = 0;
        return false;
    }
}
