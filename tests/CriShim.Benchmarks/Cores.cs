using System.Globalization;

namespace CriShim.Benchmarks;

/// <summary>
/// Keeps processes on one core, by util-linux's taskset. Whether the scheduler puts caller and backend on one core or on two
/// changes the time of a bare call threefold, by waking an idle core; on one core what remains is the work that a call is.
/// </summary>
internal static class Cores
{
    public const string Tool = "taskset";

    public static IEnumerable<string> RunOnFirst(string program) => ["-c", "0", program];

    public static Task ToFirstAsync(IEnumerable<int> processIds, CancellationToken cancellation) => MoveAsync("0", processIds, cancellation);

    public static Task ToAllAsync(IEnumerable<int> processIds, CancellationToken cancellation) =>
        MoveAsync($"0-{Environment.ProcessorCount - 1}", processIds, cancellation);

    private static async Task MoveAsync(string cores, IEnumerable<int> processIds, CancellationToken cancellation)
    {
        foreach (var id in processIds)
        {
            await ToolOutput.ReadAsync(Tool, ["-a", "-c", "-p", cores, id.ToString(CultureInfo.InvariantCulture)], cancellation);
        }
    }
}
