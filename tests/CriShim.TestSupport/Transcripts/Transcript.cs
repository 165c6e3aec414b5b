using System.IO.Compression;
using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace CriShim.TestSupport.Transcripts;

/// <summary>One call of a real kubelet, as it was recorded.</summary>
/// <param name="Path">Of the method: <c>/runtime.v1.RuntimeService/Version</c>.</param>
/// <param name="Authority">What the kubelet sent as <c>:authority</c>.</param>
/// <param name="Request">The request message.</param>
/// <param name="Response">The answer; null where the call failed.</param>
public sealed record TranscriptCall(string Path, string Authority, IMessage Request, IMessage? Response);

/// <summary>All CRI calls of real kubelets that ran the lab's scenarios.</summary>
public static class Transcript
{
    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    private static readonly Dictionary<string, MethodDescriptor> Methods = ApiReflection.Descriptor.Services
        .SelectMany(service => service.Methods)
        .GroupBy(method => method.Name, StringComparer.Ordinal)
        .ToDictionary(methods => methods.Key, methods => methods.First(), StringComparer.Ordinal);

    private static readonly Lazy<IReadOnlyList<TranscriptCall>> Read = new(() =>
        [.. typeof(Transcript).Assembly.GetManifestResourceNames().Where(name => name.StartsWith("transcript.", StringComparison.Ordinal)).Order()
            .SelectMany(ReadResource)]);

    /// <summary>Kubelet 1.28's on containerd 1.6, then kubelet 1.36's on containerd 2.1, each in the order of the calls.</summary>
    public static IReadOnlyList<TranscriptCall> Calls => Read.Value;

    private static IEnumerable<TranscriptCall> ReadResource(string name)
    {
        using Stream packed = typeof(Transcript).Assembly.GetManifestResourceStream(name)!;
        using var lines = new StreamReader(new GZipStream(packed, CompressionMode.Decompress));
        while (lines.ReadLine() is { } line)
        {
            using JsonDocument call = JsonDocument.Parse(line);
            JsonElement root = call.RootElement;
            MethodDescriptor method = Methods[root.GetProperty("method").GetString()!];
            yield return new TranscriptCall(
                $"/{method.Service.FullName}/{method.Name}",
                root.GetProperty("authority")[0].GetString()!,
                Parser.Parse(root.GetProperty("req").GetRawText(), method.InputType),
                root.TryGetProperty("rsp", out JsonElement answer) && answer.ValueKind == JsonValueKind.Object
                    ? Parser.Parse(answer.GetRawText(), method.OutputType)
                    : null);
        }
    }
}
