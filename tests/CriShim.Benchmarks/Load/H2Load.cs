using System.Globalization;
using System.Text.RegularExpressions;
using CriShim.Benchmarks.Backend;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks.Load;

/// <summary>What a run of h2load asks for. Window sizes are powers of two.</summary>
internal sealed record LoadShape(int Requests, int Connections, int StreamsEach, int WindowBits = LoadShape.LargeWindow)
{
    /// <summary>Whether the caller stays on the first core.</summary>
    public bool OneCore { get; init; }

    /// <summary>1 GiB: h2load's default, and far from ever holding a response back.</summary>
    public const int LargeWindow = 30;

    /// <summary>64 KiB: what gRPC's libraries begin with.</summary>
    public const int GrpcWindow = 16;
}

/// <summary>What it measured.</summary>
internal sealed record LoadResult(double RequestsPerSecond, Latencies Latencies);

/// <summary>h2load of nghttp2: a fast caller in C that knows HTTP/2 on Unix sockets and logs each call.</summary>
internal sealed partial class H2Load(Workspace workspace)
{
    public static async Task<string> VersionAsync(CancellationToken cancellation) =>
        (await ToolOutput.ReadAsync("h2load", ["--version"], cancellation)).Trim();

    /// <exception cref="MeasurementException">A call failed, or its response had the wrong length.</exception>
    public async Task<LoadResult> RunAsync(
        Route route, CannedCall call, int responseLength, LoadShape shape, CancellationToken cancellation)
    {
        var body = workspace.NewPath("request");
        var log = workspace.NewPath("log");
        await File.WriteAllBytesAsync(body, call.Request, cancellation);
        try
        {
            var output = await ToolOutput.ReadAsync(
                shape.OneCore ? Cores.Tool : "h2load",
                [
                    .. shape.OneCore ? Cores.RunOnFirst("h2load") : [],
                    "-n", Text(shape.Requests), "-c", Text(shape.Connections), "-m", Text(shape.StreamsEach),
                    "-w", Text(shape.WindowBits), "-W", Text(shape.WindowBits),
                    "-H", "content-type: application/grpc", "-H", "te: trailers",
                    "-d", body, "--log-file", log, "-B", $"unix:{route.SocketPath}", $"http://localhost{call.Path}",
                ],
                cancellation);
            Check(output, route, shape, responseLength);
            var rate = double.Parse(RatePattern().Match(output).Groups[1].Value, CultureInfo.InvariantCulture);
            return new LoadResult(rate, Latencies.FromLog(await File.ReadAllLinesAsync(log, cancellation)));
        }
        finally
        {
            File.Delete(body);
            File.Delete(log);
        }
    }

    private static void Check(string output, Route route, LoadShape shape, int responseLength)
    {
        // A failed gRPC call is HTTP 200 all the same, but has no message: the sum of bytes shows it.
        var succeeded = SucceededPattern().Match(output).Groups[1].Value;
        var data = DataPattern().Match(output).Groups[1].Value;
        if (succeeded != Text(shape.Requests) || data != Text((long)shape.Requests * responseLength))
        {
            throw new MeasurementException(
                $"{route.Name}: {succeeded} of {shape.Requests} calls succeeded with {data} bytes of {responseLength} each. "
                + $"{route.Proxy?.Output}\n{output}");
        }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"finished in [^,]*, ([\d.]+) req/s")]
    private static partial Regex RatePattern();

    [GeneratedRegex(@"(\d+) succeeded")]
    private static partial Regex SucceededPattern();

    [GeneratedRegex(@"\((\d+)\) data")]
    private static partial Regex DataPattern();
}
