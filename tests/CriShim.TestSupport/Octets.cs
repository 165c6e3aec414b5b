using CriShim.TestSupport.RawHttp2;
using Xunit.Sdk;

namespace CriShim.TestSupport;

/// <summary>Comparisons whose failures show where two things part.</summary>
public static class Octets
{
    public static void AssertEqual(ReadOnlySpan<byte> expected, ReadOnlySpan<byte> actual, string what)
    {
        if (expected.SequenceEqual(actual))
        {
            return;
        }

        int at = expected.CommonPrefixLength(actual);
        throw new XunitException(
            $"{what} differs at octet {at}: expected {expected.Length} octets, got {actual.Length}\n" +
            $"expected ...{Excerpt(expected, at)}\nactual   ...{Excerpt(actual, at)}");
    }

    /// <summary>Same fields, same values, same order.</summary>
    public static void AssertSameFields(IEnumerable<HeaderField> expected, IEnumerable<HeaderField> actual, string what)
    {
        string[] left = [.. expected.Select(Shown)];
        string[] right = [.. actual.Select(Shown)];
        if (!left.SequenceEqual(right))
        {
            throw new XunitException(
                $"{what} differ\nmissing: {List(left.Except(right))}\nadded:   {List(right.Except(left))}\n" +
                $"expected {left.Length}: {List(left)}\nactual {right.Length}:   {List(right)}");
        }
    }

    /// <summary>Octets that repeat nowhere near, so that a lost or doubled part shows.</summary>
    public static byte[] Varied(int length, int seed = 1)
    {
        var octets = new byte[length];
        new Random(seed).NextBytes(octets);
        return octets;
    }

    private static string Excerpt(ReadOnlySpan<byte> octets, int at)
    {
        int from = Math.Max(0, at - 8);
        int to = Math.Min(octets.Length, at + 24);
        return from >= to ? "(end)" : Convert.ToHexStringLower(octets[from..to]);
    }

    private static string Shown(HeaderField field) =>
        field.Value.Length <= 80 ? field.ToString() : $"{field.Name}: {field.Value} ({field.Value.Length} octets)";

    private static string List(IEnumerable<string> fields)
    {
        string list = string.Join(" | ", fields.Select(field => field.Length > 200 ? field[..200] + "..." : field));
        return list.Length == 0 ? "none" : list;
    }
}
