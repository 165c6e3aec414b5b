using CriShim.Discovery.ApiServer;
using CriShim.Discovery.Tests.Support;
using CriShim.Supervision.Pods;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests;

public sealed class ApiServerSourceTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Start2000 = new FakeTimeProvider().GetUtcNow();

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ScratchDirectory _scratch = new();
    private readonly RecordedLogs _logs = new();
    private readonly FakeTimeProvider _clock = new();
    private FakeApiServer _api = null!;
    private string? _first;

    public async Task InitializeAsync() => _api = await FakeApiServer.StartAsync();

    public async Task DisposeAsync()
    {
        await _api.DisposeAsync();
        _scratch.Dispose();
        _logs.AssertNoErrors();
        Assert.DoesNotContain(_logs.Texts, t => t.Contains("PRIVATE KEY", StringComparison.Ordinal) || t.Contains("hunter2", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RunAsync_PodsOfTheNode_AreListedThenWatched()
    {
        _api.Put("a", "ua");
        _api.Put("b", "ub");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        Assert.Equal(["a", "b"], run.Names);
        _api.Put("c", "uc");
        await Eventually.TrueAsync(() => run.Has("uc"), "the new pod");
        _api.Put("c", "uc", more: ""","deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":3""");
        await Eventually.TrueAsync(() => run.Index.Find("uc", "", "", null)!.Value.Facts.IsTerminating, "the deletion");
        _api.Delete("ua");
        await Eventually.TrueAsync(() => !run.Has("ua"), "the removal");

        Assert.Equal(["b", "c"], run.Names);
        Assert.Equal(["/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&resourceVersion=0"], _api.Lists);
        Assert.Matches(
            @"^/api/v1/pods\?fieldSelector=spec\.nodeName%3Dnode-a&watch=true&allowWatchBookmarks=true&timeoutSeconds=(3[6-9]\d|[45]\d\d|600)&resourceVersion=102$",
            Assert.Single(_api.WatchCalls));
    }

    [Fact]
    public async Task RunAsync_MirrorPod_IsKnownUnderTheStaticPodsUid()
    {
        _api.Put("etcd-node-a", "api-uid", more: ""","annotations":{"kubernetes.io/config.mirror":"hash-1"}""");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        Assert.True(run.Has("hash-1"));
        Assert.False(run.Has("api-uid"));

        _api.Delete("api-uid");
        await Eventually.TrueAsync(() => !run.Has("hash-1"), "the mirror's removal");
    }

    [Fact]
    public async Task RunAsync_WatchEnds_GoesOnFromTheLastVersionSeen()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);
        _api.Put("a", "ua");
        await Eventually.TrueAsync(() => run.Has("ua"), "the pod");

        _clock.Advance(TimeSpan.FromMinutes(5));
        _api.EndWatches();
        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 2, "the next watch");

        Assert.EndsWith("&resourceVersion=101", _api.WatchCalls.Last(), StringComparison.Ordinal);
        Assert.Single(_api.Lists);
        Assert.True(run.IsSynced);
        Assert.Empty(_logs.Of("SourceDegraded"));
    }

    [Fact]
    public async Task RunAsync_Bookmark_MovesTheVersionOn()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);
        _api.Bookmark();
        _api.Put("a", "ua");
        await Eventually.TrueAsync(() => run.Has("ua"), "the pod after the bookmark");
        _api.Bookmark();
        _api.SendRaw("""{"type":"SOMETHINGNEW","object":{"metadata":{}}}""" + "\n");
        long version = _api.Version;
        _api.EndWatches();
        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 2, "the next watch", _clock, Second);

        Assert.EndsWith($"&resourceVersion={version}", _api.WatchCalls.Last(), StringComparison.Ordinal);
        Assert.Single(_api.Lists);
    }

    [Fact]
    public async Task RunAsync_WatchEndsAtOnceEachTime_IsNotHammeredAndIsDegraded()
    {
        _api.Instead = async context =>
        {
            if (context.Request.Query["watch"] != "true")
            {
                return false;
            }

            await context.Response.StartAsync();
            return true;
        };
        await using SourceRun run = Start(UseCertificate());
        await Eventually.TrueAsync(() => _api.WatchCalls.Any(), "the first watch");

        // The clock stands still: the next one waits for it.
        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 5, "five watches", _clock, TimeSpan.FromMilliseconds(100));

        // Not at once; the clock runs on while a loaded machine connects, so there is no most.
        Assert.True(_clock.GetUtcNow() - Start2000 >= TimeSpan.FromSeconds(7.5), $"{_clock.GetUtcNow():o}");
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.EndsWith("its watches end at once", run.Status.Reason, StringComparison.Ordinal);
        Assert.Single(_logs.Of("SourceDegraded"));

        _api.Put("a", "ua");
        await Eventually.TrueAsync(() => run.Has("ua"), "the pod, by a list", _clock, Second);
    }

    [Fact]
    public async Task RunAsync_ConnectionLostInTheMiddle_WatchesOnWithoutMissingAnything()
    {
        _api.Put("a", "ua");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        _api.EndWatches(new IOException("cut"));
        _api.Delete("ua");
        _api.Put("b", "ub");
        await Eventually.TrueAsync(() => run.Has("ub") && !run.Has("ua"), "what happened meanwhile", _clock, Second);

        Assert.Single(_api.Lists);
        await Eventually.TrueAsync(() => run.IsSynced, "synced again", _clock, Second);
    }

    [Fact]
    public async Task RunAsync_VersionGone_ListsTheLatestAtOnce()
    {
        _api.Put("a", "ua");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);
        _clock.Advance(TimeSpan.FromMinutes(1));

        _api.PutUnheard("b", "ub");
        _api.EndWatches();

        // The clock stands still: nothing was waited for.
        await Eventually.TrueAsync(() => run.Has("ub"), "the pod of the gap");
        await WatchingAsync(run);
        Assert.Equal(
            [
                "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&resourceVersion=0",
                "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a",
            ],
            _api.Lists);
        Assert.Empty(_logs.Of("SourceDegraded"));
    }

    [Fact]
    public async Task RunAsync_VersionGoneAsStatus_ListsAgain()
    {
        int answers = 0;
        _api.Instead = context =>
        {
            bool isFirstWatch = context.Request.Query["watch"] == "true" && Interlocked.Increment(ref answers) == 1;
            context.Response.StatusCode = isFirstWatch ? 410 : 200;
            return Task.FromResult(isFirstWatch);
        };
        await using SourceRun run = Start(UseCertificate());

        await WatchingAsync(run);

        Assert.Equal(2, _api.Lists.Count());
    }

    [Fact]
    public async Task RunAsync_VersionAlwaysGone_IsNotHammered()
    {
        _api.Instead = context =>
        {
            bool isWatch = context.Request.Query["watch"] == "true";
            context.Response.StatusCode = isWatch ? 410 : 200;
            return Task.FromResult(isWatch);
        };
        await using SourceRun run = Start(UseCertificate());

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        Assert.Equal(2, _api.Lists.Count());
    }

    [Fact]
    public async Task RunAsync_ErrorEventOfAnotherKind_ListsAgainAfterAWait()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        _api.SendRaw("""{"type":"ERROR","object":{"kind":"Status","code":504,"message":"Too large resource version"}}""" + "\n");
        await Eventually.TrueAsync(() => _api.Lists.Count() == 2, "another list", _clock, Second);

        await Eventually.TrueAsync(() => run.IsSynced, "synced", _clock, Second);
    }

    [Theory]
    [InlineData("<html>Bad gateway</html>")]
    [InlineData("""{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[{"metadata":""")]
    [InlineData("""{"kind":"PodList","metadata":{},"items":[]}""")]
    [InlineData("")]
    public async Task RunAsync_GarbageForAList_KeepsWhatIsKnownAndTriesAgain(string garbage)
    {
        _api.Put("a", "ua");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);
        _api.Instead = async context =>
        {
            if (context.Request.Query["watch"] == "true")
            {
                return false;
            }

            await context.Response.WriteAsync(garbage);
            return true;
        };

        _api.PutUnheard("b", "ub");
        _api.EndWatches();
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded", _clock, Second);
        Assert.True(run.Has("ua"));
        Assert.True(run.Index.Find("ua", "", "", null)!.Value.IsStale);

        _api.Instead = null;
        await Eventually.TrueAsync(() => run.IsSynced && run.Has("ub"), "synced again", _clock, Second);
        Assert.False(run.Index.Find("ua", "", "", null)!.Value.IsStale);
    }

    [Fact]
    public async Task RunAsync_GarbageInAWatch_ListsAgain()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        _api.SendRaw("}}} no JSON\n");
        await Eventually.TrueAsync(() => _api.Lists.Count() == 2, "another list", _clock, Second);

        await Eventually.TrueAsync(() => run.IsSynced, "synced again", _clock, Second);
    }

    [Fact]
    public async Task RunAsync_PodsThatCantBeRead_AreLeftOutAndToldOnce()
    {
        _api.PutRaw("ux", version => $$$$"""{"metadata":{"name":"x","uid":"ux","resourceVersion":"{{{{version}}}}"},"spec":{"containers":"hunter2"}}""");
        _api.Put("a", "ua");
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);
        _api.PutRaw("ux", version => $$$$"""{"metadata":{"name":"x","uid":"ux","resourceVersion":"{{{{version}}}}"},"spec":{"containers":"hunter2"}}""");
        _api.Put("b", "ub");
        await Eventually.TrueAsync(() => run.Has("ub"), "the pod after it");

        Assert.Equal(["a", "b"], run.Names);
        Assert.Equal(["Pod specs: the API server source gave a pod that is left out: spec.containers must be a list"], _logs.Of("PodRejected"));
    }

    [Fact]
    public async Task RunAsync_HangingBeforeItAnswers_IsGivenUpAndTriedAgain()
    {
        using var release = new CancellationTokenSource();
        _api.Instead = async context =>
        {
            await Task.Delay(Timeout.Infinite, CancellationTokenSource.CreateLinkedTokenSource(release.Token, context.RequestAborted).Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return true;
        };
        await using SourceRun run = Start(UseCertificate());
        await Eventually.TrueAsync(() => _api.Lists.Any(), "the call");
        Assert.Equal(PodSpecSourceState.Starting, run.Status.State);

        _clock.Advance(TimeSpan.FromSeconds(61));
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "given up");
        Assert.EndsWith("no whole list within 60 s", run.Status.Reason, StringComparison.Ordinal);

        _api.Instead = null;
        await Eventually.TrueAsync(() => run.IsSynced, "synced", _clock, Second);
        await release.CancelAsync();
    }

    [Fact]
    public async Task RunAsync_ListThatNeverEnds_IsGivenUp()
    {
        _api.Instead = async context =>
        {
            await context.Response.WriteAsync("""{"kind":"PodList","items":[""");
            await context.Response.Body.FlushAsync();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return true;
        };
        await using SourceRun run = Start(UseCertificate());
        await Eventually.TrueAsync(() => _api.Lists.Any(), "the call");

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "given up", _clock, TimeSpan.FromSeconds(5));
        Assert.EndsWith("no whole list within 60 s", run.Status.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunAsync_WatchThatNeverEnds_IsEndedAfterItsTime()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 2, "the next watch", _clock, TimeSpan.FromSeconds(20));

        Assert.Single(_api.Lists);
    }

    [Fact]
    public async Task RunAsync_CertificateReplaced_IsUsedAfterTheRefusal()
    {
        string kubeconfig = UseCertificate();
        _api.Put("a", "ua");
        await using SourceRun run = Start(kubeconfig);
        await WatchingAsync(run);

        // The kubelet writes a new file and moves its link onto it; the old certificate expires.
        _api.AcceptedCertificates.Clear();
        _api.EndWatches();
        await Eventually.TrueAsync(() => _api.Refusals >= 2, "refusals", _clock, Second);
        Assert.Equal(PodSpecSourceState.Degraded, run.Status.State);
        Assert.EndsWith("the credentials are refused (401)", run.Status.Reason, StringComparison.Ordinal);
        Assert.True(run.Has("ua"));

        RotateCertificate("second");
        _api.Put("b", "ub");
        await Eventually.TrueAsync(() => run.IsSynced && run.Has("ub"), "synced with the new certificate", _clock, Second);
        Assert.Single(_api.Lists);
    }

    [Fact]
    public async Task RunAsync_CertificateReplacedBeforeTheOldOneExpires_IsNeverRefused()
    {
        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        RotateCertificate("second");
        string second = _api.AcceptedCertificates.Keys.Single(k => k != _first);
        _clock.Advance(TimeSpan.FromMinutes(5));
        _api.AcceptedCertificates.TryRemove(_first!, out _);
        _api.EndWatches();
        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 2, "the next watch");

        Assert.Equal(0, _api.Refusals);
        Assert.Equal([second], _api.AcceptedCertificates.Keys);
    }

    [Fact]
    public async Task RunAsync_TokenFile_IsReadForEveryCall()
    {
        _scratch.Write("token", "hunter2-first\n");
        _api.AcceptedTokens["hunter2-first"] = true;
        await using SourceRun run = Start(_scratch.Write("kubeconfig", _api.Kubeconfig("tokenFile: token")));
        await WatchingAsync(run);

        _scratch.Write("token", "hunter2-second\n");
        _api.AcceptedTokens.Clear();
        _api.AcceptedTokens["hunter2-second"] = true;
        _clock.Advance(TimeSpan.FromMinutes(5));
        _api.EndWatches();
        await Eventually.TrueAsync(() => _api.WatchCalls.Count() == 2, "the next watch");

        Assert.Equal(0, _api.Refusals);
    }

    [Fact]
    public async Task RunAsync_KubeconfigComesLater_IsWaitedFor()
    {
        _api.Put("a", "ua");
        string path = _scratch.File("kubeconfig");
        await using SourceRun run = Start(path);
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.Equal($"{path}: {path} does not exist", run.Status.Reason);

        UseCertificate();
        await Eventually.TrueAsync(() => run.Has("ua"), "the pod", _clock, Second);
    }

    [Fact]
    public async Task RunAsync_ExecInTheKubeconfig_IsRefusedClearly()
    {
        await using SourceRun run = Start(_scratch.Write("kubeconfig", _api.Kubeconfig("exec: {command: hunter2}")));

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        Assert.Contains("exec is not supported", run.Status.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RunAsync_ServingCertificateOfAnotherAuthority_IsNotTrusted()
    {
        using var other = new TestAuthority("test-ca");
        _api.AcceptedTokens["hunter2"] = true;
        await using SourceRun run = Start(_scratch.Write("kubeconfig", _api.Kubeconfig("token: hunter2", other.Pem)));

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        Assert.Contains("TLS: ", run.Status.Reason, StringComparison.Ordinal);
        Assert.Empty(_api.Calls);
    }

    [Fact]
    public async Task RunAsync_ServingCertificateOfAnotherName_IsTrustedUnderTheNameGivenAlone()
    {
        await using FakeApiServer named = await FakeApiServer.StartAsync(null, "kubernetes.example");
        named.AcceptedTokens["hunter2"] = true;
        string kubeconfig = named.Kubeconfig("token: hunter2");
        string path = _scratch.Write("kubeconfig", kubeconfig);
        await using SourceRun run = Start(path);
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.Empty(named.Calls);

        _scratch.Write("kubeconfig", kubeconfig.Replace("    server:", "    tls-server-name: kubernetes.example\n    server:", StringComparison.Ordinal));
        await Eventually.TrueAsync(() => run.IsSynced, "synced", _clock, Second);
    }

    [Fact]
    public async Task RunAsync_NobodyThere_IsDegradedAndGoesOnTrying()
    {
        string kubeconfig = UseCertificate();
        Uri address = _api.Address;
        await _api.DisposeAsync();
        await using SourceRun run = Start(kubeconfig);
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.StartsWith($"{address.GetLeftPart(UriPartial.Authority)}: cannot connect: ", run.Status.Reason, StringComparison.Ordinal);

        await Eventually.TrueAsync(() => _logs.Of("ApiServerTryFailed").Count >= 10, "ten tries", _clock, Second);

        // Tries are many, lines for operators are not.
        Assert.Single(_logs.Of("SourceDegraded"));
        _api = await FakeApiServer.StartAsync();
    }

    [Fact]
    public async Task RunAsync_ThrottledWithARetryAfter_WaitsThatLong()
    {
        _api.Instead = context =>
        {
            context.Response.StatusCode = 429;
            context.Response.Headers.RetryAfter = "40";
            return Task.FromResult(true);
        };
        await using SourceRun run = Start(UseCertificate());
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        await Eventually.TrueAsync(() => _api.Calls.Count == 2, "the second try", _clock, Second);

        Assert.True(_clock.GetUtcNow() - Start2000 >= TimeSpan.FromSeconds(40));
    }

    [Fact]
    public async Task RunAsync_StoppedAtAnyMoment_EndsAtOnce()
    {
        for (int i = 0; i < 10; i++)
        {
            await using SourceRun run = Start(UseCertificate());
            int calls = i;
            await Eventually.TrueAsync(() => _api.Calls.Count >= calls, "some calls");
        }
    }

    [Fact]
    public async Task RunAsync_ManyLargePods_KeepsLittleOfThem()
    {
        // What takes the room in real pods: managed fields, environments, statuses.
        string ballast = $$$$""","managedFields":[{"x":"{{{{new string('m', 4000)}}}}"}],"labels":{"x":"y"}""";
        for (int i = 0; i < 90; i++)
        {
            _api.Put($"pod-{i}", $"uid-{i}", more: ballast);
        }

        await using SourceRun run = Start(UseCertificate());
        await WatchingAsync(run);

        Assert.Equal(90, run.Status.Pods);
        PodFacts facts = run.Index.Find("uid-7", "", "", null)!.Value.Facts;
        Assert.Equal("pod-7", facts.Name);
        Assert.Empty(facts.Annotations);
    }

    private SourceRun Start(string kubeconfig)
    {
        var node = new NodeNameResolver("node-a", null, _logs.CreateLogger<NodeNameResolver>());
        return new SourceRun(
            new ApiServerSource(new ApiServerOptions { KubeconfigPath = kubeconfig }, node, _clock, _logs.CreateLogger<ApiServerSource>()), _clock, _logs);
    }

    private async Task WatchingAsync(SourceRun run) =>
        await Eventually.TrueAsync(() => run.IsSynced && _api.OpenWatches > 0, "synced and watching");

    /// <summary>As the kubelet does it: kubelet-client-current.pem is a link to a file with both.</summary>
    private string UseCertificate()
    {
        Directory.CreateDirectory(_scratch.File("pki"));
        RotateCertificate("first");
        _first = _api.AcceptedCertificates.Keys.First();
        return _scratch.Write("kubeconfig", _api.Kubeconfig("""
            client-certificate: pki/kubelet-client-current.pem
            client-key: pki/kubelet-client-current.pem
            """));
    }

    private void RotateCertificate(string name)
    {
        (string certificate, string key, string thumbprint) = _api.Authority.IssueForUser("system:node:node-a");
        _api.AcceptedCertificates[thumbprint] = true;
        _scratch.Write($"pki/{name}.pem", certificate + key);
        File.Delete(_scratch.File("pki/next"));
        File.CreateSymbolicLink(_scratch.File("pki/next"), $"{name}.pem");
        File.Move(_scratch.File("pki/next"), _scratch.File("pki/kubelet-client-current.pem"), overwrite: true);
    }
}
