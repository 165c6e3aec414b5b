using System.Text;
using System.Text.RegularExpressions;
using CriShim.Discovery.Reading;
using CriShim.Supervision.Pods;

namespace CriShim.Discovery.Tests.Reading;

public sealed class ManifestReaderTests
{
    private const string Pod = """
        # A static pod.
        apiVersion: v1
        kind: Pod
        metadata:
          name: proxy
          namespace: kube-system
          annotations:
            crishim.io/sidecars: "agent"
            other.io/x: "hunter2"
        spec:
          terminationGracePeriodSeconds: 12
          restartPolicy: Always
          initContainers:
          - name: agent
            restartPolicy: Always
          containers:
          - name: main
            image: registry.test/main:1
            env: [{name: PASSWORD, value: hunter2}]
            lifecycle:
              postStart:
                exec: {command: [/bin/true]}
        """;

    [Fact]
    public void Read_Yaml_GivesThePod()
    {
        PodDocument pod = Assert.Single(Read(Pod));

        Assert.Equal(("kube-system", "proxy", ""), (pod.Facts.Namespace, pod.Facts.Name, pod.Uid));
        Assert.Equal(TimeSpan.FromSeconds(12), pod.Facts.TerminationGracePeriod);
        Assert.Equal(
            [new ContainerFacts("agent", ContainerRole.RestartableInit), new ContainerFacts("main", ContainerRole.Plain, HasPostStart: true)],
            pod.Facts.Containers);
        Assert.Equal("agent", Assert.Single(pod.Facts.Annotations).Value);
    }

    [Fact]
    public void Read_JsonIndentedWithTabs_GivesThePod() =>
        Assert.Equal("a", Assert.Single(Read("\n\t{\n\t\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}\n")).Facts.Name);

    [Theory]
    [InlineData("List")]
    [InlineData("PodList")]
    public void Read_List_GivesAllPods(string kind)
    {
        IReadOnlyList<PodDocument> pods = Read($$$$"""
            kind: {{{{kind}}}}
            apiVersion: v1
            items:
            - {kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{name: c}]}}
            - {metadata: {name: b}, spec: {containers: [{name: c}]}}
            """);

        Assert.Equal(["a", "b"], pods.Select(p => p.Facts.Name));
    }

    [Fact]
    public void Read_AnchorsAndMergeKeys_AreResolved()
    {
        PodDocument pod = Assert.Single(Read("""
            apiVersion: v1
            kind: Pod
            metadata: {name: a}
            spec:
              initContainers:
              - &base {name: first, restartPolicy: Always}
              - <<: *base
                name: second
              containers:
              - name: main
            """));

        Assert.Equal(
            [
                new ContainerFacts("first", ContainerRole.RestartableInit), new ContainerFacts("second", ContainerRole.RestartableInit),
                new ContainerFacts("main", ContainerRole.Plain),
            ],
            pod.Facts.Containers);
    }

    [Fact]
    public void Read_SeveralDocuments_GivesTheFirstAsTheKubeletDoes() =>
        Assert.Equal("proxy", Assert.Single(Read("---\n" + Pod + "\n---\n" + Pod.Replace("proxy", "second", StringComparison.Ordinal))).Facts.Name);

    [Fact]
    public void Read_ByteOrderMark_IsSkipped() =>
        Assert.Single(ManifestReader.Read("f.yaml", [.. Encoding.UTF8.Preamble, .. Encoding.UTF8.GetBytes(Pod)]));

    [Fact]
    public void Read_QuotedNumberAsName_IsAText() =>
        Assert.Equal("123", Assert.Single(Read(Pod.Replace("name: proxy", "name: \"123\"", StringComparison.Ordinal))).Facts.Name);

    [Theory]
    [InlineData("name: proxy", "name: 123", 5, "metadata.name must be a text")]
    [InlineData("name: proxy", "name: yes", 5, "metadata.name must be a text")]
    [InlineData("kind: Pod", "kind: Deployment", 2, "must be a Pod, a PodList or a List of apiVersion v1")]
    [InlineData("apiVersion: v1", "apiVersion: v2", 2, "must be a Pod, a PodList or a List of apiVersion v1")]
    [InlineData("restartPolicy: Always", "restartPolicy: hunter2", 12, "spec.restartPolicy must be Always, OnFailure or Never")]
    [InlineData("  - name: main", "  - image: main", 17, "spec.containers[].name is missing")]
    [InlineData("  terminationGracePeriodSeconds: 12", "  terminationGracePeriodSeconds: soon", 11, "spec.terminationGracePeriodSeconds must be a whole number")]
    [InlineData("    image: registry.test/main:1", "   image: registry.test/main:1", 18, "is no valid YAML")]
    [InlineData("    image: registry.test/main:1", "    image: *hunter2", 18, "has an alias without an anchor before it")]
    public void Read_BadYaml_NamesFileLineAndReasonAndNothingOfTheText(string good, string bad, int line, string reason)
    {
        string text = new Regex(Regex.Escape(good)).Replace(Pod, bad, 1);

        ManifestException e = Assert.Throws<ManifestException>(() => Read(text));

        Assert.Equal($"f.yaml:{line}: {reason}", e.Message);
    }

    [Theory]
    [InlineData("{\n\"kind\":\"Pod\",\n\"apiVersion\":\"v1\",\n\"metadata\":{\n\"name\":5}}", 5, "metadata.name must be a text")]
    [InlineData("{\n\"kind\":\"Pod\",\nhunter2}", 3, "is no valid JSON")]
    public void Read_BadJson_NamesFileAndLine(string text, int line, string reason) =>
        Assert.Equal($"f.yaml:{line}: {reason}", Assert.Throws<ManifestException>(() => Read(text)).Message);

    [Theory]
    [InlineData("")]
    [InlineData("# nothing\n")]
    [InlineData("just a text")]
    [InlineData("- a\n- b\n")]
    [InlineData("? [a]\n: b\n")]
    [InlineData("a: &a [*a]\n")]
    public void Read_NoManifest_IsRefused(string text) => Assert.Throws<ManifestException>(() => Read(text));

    [Fact]
    public void Read_NestedWithoutEnd_IsRefused() => Assert.Throws<ManifestException>(() => Read("a: " + new string('[', 100_000)));

    [Fact]
    public void Read_AliasesOfAliases_AreRefusedBeforeTheyFillTheMemory()
    {
        var text = new StringBuilder("a0: &a0 [xxxxxxxxxxxxxxxxxxxxxxxxx]\n");
        for (int i = 1; i < 30; i++)
        {
            text.Append($"a{i}: &a{i} [*a{i - 1},*a{i - 1},*a{i - 1},*a{i - 1}]\n");
        }

        Assert.Contains("too large", Assert.Throws<ManifestException>(() => Read(text.ToString())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_DamagedAnywhere_IsReadOrRefused()
    {
        byte[] yaml = Encoding.UTF8.GetBytes(Pod);
        var random = new Random(5);
        for (int i = 0; i < 3_000; i++)
        {
            byte[] damaged = [.. yaml];
            damaged[random.Next(damaged.Length)] = (byte)random.Next(256);
            damaged[random.Next(damaged.Length)] = (byte)"{}[]\",:&*!|>-?%@ \n"[random.Next(18)];
            Exception? e = Record.Exception(() => ManifestReader.Read("f.yaml", damaged));
            Assert.True(e is null or ManifestException, e?.ToString());
        }
    }

    private static IReadOnlyList<PodDocument> Read(string text) => ManifestReader.Read("f.yaml", Encoding.UTF8.GetBytes(text));
}
