namespace CriShim.Benchmarks;

/// <summary>The command line.</summary>
internal sealed record BenchmarkOptions
{
    public const string Usage = """
        CriShim.Benchmarks [--crishim FILE] [--containerd SOCKET] [--quick] [--only ROW]... [--json FILE] [--markdown FILE]

          --crishim FILE       the executable to measure, by default the one that CRISHIM_BIN names; without either, only nginx is
          --containerd SOCKET  measure Version and ListContainers on this runtime too
          --quick              fewer and shorter rounds: to try the benchmark, not to quote it
          --only ROW           a group (startup, latency, throughput, list, memory, idle, restart, teardown, supervision) or a row's
                               id from the JSON file; may be repeated
          --json FILE          default out/bench/bench.json
          --markdown FILE      default out/bench/bench.md

        Exit code: 0 measured, whether or not aims are met; 1 something could not be measured; 2 wrong usage; 130 interrupted.
        """;

    public string? CriShim { get; init; }

    public string? Containerd { get; init; }

    public IReadOnlyList<string> Only { get; init; } = [];

    public string Json { get; init; } = Path.Combine("out", "bench", "bench.json");

    public string Markdown { get; init; } = Path.Combine("out", "bench", "bench.md");

    public bool Quick { get; init; }

    public int Rounds => Quick ? 3 : 9;

    /// <summary>More and shorter ones, because where the scheduler puts a caller is decided once for each.</summary>
    public int LatencyRounds => Quick ? 5 : 25;

    public int LatencyCalls => Quick ? 1_000 : 2_000;

    public int ThroughputCalls => Quick ? 5_000 : 20_000;

    public int SmallListCalls => Quick ? 30 : 200;

    public int LargeListCalls => Quick ? 10 : 40;

    public int Starts => Quick ? 3 : 10;

    /// <summary>Deaths of a sidecar on a real containerd.</summary>
    public int Deaths => Quick ? 10 : 50;

    /// <summary>Pods that are ended on a real containerd, each way.</summary>
    public int Teardowns => Quick ? 5 : 30;

    /// <summary>Pods of a full node, and how many sidecars die at once there.</summary>
    public int Pods => Quick ? 100 : 1_000;

    /// <summary>Long enough for two of crishim's own lists.</summary>
    public TimeSpan SupervisedIdle => TimeSpan.FromSeconds(20);

    public TimeSpan Settle => TimeSpan.FromSeconds(Quick ? 1 : 3);

    public TimeSpan Idle => TimeSpan.FromSeconds(Quick ? 2 : 10);

    /// <exception cref="ArgumentException">Says what is wrong.</exception>
    public static BenchmarkOptions Parse(IReadOnlyList<string> arguments)
    {
        var options = new BenchmarkOptions
        {
            CriShim = Environment.GetEnvironmentVariable("CRISHIM_BIN") is { Length: > 0 } named ? Existing(named) : null,
        };
        for (var index = 0; index < arguments.Count; index++)
        {
            var name = arguments[index];
            options = name switch
            {
                "--quick" => options with { Quick = true },
                "--crishim" => options with { CriShim = Existing(Value()) },
                "--containerd" => options with { Containerd = Existing(Value().Replace("unix://", "", StringComparison.Ordinal)) },
                "--only" => options with { Only = [.. options.Only, Value()] },
                "--json" => options with { Json = Value() },
                "--markdown" => options with { Markdown = Value() },
                _ => throw new ArgumentException($"unknown argument {name}"),
            };

            string Value() => ++index < arguments.Count ? arguments[index] : throw new ArgumentException($"{name} needs a value");
        }

        return options;
    }

    /// <summary>Whether a row is wanted, by its id or its group.</summary>
    public bool Wants(string group, string row) => Only.Count == 0 || Only.Contains(row) || Only.Contains(group);

    private static string Existing(string path) =>
        File.Exists(path) ? Path.GetFullPath(path) : throw new ArgumentException($"{path} does not exist");
}
