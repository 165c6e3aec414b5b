using CriShim.Discovery.ApiServer;
using CriShim.Discovery.Kubelet;
using CriShim.Discovery.StaticManifests;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery;

/// <summary>
/// Runs the pod spec sources that are switched on, each by itself: one that fails, for whatever reason, stops neither the others nor the
/// process.
/// </summary>
public sealed class PodDiscovery
{
    private static readonly TimeSpan RestartDelay = TimeSpan.FromSeconds(30);

    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly List<(IPodSpecSource Source, IPodFactsSink Sink)> _sources = [];

    /// <summary>Starts nothing yet.</summary>
    /// <param name="options">Without faults, see <see cref="DiscoveryOptionsValidator"/>.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logs">Where it logs.</param>
    /// <param name="node">Tells the node's name, also to others; null: one of its own does.</param>
    public PodDiscovery(DiscoveryOptions options, TimeProvider time, ILoggerFactory logs, NodeNameResolver? node = null)
        : this(options.MaxPodsPerSource, CreateSources(options, time, logs, node), time, logs)
    {
    }

    internal PodDiscovery(int maxPodsPerSource, IEnumerable<IPodSpecSource> sources, TimeProvider time, ILoggerFactory logs)
    {
        _time = time;
        _log = logs.CreateLogger<PodDiscovery>();
        Index = new PodFactsIndex(maxPodsPerSource, time, logs.CreateLogger<PodFactsIndex>());
        foreach (IPodSpecSource source in sources)
        {
            _sources.Add((source, Index.Add(source.Name, source.Identity)));
        }
    }

    /// <summary>What the sources know; complete in its sources, and empty at first.</summary>
    public PodFactsIndex Index { get; }

    /// <summary>Runs until cancelled, and then ends without an exception.</summary>
    public Task RunAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(_sources.Select(s => Task.Run(() => RunAsync(s.Source, s.Sink, cancellationToken), CancellationToken.None)));

    private static IEnumerable<IPodSpecSource> CreateSources(
        DiscoveryOptions options, TimeProvider time, ILoggerFactory logs, NodeNameResolver? shared)
    {
        string? kubeconfig = options.NodeKubeconfigPath ?? options.ApiServer?.KubeconfigPath ?? options.KubeletPods?.KubeconfigPath;
        NodeNameResolver node = shared ?? new NodeNameResolver(options.NodeName, kubeconfig, logs.CreateLogger<NodeNameResolver>());
        if (options.StaticManifests is { } manifests)
        {
            yield return new StaticManifestSource(manifests, node, time, logs.CreateLogger<StaticManifestSource>());
        }

        if (options.ApiServer is { } api)
        {
            yield return new ApiServerSource(api, node, time, logs.CreateLogger<ApiServerSource>());
        }

        if (options.KubeletPods is { } kubelet)
        {
            yield return new KubeletPodsSource(kubelet, node, time, logs.CreateLogger<KubeletPodsSource>());
        }
    }

    private async Task RunAsync(IPodSpecSource source, IPodFactsSink sink, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            try
            {
                await source.RunAsync(sink, cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                _log.SourceFailed(source.Name, RestartDelay, e);
                sink.Report(PodSpecSourceState.Degraded, "it failed unexpectedly; see the log");
            }

            await Task.Delay(RestartDelay, _time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
