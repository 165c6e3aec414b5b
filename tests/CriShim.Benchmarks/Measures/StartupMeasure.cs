using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Measures;

/// <summary>From just before fork and exec until a caller gets in, and until its first Version call succeeds.</summary>
internal sealed partial class StartupMeasure() : Measure("startup")
{
    private const double MostMilliseconds = 150;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(20);

    public override IReadOnlyList<string> RowIds => ["startup-connect", "startup-serving"];

    public override async Task<IReadOnlyList<Row>> RunAsync(Bench bench, CancellationToken cancellation)
    {
        var (connect, serving) = (new RoundFigures(), new RoundFigures());

        // Round 0 loads pages of executables and compiles this program's own path; it is not counted.
        for (var round = 0; round <= bench.Options.Starts; round++)
        {
            foreach (var proxy in bench.Proxies)
            {
                var (connected, served) = await StartOnceAsync(bench, proxy, cancellation);
                if (round > 0)
                {
                    connect.Add(proxy.Name, connected.TotalMilliseconds);
                    serving.Add(proxy.Name, served.TotalMilliseconds);
                }
            }
        }

        var row = serving.ToRow("startup-serving", "Exec to first Version call", "ms");
        return
        [
            connect.ToRow("startup-connect", "Exec to accepted connection", "ms"),
            row with { Aim = Aim.AtMost($"at most {MostMilliseconds} ms", row.CriShim, MostMilliseconds) },
        ];
    }

    private static async Task<(TimeSpan Connected, TimeSpan Served)> StartOnceAsync(
        Bench bench, ProxyLaunch proxy, CancellationToken cancellation)
    {
        var route = proxy.Start(bench.Workspace, bench.Backend.SocketPath);
        var process = route.Proxy!;
        try
        {
            var socket = Connect(route, process, cancellation);
            var connected = Stopwatch.GetElapsedTime(process.StartedAt);
            using var caller = new CriCaller(_ => ValueTask.FromResult(socket));
            while (true)
            {
                try
                {
                    await caller.CallAsync(CannedCall.Version, cancellation);
                    return (connected, Stopwatch.GetElapsedTime(process.StartedAt));
                }
                catch (MeasurementException) when (Stopwatch.GetElapsedTime(process.StartedAt) < Deadline)
                {
                    // Not ready to forward yet: what serving means is a call that succeeds.
                    process.ThrowIfEnded();
                    Nap();
                    if (!socket.Connected)
                    {
                        socket = Connect(route, process, cancellation);
                    }
                }
            }
        }
        finally
        {
            bench.Workspace.End(process);
        }
    }

    private static Socket Connect(Route route, StartedProcess process, CancellationToken cancellation)
    {
        var endPoint = new UnixDomainSocketEndPoint(route.SocketPath);
        while (true)
        {
            // A refused connect is an exception, which is dear; the file is looked for first.
            while (!File.Exists(route.SocketPath))
            {
                cancellation.ThrowIfCancellationRequested();
                process.ThrowIfEnded();
                if (Stopwatch.GetElapsedTime(process.StartedAt) > Deadline)
                {
                    throw new MeasurementException($"{route.Name} made no socket in {Deadline.TotalSeconds} s\n{process.Output}");
                }

                Nap();
            }

            var socket = CriCaller.NewSocket();
            try
            {
                socket.Connect(endPoint);
                return socket;
            }
            catch (SocketException) when (Stopwatch.GetElapsedTime(process.StartedAt) < Deadline)
            {
                // Bound, but not listening yet.
                socket.Dispose();
                process.ThrowIfEnded();
                Nap();
            }
        }
    }

    /// <summary>Thread.Sleep knows no less than a millisecond.</summary>
    private static void Nap() => _ = SleepMicroseconds(200);

    [LibraryImport("libc", EntryPoint = "usleep")]
    private static partial int SleepMicroseconds(uint microseconds);
}
