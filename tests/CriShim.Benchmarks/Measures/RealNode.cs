using CriShim.Benchmarks.Report;
using CriShim.Benchmarks.Routes;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using CriCaller = CriShim.TestSupport.Lab.CriCaller;

namespace CriShim.Benchmarks.Measures;

/// <summary>A private containerd with a crishim before it, for what a fake backend can't show.</summary>
internal sealed class RealNode : IAsyncDisposable
{
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private RealNode(PrivateContainerd containerd, StartedProcess crishim, string socket)
    {
        Containerd = containerd;
        Crishim = crishim;
        Bare = new CriCaller(containerd.SocketPath);
        Through = new CriCaller(socket);
    }

    public PrivateContainerd Containerd { get; }

    public StartedProcess Crishim { get; }

    public CriCaller Bare { get; }

    public CriCaller Through { get; }

    /// <param name="bench">For its workspace.</param>
    /// <param name="executable">crishim.</param>
    /// <param name="supervision">See <see cref="CriShimLaunch"/>.</param>
    /// <param name="cancellation">Ends the start.</param>
    public static async Task<RealNode> StartAsync(Bench bench, string executable, string supervision, CancellationToken cancellation)
    {
        if (!Environment.IsPrivilegedProcess)
        {
            throw new MeasurementException("a private containerd needs root");
        }

        // What is there: a benchmark downloads nothing by itself.
        var version = Directory.Exists(ContainerdVersion.V21.Binaries) ? ContainerdVersion.V21 : ContainerdVersion.V16;
        var containerd = await PrivateContainerd.StartAsync(version);
        RealNode? node = null;
        try
        {
            var socket = bench.Workspace.NewPath("crishim.sock");
            node = new RealNode(containerd, CriShimLaunch.Start(executable, bench.Workspace, socket, containerd.SocketPath, supervision), socket);
            await Condition.SucceedsAsync("crishim serves", Deadline, () =>
            {
                node.Crishim.ThrowIfEnded();
                return node.Through.Runtime.VersionAsync(new VersionRequest(), cancellationToken: cancellation).ResponseAsync;
            });
            return node;
        }
        catch
        {
            await (node?.DisposeAsync() ?? containerd.DisposeAsync());
            throw;
        }
    }

    public PodRecipe Recipe(string name) => new(name, Path.Combine(Containerd.Folder, "logs"), Containerd.CgroupParent);

    /// <summary>A percentile of what crishim takes beside that of what it can't take less than. The middle is told with how far values lay apart.</summary>
    public static Row Compare(string id, string title, List<double> floor, List<double> measured, double percentile)
    {
        var (direct, crishim) = (At(floor, percentile), At(measured, percentile));
        return new Row(id, title, "ms")
        {
            Direct = direct,
            CriShim = crishim,
            AddedByCriShim = Figure.Of(crishim.Median - direct.Median),
            Ratio = new Ratio("to bare", Figure.QuotientOfMedians(crishim, direct)),
        };
    }

    public async ValueTask DisposeAsync()
    {
        Bare.Dispose();
        Through.Dispose();
        await Containerd.DisposeAsync();
    }

    private static Figure At(List<double> values, double percentile) =>
        percentile == 50 ? Figure.Of(values) : Figure.Of(values.Order().ElementAt((int)Math.Ceiling(percentile / 100 * values.Count) - 1));
}
