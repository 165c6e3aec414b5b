namespace CriShim.Benchmarks.Report;

/// <summary>A value measured in several rounds: their median, and how far they lay apart.</summary>
internal sealed record Figure(double Median, double Min, double Max, IReadOnlyList<double> Rounds)
{
    public static Figure Of(params IEnumerable<double> rounds)
    {
        var values = rounds.ToArray();
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        var median = sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
        return new Figure(median, sorted[0], sorted[^1], values);
    }

    /// <summary>Round by round, because what disturbs one route of a round is likely to disturb the others.</summary>
    public static Figure? Difference(Figure? whole, Figure? part) => Pairwise(whole, part, (x, y) => x - y);

    /// <inheritdoc cref="Difference"/>
    public static Figure? Quotient(Figure? dividend, Figure? divisor) => Pairwise(dividend, divisor, (x, y) => x / y);

    /// <summary>For differences, which may be near zero in a single round: the medians are divided, not the rounds.</summary>
    public static Figure? QuotientOfMedians(Figure? dividend, Figure? divisor) =>
        dividend is null || divisor is null ? null : Of(dividend.Median / divisor.Median);

    private static Figure? Pairwise(Figure? left, Figure? right, Func<double, double, double> combine) =>
        left is null || right is null ? null : Of(left.Rounds.Zip(right.Rounds, combine));
}
