using System.Diagnostics;
using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;

namespace CriShim.Benchmarks.Routes;

/// <summary>
/// All routes to one backend, each proxy freshly started. Every measurement takes its own set, so that none depends on what ran
/// before it; two sets at a time would be two crishims on one node, which is not what it is for.
/// </summary>
internal sealed class RouteSet : IDisposable
{
    private static readonly TimeSpan ServingDeadline = TimeSpan.FromSeconds(20);

    private readonly Bench _bench;

    private RouteSet(Bench bench, IReadOnlyList<Route> all)
    {
        _bench = bench;
        All = all;
    }

    public IReadOnlyList<Route> All { get; }

    public IEnumerable<Route> Proxies => All.Where(route => route.Proxy is not null);

    public static async Task<RouteSet> StartAsync(Bench bench, CancellationToken cancellation)
    {
        List<Route> routes = [new Route(RouteName.Direct, bench.Backend.SocketPath, null)];
        var set = new RouteSet(bench, routes);
        try
        {
            foreach (var proxy in bench.Proxies)
            {
                routes.Add(proxy.Start(bench.Workspace, bench.Backend.SocketPath));
            }

            foreach (var route in routes)
            {
                await WaitUntilServingAsync(route, cancellation);
            }

            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>Runs <paramref name="measure"/> on each route in turn, round by round, beginning with another route each time.</summary>
    public async Task AlternateAsync(int rounds, Func<Route, Task> measure)
    {
        for (var round = 0; round < rounds; round++)
        {
            for (var index = 0; index < All.Count; index++)
            {
                await measure(All[(round + index) % All.Count]);
            }
        }
    }

    /// <summary>Makes the call on every route and compares the bytes. Returns the length of the framed response.</summary>
    /// <exception cref="MeasurementException">A route fails or returns something else.</exception>
    public async Task<int> VerifyAsync(CannedCall call, CancellationToken cancellation)
    {
        // A real runtime's answer is known only from asking it.
        var expected = _bench.Backend.IsReal ? null : call.Response;
        foreach (var route in All)
        {
            using var caller = CriCaller.On(route.SocketPath);
            var received = await caller.CallAsync(call, cancellation);
            expected ??= received;
            if (!received.AsSpan().SequenceEqual(expected))
            {
                throw new MeasurementException($"{call.Path} returns other bytes through {route.Name} than on the bare socket");
            }
        }

        return expected!.Length;
    }

    public void Dispose()
    {
        foreach (var route in Proxies)
        {
            _bench.Workspace.End(route.Proxy!);
        }
    }

    private static async Task WaitUntilServingAsync(Route route, CancellationToken cancellation)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            route.Proxy?.ThrowIfEnded();
            try
            {
                using var caller = CriCaller.On(route.SocketPath);
                await caller.CallAsync(CannedCall.Version, cancellation);
                return;
            }
            catch (Exception failure) when (failure is MeasurementException or System.Net.Sockets.SocketException)
            {
                if (Stopwatch.GetElapsedTime(started) > ServingDeadline)
                {
                    throw new MeasurementException(
                        $"{route.Name} does not serve after {ServingDeadline.TotalSeconds} s: {failure.Message}\n{route.Proxy?.Output}");
                }

                await Task.Delay(20, cancellation);
            }
        }
    }
}
