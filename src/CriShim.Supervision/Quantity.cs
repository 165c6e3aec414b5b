using System.Buffers;
using System.Globalization;

namespace CriShim.Supervision;

/// <summary>Amounts as Kubernetes writes them: "10Mi", "1.5G", "250m", "2", "1e3" (apimachinery's resource.Quantity). Never negative here.</summary>
public static class Quantity
{
    private const int MaxDigits = 25;

    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("0123456789.");

    private static readonly (string Suffix, decimal Factor)[] Suffixes =
    [
        ("", 1m), ("n", 0.000_000_001m), ("u", 0.000_001m), ("m", 0.001m),
        ("k", 1e3m), ("M", 1e6m), ("G", 1e9m), ("T", 1e12m), ("P", 1e15m), ("E", 1e18m),
        ("Ki", 1024m), ("Mi", 1_048_576m), ("Gi", 1_073_741_824m), ("Ti", 1_099_511_627_776m), ("Pi", 1_125_899_906_842_624m),
        ("Ei", 1_152_921_504_606_846_976m),
    ];

    /// <summary>In whole units, such as bytes; rounded up, and no larger than a <see cref="long"/> holds.</summary>
    public static bool TryParse(string text, out long units) => TryParse(text, 1m, out units);

    /// <summary>In thousandths, such as those of a CPU; rounded up, and no larger than a <see cref="long"/> holds.</summary>
    public static bool TryParseMillis(string text, out long millis) => TryParse(text, 1000m, out millis);

    private static bool TryParse(string text, decimal scale, out long value)
    {
        value = 0;
        ReadOnlySpan<char> rest = text.AsSpan().TrimStart('+');
        int digits = rest.IndexOfAnyExcept(NumberCharacters);
        digits = digits < 0 ? rest.Length : digits;
        if (digits is 0 or > MaxDigits || rest.Length - digits > 4 || text.Length - rest.Length > 1
            || !decimal.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number)
            || FactorOf(rest[digits..]) is not { } factor)
        {
            return false;
        }

        // What is no more than 1 can't become too large; and what is next to nothing can't divide.
        if (number > 1 && factor * scale > long.MaxValue / number)
        {
            value = long.MaxValue;
            return true;
        }

        decimal exact = decimal.Ceiling(number * factor * scale);
        value = exact >= long.MaxValue ? long.MaxValue : (long)exact;
        return true;
    }

    private static decimal? FactorOf(ReadOnlySpan<char> suffix)
    {
        foreach ((string known, decimal factor) in Suffixes)
        {
            if (suffix.SequenceEqual(known))
            {
                return factor;
            }
        }

        // What is left is an exponent: "e3", "E-2".
        if (suffix is not ['e' or 'E', ..] || !int.TryParse(suffix[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int power) || power is < -18 or > 18)
        {
            return null;
        }

        decimal result = 1m;
        for (int i = 0; i < Math.Abs(power); i++)
        {
            result *= 10m;
        }

        return power < 0 ? 1m / result : result;
    }
}
