using System.Text;
using CriShim.Discovery.Reading;
using CriShim.Discovery.Tests.Support;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;

namespace CriShim.Discovery.Tests.Reading;

public sealed class PodReaderTests
{
    [Fact]
    public void ReadPod_EverythingThatMatters_IsKeptInSpecOrder()
    {
        PodDocument pod = Read(PodJson.Full);

        Assert.Equal("11111111-2222-3333-4444-555555555555", pod.Uid);
        Assert.Equal("1234", pod.ResourceVersion);
        Assert.False(pod.IsFinished);
        Assert.Equal(("shop", "web-0", pod.Uid), (pod.Facts.Namespace, pod.Facts.Name, pod.Facts.Uid));
        Assert.Equal(PodRestartPolicy.OnFailure, pod.Facts.RestartPolicy);
        Assert.False(pod.Facts.IsTerminating);
        Assert.Equal(TimeSpan.FromSeconds(45), pod.Facts.TerminationGracePeriod);
        Assert.Equal(
            [
                new ContainerFacts("migrate", ContainerRole.Init),
                new ContainerFacts("proxy", ContainerRole.RestartableInit),
                new ContainerFacts("retry", ContainerRole.Init, HasRestartRules: true),
                new ContainerFacts("web", ContainerRole.Plain, HasPostStart: true),
                new ContainerFacts("worker", ContainerRole.Plain, HasRestartRules: true),
                new ContainerFacts("plain", ContainerRole.Plain),
                new ContainerFacts("debugger", ContainerRole.Ephemeral),
            ],
            pod.Facts.Containers);
    }

    [Fact]
    public void ReadPod_Resources_AreKeptAsTheApiMeansThem()
    {
        PodFacts facts = Read("""
            {"metadata": {"name": "a", "uid": "u"}, "spec": {
              "overhead": {"cpu": "50m", "memory": "10Mi"},
              "initContainers": [{"name": "proxy", "resources": {"limits": {"cpu": "100m", "memory": "64Mi", "nvidia.com/gpu": 1}}}],
              "containers": [
                {"name": "app", "resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": 1, "memory": "1e9", "ephemeral-storage": {}}, "claims": [{"name": "c"}]}},
                {"name": "other", "resources": {"limits": {"cpu": "lots", "memory": ["1"]}, "requests": null}},
                {"name": "none", "resources": null}]}}
            """).Facts;

        Assert.Equal(new ResourceAmounts(50, 10 << 20), facts.Overhead);
        Assert.False(facts.HasPodResources);
        Assert.Equal(
            [
                (new ResourceAmounts(100, 64 << 20), new ResourceAmounts(100, 64 << 20)),
                (new ResourceAmounts(500, 1_000_000_000), new ResourceAmounts(1000, 1_000_000_000)),
                (default, default),
                (default, default),
            ],
            facts.Containers.Select(container => (container.Requests, container.Limits)));
    }

    [Fact]
    public void ReadPod_ResourcesOfThePodAsAWhole_AreKnownOf() => Assert.True(
        Read("""{"metadata": {"name": "a", "uid": "u"}, "spec": {"resources": {"limits": {"memory": "1Gi"}}, "containers": [{"name": "app"}]}}""").Facts.HasPodResources);

    [Fact]
    public void ReadPod_Annotations_KeepsOursAlone() =>
        Assert.Equal(
            [KeyValuePair.Create("crishim.io/sidecars", "proxy"), KeyValuePair.Create("crishim.io/supervise", "off")],
            Read(PodJson.Full).Facts.Annotations.OrderBy(a => a.Key, StringComparer.Ordinal));

    [Fact]
    public void ReadPod_Deleted_IsTerminatingWithTheDeletionsOwnGrace()
    {
        PodDocument pod = Read(PodJson.Small("a", "u1", more: ""","deletionTimestamp":"2026-01-02T03:04:05Z","deletionGracePeriodSeconds":7"""));

        Assert.True(pod.Facts.IsTerminating);
        Assert.Equal(TimeSpan.FromSeconds(7), pod.Facts.TerminationGracePeriod);
    }

    [Fact]
    public void ReadPod_MirrorPod_HasTheStaticPodsUidAndItsDeletionMeansNothing()
    {
        const string more = ""","deletionTimestamp":"2026-01-02T03:04:05Z","annotations":{"kubernetes.io/config.mirror":"0123abcd","kubernetes.io/config.hash":"0123abcd"}""";

        PodDocument pod = Read(PodJson.Small("etcd-node-a", "api-uid", more: more));

        Assert.Equal("0123abcd", pod.Uid);
        Assert.Equal("0123abcd", pod.Facts.Uid);
        Assert.False(pod.Facts.IsTerminating);
    }

    [Theory]
    [InlineData("Succeeded", true)]
    [InlineData("Failed", true)]
    [InlineData("Running", false)]
    [InlineData("Pending", false)]
    public void ReadPod_Phase_TellsWhetherItIsFinished(string phase, bool isFinished) =>
        Assert.Equal(isFinished, Read(PodJson.Small("a", "u1", phase: phase)).IsFinished);

    [Fact]
    public void ReadPod_NoRestartPolicyAndNoNamespace_HasTheApisDefaults()
    {
        PodDocument pod = Read("""{"metadata":{"name":"a","uid":"u"},"spec":{"containers":[{"name":"c"}]}}""");

        Assert.Equal(PodRestartPolicy.Always, pod.Facts.RestartPolicy);
        Assert.Equal("default", pod.Facts.Namespace);
        Assert.Null(pod.Facts.TerminationGracePeriod);
        Assert.Empty(pod.Facts.Annotations);
    }

    [Fact]
    public void ReadPod_LargeAnnotation_IsNotKeptAndSaysSo()
    {
        string more = $$$$""","annotations":{"crishim.io/sidecars":"{{{{new string('x', PodReader.MaxAnnotationBytes + 1)}}}}"}""";

        PodDocument pod = Read(PodJson.Small("a", "u", more: more));

        Assert.Empty(pod.Facts.Annotations);
        Assert.Equal("annotation crishim.io/sidecars has more than 16384 bytes and is not kept", pod.Loss);
    }

    [Theory]
    [InlineData("""{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c"}]}}""", "metadata.uid is missing")]
    [InlineData("""{"metadata":{"uid":"a"},"spec":{"containers":[{"name":"c"}]}}""", "metadata.name is missing")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"}}""", "spec.containers is missing")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"},"spec":{"containers":[{"image":"c"}]}}""", "spec.containers[].name is missing")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"},"spec":{"containers":{"name":"c"}}}""", "spec.containers must be a list")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"},"spec":{"containers":["c"]}}""", "spec.containers[] must be an object")]
    [InlineData("""{"metadata":{"name":5,"uid":"u"},"spec":{"containers":[{"name":"c"}]}}""", "metadata.name must be a text")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"},"spec":{"restartPolicy":"Maybe"}}""", "spec.restartPolicy must be Always, OnFailure or Never")]
    [InlineData("""{"metadata":{"name":"a","uid":"u"},"spec":{"terminationGracePeriodSeconds":1.5}}""", "spec.terminationGracePeriodSeconds must be a whole number")]
    [InlineData("[]", "the pod must be an object")]
    [InlineData("", "is no valid JSON")]
    [InlineData("<html>", "is no valid JSON")]
    public void ReadPod_WhatIsNoPod_SaysWhatIsWrong(string json, string reason) =>
        Assert.Equal(reason, Assert.Throws<PodSpecException>(() => Read(json)).Message);

    [Fact]
    public void ReadPod_TextThatIsNotUtf8_IsRefused()
    {
        byte[] json = Encoding.UTF8.GetBytes(PodJson.Small("a#b", "u"));
        json[Array.IndexOf(json, (byte)'#')] = 0xff;

        Assert.Throws<PodSpecException>(() => PodReader.ReadPod(json));
    }

    [Fact]
    public void ReadPod_CutOffAnywhere_IsRefused()
    {
        byte[] json = Encoding.UTF8.GetBytes(PodJson.Full.TrimEnd());
        for (int length = 0; length < json.Length; length++)
        {
            Assert.Throws<PodSpecException>(() => PodReader.ReadPod(json.AsSpan(0, length)));
        }
    }

    [Fact]
    public void ReadPod_DamagedAnywhere_IsReadOrRefused()
    {
        byte[] json = Encoding.UTF8.GetBytes(PodJson.Full);
        var random = new Random(3);
        for (int i = 0; i < 20_000; i++)
        {
            byte[] damaged = [.. json];
            damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            damaged[random.Next(damaged.Length)] = (byte)"{}[]\",:0"[random.Next(8)];
            Exception? e = Record.Exception(() => PodReader.ReadPod(damaged));
            Assert.True(e is null or PodSpecException, e?.ToString());
        }
    }

    [Fact]
    public void ReadPod_NestedWithoutEnd_IsRefused() =>
        Assert.Throws<PodSpecException>(() => Read("{\"metadata\":" + string.Concat(Enumerable.Repeat("[", 100_000))));

    private static PodDocument Read(string json) => PodReader.ReadPod(Encoding.UTF8.GetBytes(json));
}
