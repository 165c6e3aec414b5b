namespace CriShim.Configuration;

/// <summary>Lists what is allowed, and guesses what was meant.</summary>
internal static class Spelling
{
    /// <summary>"one of a, b or c", with the nearest one to what was given, if it is near.</summary>
    public static string OneOf(IEnumerable<string> allowed, string given)
    {
        string[] words = [.. allowed];
        string list = words.Length == 1 ? words[0] : $"one of {string.Join(", ", words[..^1])} or {words[^1]}";
        return Nearest(words, given) is { } nearest ? $"{list}; did you mean {nearest}?" : list;
    }

    private static string? Nearest(string[] words, string given)
    {
        // A long text is no misspelling of a short word, and would take long to compare.
        if (given.Length is 0 or > 40)
        {
            return null;
        }

        string? nearest = words.MinBy(word => Distance(word, given));
        return nearest is not null && Distance(nearest, given) <= Math.Max(1, nearest.Length / 3) ? nearest : null;
    }

    /// <summary>Letters to insert, delete, replace, or swap with the next one; upper and lower case are the same.</summary>
    private static int Distance(string one, string other)
    {
        string a = one.ToUpperInvariant();
        string b = other.ToUpperInvariant();
        int[,] steps = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
        {
            for (int j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    steps[i, j] = i + j;
                    continue;
                }

                int replaced = steps[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
                int least = Math.Min(replaced, Math.Min(steps[i - 1, j], steps[i, j - 1]) + 1);
                bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                steps[i, j] = swapped ? Math.Min(least, steps[i - 2, j - 2] + 1) : least;
            }
        }

        return steps[a.Length, b.Length];
    }
}
