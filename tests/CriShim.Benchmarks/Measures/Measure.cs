using CriShim.Benchmarks.Report;

namespace CriShim.Benchmarks.Measures;

/// <summary>Some rows that are measured together.</summary>
internal abstract class Measure(string group)
{
    public string Group => group;

    /// <summary>Ids of the rows that <see cref="RunAsync"/> gives, without the backend's prefix.</summary>
    public abstract IReadOnlyList<string> RowIds { get; }

    public abstract Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation);
}
