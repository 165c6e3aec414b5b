namespace CriShim.Benchmarks.Report;

/// <summary>A line of the table. What does not apply, or was not measured, is null.</summary>
internal sealed record Row(string Id, string Title, string Unit)
{
    public Figure? Direct { get; init; }

    public Figure? Nginx { get; init; }

    public Figure? CriShim { get; init; }

    public Figure? AddedByNginx { get; init; }

    public Figure? AddedByCriShim { get; init; }

    public Ratio? Ratio { get; init; }

    public Aim? Aim { get; init; }

    /// <summary>Why there are no figures.</summary>
    public string? Failure { get; init; }
}

/// <summary>A quotient and what it is of; for nginx the same quotient where it has one.</summary>
internal sealed record Ratio(string Of, Figure? CriShim, Figure? Nginx = null);

/// <summary>Met is null where crishim was not measured.</summary>
internal sealed record Aim(string Text, bool? Met)
{
    public static Aim AtMost(string text, Figure? figure, double limit) => new(text, figure is null ? null : figure.Median <= limit);

    public static Aim AtLeast(string text, Figure? figure, double limit) => new(text, figure is null ? null : figure.Median >= limit);
}
