using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.Tests.Support;

/// <summary>One source filling an index until disposed.</summary>
internal sealed class SourceRun : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _running;
    private readonly IPodSpecSource _source;

    public SourceRun(IPodSpecSource source, TimeProvider time, RecordedLogs logs)
    {
        _source = source;
        Index = new PodFactsIndex(100, time, logs.CreateLogger<PodFactsIndex>());
        IPodFactsSink sink = Index.Add(source.Name, source.Identity);
        Eventually.Context.Value = () => $"{Status}\n{string.Join('\n', logs.Texts)}";
        _running = Task.Run(() => source.RunAsync(sink, _stop.Token));
    }

    public PodFactsIndex Index { get; }

    public PodSpecSourceStatus Status => Index.Sources.Single();

    public IReadOnlyList<string> Names => [.. Index.PodsOf(_source.Name).Select(p => p.Name).Order(StringComparer.Ordinal)];

    public bool IsSynced => Status.State == PodSpecSourceState.Synced;

    public bool Has(string uid) => Index.Find(uid, "", "", null) is not null;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _running);
        _stop.Dispose();
    }
}
