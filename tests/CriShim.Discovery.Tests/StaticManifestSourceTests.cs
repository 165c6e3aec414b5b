using CriShim.Discovery.StaticManifests;
using CriShim.Discovery.Tests.Support;
using CriShim.Supervision.Pods;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests;

public sealed class StaticManifestSourceTests : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(100);

    private readonly ScratchDirectory _scratch = new();
    private readonly RecordedLogs _logs = new();

    /// <summary>Goes a little at a time: too little for the poll, enough for a change to settle.</summary>
    private readonly FakeTimeProvider _clock = new(DateTimeOffset.UnixEpoch);

    private readonly TimeSpan _never = TimeSpan.FromDays(10);

    [Fact]
    public async Task RunAsync_Manifests_AreKnownUnderTheKubeletsNames()
    {
        _scratch.Write("etcd.yaml", Pod("etcd"));
        _scratch.Write("two.json", """
            {"kind":"List","apiVersion":"v1","items":[
              {"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"kube-system"},"spec":{"containers":[{"name":"c"}]}},
              {"kind":"Pod","apiVersion":"v1","metadata":{"name":"b"},"spec":{"containers":[{"name":"c"}]}}]}
            """);
        _scratch.Write(".etcd.yaml.swp", Pod("hidden"));
        _scratch.Write("sub/dir.yaml", Pod("in-a-directory"));
        await using SourceRun run = Start();
        await SyncedAsync(run);

        Assert.Equal(["a-node-a", "b-node-a", "etcd-node-a"], run.Names);
        PodFactsMatch match = Assert.NotNull(run.Index.Find("the-hash", "kube-system", "etcd-node-a", "file"));
        Assert.Equal(("the-hash", ContainerRole.RestartableInit), (match.Facts.Uid, match.Facts.Containers[0].Role));
        Assert.Null(run.Index.Find("the-hash", "kube-system", "etcd-node-a", "api"));
        Assert.NotNull(run.Index.Find("u", "default", "b-node-a", "file"));
    }

    [Fact]
    public async Task RunAsync_FilesCreatedModifiedRenamedDeleted_AreFollowedByInotify()
    {
        await using SourceRun run = Start();
        await SyncedAsync(run);

        _scratch.Write("a.yaml", Pod("a"));
        await NamesAsync(run, "a-node-a");

        _scratch.Write("a.yaml", Pod("a2"));
        await NamesAsync(run, "a2-node-a");

        _scratch.Write(".b.tmp", Pod("b"));
        File.Move(_scratch.File(".b.tmp"), _scratch.File("b.yaml"));
        await NamesAsync(run, "a2-node-a", "b-node-a");

        File.Move(_scratch.File("a.yaml"), _scratch.File(".a.yaml"));
        await NamesAsync(run, "b-node-a");

        _scratch.Write(".c.tmp", Pod("c"));
        File.Move(_scratch.File(".c.tmp"), _scratch.File("b.yaml"), overwrite: true);
        await NamesAsync(run, "c-node-a");

        File.Delete(_scratch.File("b.yaml"));
        await NamesAsync(run);
    }

    [Fact]
    public async Task RunAsync_BadFile_IsKeptOutAndToldOnceUntilItIsMended()
    {
        _scratch.Write("good.yaml", Pod("good"));
        string bad = _scratch.Write("bad.yaml", "kind: Pod\nspec: [hunter2\n");
        await using SourceRun run = Start(pollInterval: TimeSpan.FromSeconds(20));
        await SyncedAsync(run);
        Assert.Equal(["good-node-a"], run.Names);

        _scratch.Write("other.yaml", Pod("other"));
        await NamesAsync(run, "good-node-a", "other-node-a");
        Assert.Equal([$"Static manifest left out: {bad}:3: is no valid YAML"], _logs.Of("ManifestRejected"));

        _scratch.Write("bad.yaml", Pod("mended"));
        await NamesAsync(run, "good-node-a", "mended-node-a", "other-node-a");
        await Eventually.TrueAsync(() => _logs.Of("ManifestAccepted").Count == 1, "told");

        // A good file that goes bad takes its pod with it, as it does with the kubelet.
        _scratch.Write("bad.yaml", "kind: Deployment\n");
        await NamesAsync(run, "good-node-a", "other-node-a");
        Assert.Equal(2, _logs.Of("ManifestRejected").Count);
        Assert.DoesNotContain(_logs.Texts, t => t.Contains("hunter2", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RunAsync_EmptyOversizedAndUnreadableFiles_AreKeptOut()
    {
        _scratch.Write("empty.yaml", "");
        _scratch.Write("large.yaml", new string('#', (1024 * 1024) + 1));
        File.CreateSymbolicLink(_scratch.File("dangling.yaml"), "nowhere");
        File.CreateSymbolicLink(_scratch.File("device.yaml"), "/dev/zero");
        File.CreateSymbolicLink(_scratch.File("loop.yaml"), "loop.yaml");
        _scratch.Write("good.yaml", Pod("good"));
        await using SourceRun run = Start();

        await SyncedAsync(run);

        Assert.Equal(["good-node-a"], run.Names);
        Assert.Equal(4, _logs.Of("ManifestRejected").Count);
    }

    [Fact]
    public async Task RunAsync_PipeAmongTheManifests_IsNotWaitedFor()
    {
        _scratch.Write("good.yaml", Pod("good"));
        using (var made = System.Diagnostics.Process.Start("mkfifo", [_scratch.File("pipe.yaml")]))
        {
            await made.WaitForExitAsync();
        }

        await using SourceRun run = Start();

        await SyncedAsync(run);
        Assert.Equal(["good-node-a"], run.Names);
    }

    [Fact]
    public async Task RunAsync_SamePodInTwoFiles_TheFirstFileIsBelieved()
    {
        _scratch.Write("1.yaml", Pod("a"));
        string second = _scratch.Write("2.yaml", Pod("a"));
        await using SourceRun run = Start();
        await SyncedAsync(run);

        Assert.Equal(["a-node-a"], run.Names);
        Assert.Equal([$"Static manifest left out: {second}: pod kube-system/a is also in {_scratch.File("1.yaml")}"], _logs.Of("ManifestRejected"));
    }

    [Fact]
    public async Task RunAsync_DirectoryComesLaterAndGoes_IsFoundByThePoll()
    {
        string directory = _scratch.File("manifests");
        await using SourceRun run = Start("manifests", TimeSpan.FromSeconds(20));
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.Equal($"{directory} does not exist", run.Status.Reason);

        _scratch.Write("manifests/a.yaml", Pod("a"));
        await NamesAsync(run, "a-node-a");
        Assert.True(run.IsSynced);

        Directory.Delete(directory, recursive: true);
        await NamesAsync(run);

        _scratch.Write("manifests/b.yaml", Pod("b"));
        await NamesAsync(run, "b-node-a");
    }

    [Fact]
    public async Task RunAsync_TargetOfALinkChanges_IsFoundByThePoll()
    {
        _scratch.Write("elsewhere/a.yaml", Pod("a"));
        Directory.CreateDirectory(_scratch.File("manifests"));
        File.CreateSymbolicLink(_scratch.File("manifests/a.yaml"), "../elsewhere/a.yaml");
        await using SourceRun run = Start("manifests", TimeSpan.FromSeconds(20));
        await SyncedAsync(run);

        _scratch.Write("elsewhere/a.yaml", Pod("b"));

        await NamesAsync(run, "b-node-a");
    }

    [Fact]
    public async Task RunAsync_OneFileInsteadOfADirectory_IsRead()
    {
        _scratch.Write("pod.yaml", Pod("a"));
        _scratch.Write("other.yaml", Pod("other"));
        await using SourceRun run = Start("pod.yaml");
        await SyncedAsync(run);

        _scratch.Write("pod.yaml", Pod("b"));

        await NamesAsync(run, "b-node-a");
    }

    public void Dispose()
    {
        _scratch.Dispose();
        _logs.AssertNoErrors();
    }

    private static string Pod(string name) => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}}, namespace: kube-system}
        spec:
          initContainers: [{name: agent, restartPolicy: Always}]
          containers: [{name: main}]
        """;

    private SourceRun Start(string path = "", TimeSpan? pollInterval = null)
    {
        var node = new NodeNameResolver("node-a", null, _logs.CreateLogger<NodeNameResolver>());
        var options = new StaticManifestOptions { Path = path.Length == 0 ? _scratch.Path : _scratch.File(path), PollInterval = pollInterval ?? _never };
        return new SourceRun(new StaticManifestSource(options, node, _clock, _logs.CreateLogger<StaticManifestSource>()), _clock, _logs);
    }

    private static Task SyncedAsync(SourceRun run) => Eventually.TrueAsync(() => run.IsSynced, "synced");

    private Task NamesAsync(SourceRun run, params string[] names) =>
        Eventually.TrueAsync(() => run.Names.SequenceEqual(names), string.Join(", ", names), _clock, Tick);
}
