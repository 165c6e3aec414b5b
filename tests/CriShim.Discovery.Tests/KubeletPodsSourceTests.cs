using CriShim.Discovery.Kubelet;
using CriShim.Discovery.Tests.Support;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests;

public sealed class KubeletPodsSourceTests : IAsyncLifetime
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    private readonly ScratchDirectory _scratch = new();
    private readonly RecordedLogs _logs = new();
    private readonly FakeTimeProvider _clock = new();
    private FakeApiServer _kubelet = null!;

    public async Task InitializeAsync()
    {
        _kubelet = await FakeApiServer.StartAsync(null, "node-a");
        _kubelet.AcceptedTokens["hunter2"] = true;
        _scratch.Write("token", "hunter2\n");
    }

    public async Task DisposeAsync()
    {
        await _kubelet.DisposeAsync();
        _scratch.Dispose();
        _logs.AssertNoErrors();
        Assert.DoesNotContain(_logs.Texts, t => t.Contains("hunter2", StringComparison.Ordinal));
    }

    [Fact]
    public async Task RunAsync_TokenFile_ReadsThePodsAgainAndAgain()
    {
        _kubelet.Put("a", "ua");
        await using SourceRun run = Start(Options() with { TokenFile = _scratch.File("token") });
        await Eventually.TrueAsync(() => run.IsSynced, "synced");
        Assert.Equal(["a"], run.Names);
        Assert.Equal(["/pods"], _kubelet.Calls);

        _kubelet.Put("b", "ub");
        _kubelet.Delete("ua");
        await Eventually.TrueAsync(() => run.Has("ub") && !run.Has("ua"), "the next read", _clock, Second);

        Assert.True(_clock.GetUtcNow() - new FakeTimeProvider().GetUtcNow() >= TimeSpan.FromSeconds(13), $"{_clock.GetUtcNow():o}");
    }

    [Fact]
    public async Task RunAsync_KubeconfigWithACertificate_IsUsedWithoutTheToken()
    {
        (string certificate, string key, string thumbprint) = _kubelet.Authority.IssueForUser("system:node:node-a");
        _kubelet.AcceptedCertificates[thumbprint] = true;
        _scratch.Write("pair.pem", certificate + key);
        string? authorization = null;
        _kubelet.Instead = context =>
        {
            authorization = context.Request.Headers.Authorization;
            return Task.FromResult(false);
        };
        await using SourceRun run = Start(Options() with
        {
            KubeconfigPath = _scratch.Write("kubeconfig", _kubelet.Kubeconfig("client-certificate: pair.pem\nclient-key: pair.pem\ntoken: hunter2")),
        });

        await Eventually.TrueAsync(() => run.IsSynced, "synced");

        Assert.Null(authorization);
    }

    [Fact]
    public async Task RunAsync_ServingAuthorityGiven_IsVerifiedUnderTheNodesName()
    {
        await using SourceRun run = Start(Options() with
        {
            TokenFile = _scratch.File("token"), ServingAuthorityFile = _scratch.Write("ca.pem", _kubelet.Authority.Pem),
        });

        await Eventually.TrueAsync(() => run.IsSynced, "synced");
    }

    [Fact]
    public async Task RunAsync_AnotherServingAuthorityGiven_SendsNoToken()
    {
        using var other = new TestAuthority();
        await using SourceRun run = Start(Options() with { TokenFile = _scratch.File("token"), ServingAuthorityFile = _scratch.Write("ca.pem", other.Pem) });

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        Assert.Empty(_kubelet.Calls);
    }

    [Theory]
    [InlineData(401, "the credentials are refused (401)")]
    [InlineData(403, "these credentials may not read pods here (403)")]
    [InlineData(500, "answered with status 500")]
    public async Task RunAsync_Refused_SaysSoAndAsksEverMoreSeldom(int status, string reason)
    {
        _kubelet.Instead = context =>
        {
            context.Response.StatusCode = status;
            return Task.FromResult(true);
        };
        await using SourceRun run = Start(Options() with { TokenFile = _scratch.File("token") });
        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");
        Assert.EndsWith(": " + reason, run.Status.Reason, StringComparison.Ordinal);

        await Eventually.TrueAsync(() => _kubelet.Calls.Count >= 4, "the fourth try", _clock, Second);
        Assert.True(_clock.GetUtcNow() - new FakeTimeProvider().GetUtcNow() > TimeSpan.FromSeconds(50));
        Assert.Single(_logs.Of("SourceDegraded"));

        _kubelet.Instead = null;
        await Eventually.TrueAsync(() => run.IsSynced, "synced", _clock, TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task RunAsync_Hanging_IsGivenUpAndWhatIsKnownIsKept()
    {
        _kubelet.Put("a", "ua");
        await using SourceRun run = Start(Options() with { TokenFile = _scratch.File("token") });
        await Eventually.TrueAsync(() => run.IsSynced, "synced");
        _kubelet.Instead = async context =>
        {
            await context.Response.WriteAsync("""{"items":[""");
            await context.Response.Body.FlushAsync();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return true;
        };

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "given up", _clock, Second);

        Assert.EndsWith("no whole answer within 10 s", run.Status.Reason, StringComparison.Ordinal);
        Assert.True(run.Has("ua"));
    }

    [Fact]
    public async Task RunAsync_Garbage_SaysSo()
    {
        _kubelet.Instead = async context =>
        {
            await context.Response.WriteAsync("Unauthorized\n");
            return true;
        };
        await using SourceRun run = Start(Options() with { TokenFile = _scratch.File("token") });

        await Eventually.TrueAsync(() => run.Status.State == PodSpecSourceState.Degraded, "degraded");

        Assert.EndsWith("what it sent is no valid JSON", run.Status.Reason, StringComparison.Ordinal);
    }

    private KubeletPodsOptions Options() => new() { Address = _kubelet.Address };

    private SourceRun Start(KubeletPodsOptions options)
    {
        var node = new NodeNameResolver("node-a", null, _logs.CreateLogger<NodeNameResolver>());
        return new SourceRun(new KubeletPodsSource(options, node, _clock, _logs.CreateLogger<KubeletPodsSource>()), _clock, _logs);
    }
}
