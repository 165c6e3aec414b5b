using CriShim.Discovery.Tests.Support;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests;

public sealed class PodFactsIndexTests
{
    private readonly RecordedLogs _logs = new();
    private readonly FakeTimeProvider _clock = new();
    private readonly List<PodFactsChange> _changes = [];
    private readonly PodFactsIndex _index;

    public PodFactsIndexTests()
    {
        _index = new PodFactsIndex(3, _clock, _logs.CreateLogger<PodFactsIndex>());
        _index.Changed += _changes.Add;
    }

    [Fact]
    public void Find_KnownUid_GivesItsFacts()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);
        api.Upsert(new(Pod("u1", "a")));

        PodFactsMatch match = Assert.NotNull(_index.Find("u1", "whatever", "whatever", null));

        Assert.Equal(("a", "api", false), (match.Facts.Name, match.Source, match.IsStale));
        Assert.Null(_index.Find("u2", "shop", "a", "api"));
    }

    [Fact]
    public void Find_StaticPod_GoesByNamespaceAndNameAndTakesTheUidAskedFor()
    {
        Synced("manifests", PodIdentity.Name).Upsert(new(Pod("", "etcd-node-a")));

        PodFactsMatch match = Assert.NotNull(_index.Find("hash", "shop", "etcd-node-a", "file"));

        Assert.Equal("hash", match.Facts.Uid);
        Assert.Null(_index.Find("hash", "other", "etcd-node-a", "file"));
        Assert.Null(_index.Find("hash", "shop", "etcd-node-b", "file"));
    }

    [Theory]
    [InlineData("api")]
    [InlineData("http")]
    [InlineData("")]
    [InlineData(null)]
    public void Find_PodOfAnotherConfigSourceThatIsCalledLikeAStaticOne_FindsNothing(string? configSource)
    {
        Synced("manifests", PodIdentity.Name).Upsert(new(Pod("", "etcd-node-a")));

        Assert.Null(_index.Find("u", "shop", "etcd-node-a", configSource));
    }

    [Fact]
    public void Find_TwoSourcesKnowIt_TheFirstOneIsBelieved()
    {
        IPodFactsSink first = Synced("first", PodIdentity.Uid);
        IPodFactsSink second = Synced("second", PodIdentity.Uid);
        second.Upsert(new(Pod("u", "a")));
        Assert.Equal("second", _index.Find("u", "shop", "a", null)?.Source);

        first.Upsert(new(Pod("u", "a")));

        Assert.Equal("first", _index.Find("u", "shop", "a", null)?.Source);
    }

    [Fact]
    public void Find_FirstSourceDegraded_TheCurrentOneIsBelieved()
    {
        IPodFactsSink first = Synced("first", PodIdentity.Uid);
        IPodFactsSink second = Synced("second", PodIdentity.Uid);
        first.Upsert(new(Pod("u", "a")));
        second.Upsert(new(Pod("u", "a")));

        first.Report(PodSpecSourceState.Degraded, "away");
        Assert.Equal("second", _index.Find("u", "shop", "a", null)?.Source);

        second.Report(PodSpecSourceState.Degraded, "away");
        PodFactsMatch match = Assert.NotNull(_index.Find("u", "shop", "a", null));
        Assert.Equal(("first", true), (match.Source, match.IsStale));
    }

    [Fact]
    public void Find_StaticPodUnderItsUidAndUnderItsName_TheUidGoesFirst()
    {
        Synced("manifests", PodIdentity.Name).Upsert(new(Pod("", "etcd-node-a")));
        Synced("api", PodIdentity.Uid).Upsert(new(Pod("old-hash", "etcd-node-a")));

        Assert.Equal("api", _index.Find("old-hash", "shop", "etcd-node-a", "file")?.Source);
        Assert.Equal("manifests", _index.Find("new-hash", "shop", "etcd-node-a", "file")?.Source);
    }

    [Fact]
    public void Upsert_SameFactsAgain_RaisesNothing()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);

        api.Upsert(new(Pod("u", "a")));
        api.Upsert(new(Pod("u", "a")));
        api.Upsert(new(Pod("u", "a") with { IsTerminating = true }));

        Assert.Equal([false, true], _changes.Select(c => c.Facts.IsTerminating));
        Assert.True(_index.Find("u", "", "", null)!.Value.Facts.IsTerminating);
    }

    [Fact]
    public void ReplaceAll_OthersWereKnown_TheyAreGone()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);
        api.Upsert(new(Pod("u1", "a")));
        api.Upsert(new(Pod("u2", "b")));

        api.ReplaceAll([new(Pod("u2", "b")), new(Pod("u3", "c"))]);

        Assert.Null(_index.Find("u1", "", "", null));
        Assert.NotNull(_index.Find("u2", "", "", null));
        Assert.NotNull(_index.Find("u3", "", "", null));
        Assert.Equal([("u1", false), ("u2", false), ("u1", true), ("u3", false)], _changes.Select(c => (c.Facts.Uid, c.IsRemoved)));
        Assert.Equal(2, _index.Sources.Single().Pods);
    }

    [Fact]
    public void Upsert_FullOfPods_RefusesMoreAndSaysSoOnce()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);

        api.ReplaceAll([.. Enumerable.Range(0, 5).Select(i => new SeenPod(Pod($"u{i}", "a")))]);

        Assert.Equal((3, 2L), (_index.Sources.Single().Pods, _index.Sources.Single().Refused));
        Assert.Single(_logs.Of("TooManyPods"));
    }

    [Fact]
    public void Upsert_FullWithFinishedPods_TheyMakeRoom()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);
        api.ReplaceAll([new(Pod("done", "a"), IsFinished: true), new(Pod("u1", "b")), new(Pod("u2", "c"))]);

        api.Upsert(new(Pod("also-done", "d"), IsFinished: true));
        Assert.Null(_index.Find("also-done", "", "", null));

        api.Upsert(new(Pod("u3", "e")));

        Assert.NotNull(_index.Find("u3", "", "", null));
        Assert.Null(_index.Find("done", "", "", null));
        Assert.Equal(3, _index.Sources.Single().Pods);
    }

    [Fact]
    public void Report_StateChanges_AreTimedAndLoggedOnce()
    {
        IPodFactsSink api = _index.Add("api", PodIdentity.Uid);
        Assert.Equal(PodSpecSourceState.Starting, _index.Sources.Single().State);
        _clock.Advance(TimeSpan.FromSeconds(5));

        api.Report(PodSpecSourceState.Degraded, "away");
        DateTimeOffset since = _clock.GetUtcNow();
        _clock.Advance(TimeSpan.FromSeconds(5));
        api.Report(PodSpecSourceState.Degraded, "away");
        api.Report(PodSpecSourceState.Degraded, "still away");

        PodSpecSourceStatus status = _index.Sources.Single();
        Assert.Equal((PodSpecSourceState.Degraded, "still away", since), (status.State, status.Reason, status.Since));
        Assert.Equal(2, _logs.Of("SourceDegraded").Count);
    }

    [Fact]
    public void Upsert_ChangeHandlerFails_TheIndexIsKept()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);
        _index.Changed += _ => throw new InvalidOperationException("a reader's bug");

        api.Upsert(new(Pod("u", "a")));

        Assert.NotNull(_index.Find("u", "", "", null));
        Assert.Single(_logs.Of("ChangeHandlerFailed"));
    }

    [Fact]
    public async Task Find_WhileItIsWritten_AlwaysFindsWhatStays()
    {
        IPodFactsSink api = Synced("api", PodIdentity.Uid);
        api.Upsert(new(Pod("stays", "a")));
        using var done = new CancellationTokenSource();
        Task<bool> reads = Task.Run(() =>
        {
            bool found = true;
            while (!done.IsCancellationRequested)
            {
                found &= _index.Find("stays", "", "", null) is not null;
            }

            return found;
        });

        for (int i = 0; i < 20_000; i++)
        {
            api.ReplaceAll([new(Pod("stays", "a") with { IsTerminating = i % 2 == 0 }), new(Pod($"u{i}", "b"))]);
        }

        await done.CancelAsync();
        Assert.True(await reads);
    }

    private IPodFactsSink Synced(string name, PodIdentity identity)
    {
        IPodFactsSink sink = _index.Add(name, identity);
        sink.Report(PodSpecSourceState.Synced);
        return sink;
    }

    private static PodFacts Pod(string uid, string name) => new()
    {
        Uid = uid,
        Namespace = "shop",
        Name = name,
        Containers = [new ContainerFacts("main", ContainerRole.Plain)],
        Annotations = new Dictionary<string, string> { ["crishim.io/sidecars"] = "x" },
    };
}
