using System.Text;
using CriShim.Discovery.Tests.Support;

namespace CriShim.Discovery.Tests;

public sealed class DiscoveryOptionsValidatorTests
{
    [Fact]
    public void Validate_Defaults_HaveNoFault() => Assert.Empty(DiscoveryOptionsValidator.Validate(new DiscoveryOptions
    {
        NodeName = "node-a.example",
        StaticManifests = new() { Path = "/etc/kubernetes/manifests" },
        ApiServer = new() { KubeconfigPath = "/etc/kubernetes/kubelet.conf" },
        KubeletPods = new() { Address = new Uri("https://127.0.0.1:10250") },
    }));

    [Fact]
    public void Validate_ManyFaults_AreAllReported() => Assert.Equal(
        [
            "nodeName: \"Node A\": must be a node's name: lower-case letters, digits, hyphens and dots, at most 253",
            "nodeKubeconfigPath: \"kubelet.conf\": must be an absolute path",
            "maxPodsPerSource: \"0\": must be from 1 to 20000",
            "staticManifests.path: \"manifests\": must be an absolute path",
            "staticManifests.pollInterval: \"0.5s\": must be from 1s to 600s",
            "apiServer.kubeconfigPath: \"\": must be an absolute path",
            "apiServer.callTimeout: \"0s\": must be from 1s to 600s",
            "apiServer.watchDuration: \"1s\": must be from 30s to 3600s",
            "apiServer.maxRetryDelay: \"-1s\": must be from 1s to 600s",
            "kubeletPods.address: \"https://10.0.0.1:10250/\": must be http:// or https:// and a host on loopback without a path, such as https://127.0.0.1:10250",
            "kubeletPods.interval: \"3600s\": must be from 1s to 600s",
            "kubeletPods.callTimeout: \"0s\": must be from 1s to 120s",
            "kubeletPods.tokenFile: \"/token\": must not be given together with kubeconfigPath",
        ],
        DiscoveryOptionsValidator.Validate(new DiscoveryOptions
        {
            NodeName = "Node A",
            NodeKubeconfigPath = "kubelet.conf",
            MaxPodsPerSource = 0,
            StaticManifests = new() { Path = "manifests", PollInterval = TimeSpan.FromSeconds(0.5) },
            ApiServer = new()
            {
                KubeconfigPath = "", CallTimeout = TimeSpan.Zero, WatchDuration = TimeSpan.FromSeconds(1), MaxRetryDelay = TimeSpan.FromSeconds(-1),
            },
            KubeletPods = new()
            {
                Address = new Uri("https://10.0.0.1:10250/"), Interval = TimeSpan.FromHours(1), CallTimeout = TimeSpan.Zero, KubeconfigPath = "/k",
                TokenFile = "/token",
            },
        }).Select(f => f.ToString()));

    [Theory]
    [InlineData("http://127.0.0.1:10255", null, null)]
    [InlineData("https://localhost:10250", "/token", null)]
    [InlineData("https://[::1]:10250", null, null)]
    [InlineData("http://127.0.0.1:10255", "/token", "kubeletPods.tokenFile")]
    [InlineData("https://127.0.0.1:10250/pods", null, "kubeletPods.address")]
    [InlineData("ftp://127.0.0.1", null, "kubeletPods.address")]
    [InlineData("/pods", null, "kubeletPods.address")]
    public void Validate_KubeletAddress_MustBeOnLoopback(string address, string? tokenFile, string? place) => Assert.Equal(
        place,
        DiscoveryOptionsValidator.Validate(new DiscoveryOptions
        {
            KubeletPods = new() { Address = new Uri(address, UriKind.RelativeOrAbsolute), TokenFile = tokenFile },
        }).SingleOrDefault()?.Place);
}

public sealed class NodeNameResolverTests : IDisposable
{
    private readonly ScratchDirectory _scratch = new();
    private readonly RecordedLogs _logs = new();

    [Fact]
    public void Resolve_Configured_GoesFirst() => Assert.Equal("explicit", Resolver("explicit", WriteKubeconfig("system:node:other")).Resolve());

    [Fact]
    public void Resolve_KubeconfigOfANode_GivesItsName() => Assert.Equal("node-a", Resolver(null, WriteKubeconfig("system:node:node-a")).Resolve());

    [Theory]
    [InlineData("kubernetes-admin")]
    [InlineData("system:node:")]
    public void Resolve_KubeconfigOfSomebodyElse_GivesTheHostsName(string user) =>
        Assert.Equal("host-1.example", Resolver(null, WriteKubeconfig(user)).Resolve());

    [Fact]
    public void Resolve_KubeconfigComesLater_GivesTheHostsNameUntilThen()
    {
        NodeNameResolver resolver = Resolver(null, _scratch.File("kubeconfig"));
        Assert.Equal("host-1.example", resolver.Resolve());
        Assert.Equal("host-1.example", resolver.Resolve());

        WriteKubeconfig("system:node:node-a");
        Assert.Equal("node-a", resolver.Resolve());

        File.Delete(_scratch.File("kubeconfig"));
        Assert.Equal("node-a", resolver.Resolve());
        Assert.Equal(["Node name: host-1.example (the host's name)", "Node name: node-a (the kubeconfig's certificate)"], _logs.Texts);
    }

    public void Dispose() => _scratch.Dispose();

    private NodeNameResolver Resolver(string? configured, string? kubeconfig) =>
        new(configured, kubeconfig, _logs.CreateLogger(""), () => "Host-1.Example\n");

    private string WriteKubeconfig(string user)
    {
        using var authority = new TestAuthority();
        (string certificate, string key, _) = authority.IssueForUser(user);
        return _scratch.Write("kubeconfig", $$$$"""
            {"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
             "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
             "users": [{"name": "u", "user": {"client-certificate-data": "{{{{Base64(certificate)}}}}", "client-key-data": "{{{{Base64(key)}}}}"}}]}
            """);
    }

    private static string Base64(string text) => Convert.ToBase64String(Encoding.UTF8.GetBytes(text));
}

public sealed class RetryBackoffTests
{
    [Fact]
    public void Next_ManyFailures_DoublesUpToTheMaximumWithJitter()
    {
        var backoff = new RetryBackoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(30), new Random(1));
        double[] steps = [1, 2, 4, 8, 16, 30, 30];

        foreach (double step in steps)
        {
            Assert.InRange(backoff.Next().TotalSeconds, step / 2, step);
        }

        for (int i = 0; i < 100; i++)
        {
            Assert.InRange(backoff.Next().TotalSeconds, 15, 30);
        }

        backoff.Reset();
        Assert.InRange(backoff.Next().TotalSeconds, 0.5, 1);
    }
}
