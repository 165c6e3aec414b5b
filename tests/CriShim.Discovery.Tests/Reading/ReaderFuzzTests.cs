using System.Text;
using CriShim.Discovery.Reading;
using CriShim.Discovery.Tests.Support;
using CriShim.TestSupport.Proofs;

namespace CriShim.Discovery.Tests.Reading;

/// <summary>Pods, lists, watches and manifests that are broken: what is readable, or the fault that the readers name. Nothing else.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed class ReaderFuzzTests
{
    private const int MaxValue = 64 * 1024;
    private const string Subject = "Pod spec fuzzing";

    private static readonly string[] Manifests =
    [
        """
        apiVersion: v1
        kind: Pod
        metadata:
          name: proxy
          namespace: kube-system
          annotations: {crishim.io/sidecars: "agent", other.io/x: "s3cret"}
        spec:
          terminationGracePeriodSeconds: 12
          restartPolicy: Always
          initContainers:
          - name: agent
            restartPolicy: Always
          containers:
          - &main
            name: main
            env: [{name: PASSWORD, value: s3cret}]
            lifecycle:
              postStart:
                exec: {command: [/bin/true]}
        """,
        "kind: List\napiVersion: v1\nitems:\n- {kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{name: c}]}}\n",
        PodJson.Full,
        PodJson.Small("a", "ua"),
    ];

    private static readonly string[] Lists =
    [
        $$$$"""{"kind":"PodList","apiVersion":"v1","items":[{{{{PodJson.Small("a", "ua")}}}},{{{{PodJson.Full}}}}],"metadata":{"resourceVersion":"77"}}""",
        """{"metadata":{"resourceVersion":"1"},"items":null}""",
    ];

    private static readonly string[] Watches =
    [
        $$$$"""
        {"type":"ADDED","object":{{{{PodJson.Small("a", "ua", 5)}}}}}
        {"type":"MODIFIED","object":{{{{PodJson.Full}}}}}{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}
        {"type":"DELETED","object":{{{{PodJson.Small("b", "ub", 6)}}}}}
        """,
        """{"type":"ERROR","object":{"kind":"Status","code":410}}""",
    ];

    [Fact]
    public Task Manifests_Broken_AreReadOrRefused() => FuzzAsync("broken manifests", Manifests, text =>
    {
        try
        {
            return Task.FromResult(ManifestReader.Read("/m.yaml", text).Count > 0);
        }
        catch (ManifestException refused)
        {
            Assert.DoesNotContain("s3cret", refused.Message, StringComparison.Ordinal);
            Assert.InRange(refused.Message.Length, 1, 1000);
            return Task.FromResult(false);
        }
    });

    [Fact]
    public Task Pods_Broken_AreReadOrRefused() => FuzzAsync("broken pods", Manifests[2..], text =>
    {
        try
        {
            return Task.FromResult(PodReader.ReadPod(text).Facts.Containers.Count > 0);
        }
        catch (PodSpecException)
        {
            return Task.FromResult(false);
        }
    });

    [Fact]
    public Task Lists_Broken_AreReadOrRefused() => FuzzAsync("broken lists", Lists, async text =>
    {
        int found = 0;
        using var stream = new MemoryStream(text);
        using var buffer = new JsonStreamBuffer(stream, MaxValue);
        try
        {
            _ = await new PodListReader(buffer, _ => found++, _ => { }).ReadAsync(CancellationToken.None);
        }
        catch (PodSpecException)
        {
            // Told.
        }

        return found > 0;
    });

    [Fact]
    public Task Watches_Broken_AreReadOrRefused() => FuzzAsync("broken watches", Watches, async text =>
    {
        int found = 0;
        using var stream = new MemoryStream(text);
        using var buffer = new JsonStreamBuffer(stream, MaxValue);
        var watch = new WatchReader(buffer);
        try
        {
            while (await watch.ReadAsync(CancellationToken.None) is { } happened)
            {
                found += happened.Pod is null ? 0 : 1;
            }
        }
        catch (PodSpecException)
        {
            // Told.
        }

        return found > 0;
    });

    private static async Task FuzzAsync(string what, string[] seeds, Func<byte[], Task<bool>> read)
    {
        int inputs = Proof.Pick(3_000, 500_000);
        int good = 0;
        for (int i = 0; i < inputs; i++)
        {
            int seed = unchecked(Proof.Seed + i);
            byte[] text = TextMutation.Apply(new Random(seed), seeds);
            try
            {
                good += await read(text) ? 1 : 0;
            }
            catch (Exception exception)
            {
                throw new Xunit.Sdk.XunitException($"CRISHIM_PROOF_SEED={seed}: {exception}\n{Encoding.UTF8.GetString(text)}");
            }
        }

        Assert.True(good > 0);
        Proof.Record(Subject, what, $"{inputs:n0} ({good:n0} of them still told of pods)");
    }
}
