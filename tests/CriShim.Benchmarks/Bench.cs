using CriShim.Benchmarks.Load;
using CriShim.Benchmarks.Routes;

namespace CriShim.Benchmarks;

/// <summary>What a measurement works with: one backend, the proxies to put before it, and a caller.</summary>
internal sealed record Bench(BenchmarkOptions Options, Workspace Workspace, MeasuredBackend Backend, IReadOnlyList<ProxyLaunch> Proxies)
{
    public H2Load H2Load { get; } = new(Workspace);
}

/// <summary>
/// Where all routes lead. Rows of a real backend stand beside those of the fake one and are information: the aims are for the fake.
/// </summary>
/// <param name="SocketPath">Its own socket: the bare route.</param>
/// <param name="Process">Null for a real backend, which is not ours to start or to move between cores.</param>
internal sealed record MeasuredBackend(string SocketPath, StartedProcess? Process)
{
    public bool IsReal => Process is null;

    public string RowPrefix => IsReal ? "containerd-" : "";

    public string TitleSuffix => IsReal ? ", containerd" : "";
}
