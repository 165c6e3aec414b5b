using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>One value for each route and round.</summary>
internal sealed class RoundFigures
{
    private readonly Dictionary<RouteName, List<double>> _values = [];

    public void Add(RouteName route, double value)
    {
        if (!_values.TryGetValue(route, out var values))
        {
            _values.Add(route, values = []);
        }

        values.Add(value);
    }

    public Figure? Of(RouteName route) => _values.TryGetValue(route, out var values) ? Figure.Of(values) : null;

    /// <summary>A row with a column for each route.</summary>
    public Row ToRow(string id, string title, string unit) => new(id, title, unit)
    {
        Direct = Of(RouteName.Direct),
        Nginx = Of(RouteName.Nginx),
        CriShim = Of(RouteName.CriShim),
    };

    /// <summary>The same with what each proxy adds to the bare call.</summary>
    public Row ToRowWithAdded(string id, string title, string unit)
    {
        var row = ToRow(id, title, unit);
        return row with
        {
            AddedByNginx = Figure.Difference(row.Nginx, row.Direct),
            AddedByCriShim = Figure.Difference(row.CriShim, row.Direct),
        };
    }
}
