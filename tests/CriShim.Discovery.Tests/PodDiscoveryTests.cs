using CriShim.Discovery.Tests.Support;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests;

public sealed class PodDiscoveryTests
{
    private readonly RecordedLogs _logs = new();
    private readonly FakeTimeProvider _clock = new();

    [Fact]
    public async Task RunAsync_OneSourceFails_TheOthersGoOnAndItStartsAnew()
    {
        var broken = new StubSource("broken", run => run == 1 ? throw new InvalidOperationException("a bug") : "u1");
        var good = new StubSource("good", _ => "u2");
        var discovery = new PodDiscovery(10, [broken, good], _clock, _logs);
        using var stop = new CancellationTokenSource();
        Task running = discovery.RunAsync(stop.Token);

        await Eventually.TrueAsync(() => discovery.Index.Find("u2", "", "", null) is not null, "the good one's pod");
        await Eventually.TrueAsync(() => discovery.Index.Sources[0].State == PodSpecSourceState.Degraded, "the broken one degraded");
        await Eventually.TrueAsync(() => discovery.Index.Find("u1", "", "", null) is not null, "the restarted one's pod", _clock, TimeSpan.FromSeconds(1));

        await stop.CancelAsync();
        await running;
        Assert.Single(_logs.Of("SourceFailed"));
        Assert.Equal(2, broken.Runs);
    }

    [Fact]
    public void New_Options_MakeTheSourcesThatAreOnInTheOrderTheyAreAsked()
    {
        var discovery = new PodDiscovery(
            new DiscoveryOptions
            {
                KubeletPods = new() { Address = new Uri("http://127.0.0.1:10255") },
                ApiServer = new() { KubeconfigPath = "/nowhere" },
                StaticManifests = new() { Path = "/nowhere" },
            },
            _clock, _logs);

        Assert.Equal(["static manifests", "API server", "kubelet /pods"], discovery.Index.Sources.Select(s => s.Name));
        Assert.Empty(new PodDiscovery(new DiscoveryOptions(), _clock, _logs).Index.Sources);
    }

    [Fact]
    public async Task RunAsync_NoSources_EndsAtOnce() =>
        await new PodDiscovery(new DiscoveryOptions(), _clock, _logs).RunAsync(CancellationToken.None).WaitAsync(TimeSpan.FromSeconds(30));

    private sealed class StubSource(string name, Func<int, string> uidOfRun) : IPodSpecSource
    {
        public int Runs { get; private set; }

        public string Name => name;

        public PodIdentity Identity => PodIdentity.Uid;

        public async Task RunAsync(IPodFactsSink sink, CancellationToken cancellationToken)
        {
            string uid = uidOfRun(++Runs);
            sink.Upsert(new(new PodFacts { Uid = uid, Namespace = "n", Name = "p", Containers = [] }));
            sink.Report(PodSpecSourceState.Synced);
            await Task.Delay(Timeout.Infinite, cancellationToken);
        }
    }
}
