using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>CPU time of a proxy over a run. It tells proxies apart even where other programs take the machine's time.</summary>
internal sealed class CpuMeter
{
    private readonly Route _route;
    private readonly TimeSpan _before;

    private CpuMeter(Route route)
    {
        _route = route;
        _before = ProcessReadings.CpuTime(route.Proxy!.ProcessIds);
    }

    /// <summary>Null on the bare socket, which has no proxy.</summary>
    public static CpuMeter? Start(Route route) => route.Proxy is null ? null : new CpuMeter(route);

    public void AddPerCall(RoundFigures figures, int calls)
    {
        var spent = ProcessReadings.CpuTime(_route.Proxy!.ProcessIds) - _before;
        figures.Add(_route.Name, spent.TotalMicroseconds / calls);
    }

    public static Row ToRow(RoundFigures figures, string id, string title)
    {
        var row = figures.ToRow(id, title, "µs");
        return row with { Ratio = new Ratio("to nginx's", Figure.Quotient(row.CriShim, row.Nginx)) };
    }
}
