using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using CriShim.Discovery.Reading;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Sidecars;

namespace CriShim.Discovery.Tests.Reading;

/// <summary>The patterns that users copy are what they say, read by the same readers as on a node.</summary>
public sealed partial class ExampleManifestTests
{
    public static TheoryData<string> Examples => [.. Names];

    private static string[] Names => [.. Directory.GetFiles(Folder(), "*.yaml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    [Fact]
    public void Examples_AllPatterns_AreThereAndInTheTable()
    {
        string table = File.ReadAllText(Path.Combine(Folder(), "..", "annotations.md"));
        Assert.Equal(
            ["ambassador.yaml", "cronjob.yaml", "job-with-proxy.yaml", "log-shipper.yaml", "mesh-proxy.yaml", "metrics-adapter.yaml"],
            Names);
        Assert.All(Names, name => Assert.Contains($"(examples/{name})", table, StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Examples))]
    public void Example_ReadAsOnANode_HasTheSidecarsThatItsCommentNames(string file)
    {
        string text = File.ReadAllText(Path.Combine(Folder(), file));
        PodFacts facts = PodOf(text);
        SidecarAnnotation annotation = SidecarAnnotation.Parse(facts.Annotations);

        Assert.Empty(annotation.Errors);
        Assert.Empty(annotation.ErrorsBy(facts));
        string[] told =
        [
            .. annotation.Sidecars.Select(sidecar =>
                $"{sidecar.Name}: {SidecarKinds.Tell(sidecar.Name, facts, sidecar, specSourceConfigured: true).ToString().ToLowerInvariant()}"),
        ];
        Assert.Equal(Named().Matches(text).Select(match => match.Groups[1].Value), told);
        Assert.NotEmpty(told);
        // A main container is left, else nothing would ever be waited for at the end.
        Assert.Contains(facts.Containers, container => container.Role == ContainerRole.Plain && annotation.Find(container.Name) is null);
        Assert.DoesNotContain(facts.Containers, container => container.HasPostStart && annotation.Find(container.Name) is not null);
    }

    [Theory]
    [MemberData(nameof(Examples))]
    public void Example_GatedPlainSidecar_ComesBeforeTheMainsInTheSpec(string file)
    {
        PodFacts facts = PodOf(File.ReadAllText(Path.Combine(Folder(), file)));
        SidecarAnnotation annotation = SidecarAnnotation.Parse(facts.Annotations);
        bool[] areSidecars = [.. facts.Containers.Where(c => c.Role == ContainerRole.Plain).Select(c => annotation.Find(c.Name) is not null)];
        Assert.Equal(areSidecars.OrderDescending(), areSidecars);
    }

    private static string Folder([CallerFilePath] string here = "") => Path.GetFullPath(Path.Combine(
        Path.GetDirectoryName(here)!, "..", "..", "..", "src", "CriShim.Supervision", "Sidecars", "examples"));

    /// <summary>The pod that a controller makes of it: the template, with a name.</summary>
    private static PodFacts PodOf(string text)
    {
        using YamlToJson json = YamlToJson.Convert(YamlTree.Read(text)!);
        JsonNode root = JsonNode.Parse(json.Json.ToArray())!;
        JsonNode template = (string?)root["kind"] switch
        {
            "Pod" => root,
            "CronJob" => root["spec"]!["jobTemplate"]!["spec"]!["template"]!,
            _ => root["spec"]!["template"]!,
        };
        template["apiVersion"] = "v1";
        template["kind"] = "Pod";
        template["metadata"]!["name"] = "example";
        return Assert.Single(PodReader.ReadManifest(JsonSerializer.SerializeToUtf8Bytes(template))).Facts;
    }

    [GeneratedRegex(@"^# sidecar (\S+: \w+)$", RegexOptions.Multiline)]
    private static partial Regex Named();
}
