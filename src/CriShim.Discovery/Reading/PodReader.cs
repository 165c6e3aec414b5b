using System.Text.Json;
using CriShim.Supervision;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;

namespace CriShim.Discovery.Reading;

/// <summary>
/// Reads pods from JSON text and keeps what <see cref="PodFacts"/> holds. A node can have hundreds of pods of tens of kilobytes each, most
/// of it of no use here: nothing else is ever materialised. Fields that it does not know are skipped, so that pods of newer API servers can
/// be read.
/// </summary>
internal static class PodReader
{
    public const string AnnotationPrefix = "crishim.io/";

    /// <summary>The API server lets a pod have 256 KiB of annotations; ours are a few lines.</summary>
    public const int MaxAnnotationBytes = 16 * 1024;

    public const int MaxContainers = 1000;

    private static readonly Dictionary<string, string> NoAnnotations = [];

    private const string MirrorAnnotation = "kubernetes.io/config.mirror";

    public static JsonReaderOptions JsonOptions => new() { MaxDepth = 256 };

    /// <summary>Reads a pod of the API, which has been validated by an API server or a kubelet.</summary>
    /// <param name="json">One object and nothing else.</param>
    /// <exception cref="PodSpecException">It is no pod.</exception>
    public static PodDocument ReadPod(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, JsonOptions);
        try
        {
            Read(ref reader);
            return ReadPod(ref reader, isManifest: false);
        }
        catch (Exception e) when (IsFaultOfText(e))
        {
            throw Translate(e, reader);
        }
    }

    /// <summary>Reads a manifest: a pod, or a v1 List or PodList of pods.</summary>
    /// <exception cref="PodSpecException">It is neither.</exception>
    public static IReadOnlyList<PodDocument> ReadManifest(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, JsonOptions);
        try
        {
            Read(ref reader);
            var pods = new List<PodDocument>();
            ReadManifestObject(ref reader, pods, isItem: false);
            if (reader.Read())
            {
                throw Fault("has more than one JSON value", reader);
            }

            return pods;
        }
        catch (Exception e) when (IsFaultOfText(e))
        {
            throw Translate(e, reader);
        }
    }

    /// <summary><c>metadata.resourceVersion</c> of any object of the API; empty when it has none.</summary>
    public static string ReadResourceVersion(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, JsonOptions);
        try
        {
            Read(ref reader);
            ExpectObject(ref reader, "the object");
            string version = "";
            while (NextField(ref reader))
            {
                if (!reader.ValueTextEquals("metadata"u8))
                {
                    reader.Skip();
                }
                else if (EnterObject(ref reader, "metadata"))
                {
                    version = ReadVersionOfMetadata(ref reader);
                }
            }

            return version;
        }
        catch (Exception e) when (IsFaultOfText(e))
        {
            throw Translate(e, reader);
        }
    }

    /// <summary><c>resourceVersion</c> of a metadata object.</summary>
    public static string ReadMetadataVersion(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, JsonOptions);
        try
        {
            Read(ref reader);
            ExpectObject(ref reader, "metadata");
            return ReadVersionOfMetadata(ref reader);
        }
        catch (Exception e) when (IsFaultOfText(e))
        {
            throw Translate(e, reader);
        }
    }

    internal static bool IsFaultOfText(Exception e) => e is JsonException or InvalidOperationException;

    /// <summary>The reader's own messages can hold parts of the text.</summary>
    internal static PodSpecException Translate(Exception e, in Utf8JsonReader reader) => e is JsonException
        ? new PodSpecException("is no valid JSON", reader.BytesConsumed)
        : new PodSpecException("holds text that is not UTF-8", reader.TokenStartIndex);

    internal static bool NextField(ref Utf8JsonReader reader)
    {
        Read(ref reader);
        return reader.TokenType == JsonTokenType.PropertyName;
    }

    internal static void ExpectObject(ref Utf8JsonReader reader, string what)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw Fault($"{what} must be an object", reader);
        }
    }

    /// <summary>From a field's name into its value; false when that is null.</summary>
    internal static bool EnterObject(ref Utf8JsonReader reader, string field)
    {
        Read(ref reader);
        if (reader.TokenType == JsonTokenType.Null)
        {
            return false;
        }

        ExpectObject(ref reader, field);
        return true;
    }

    internal static string? ReadText(ref Utf8JsonReader reader, string field)
    {
        Read(ref reader);
        return reader.TokenType switch
        {
            JsonTokenType.String => reader.GetString(),
            JsonTokenType.Null => null,
            _ => throw Fault($"{field} must be a text", reader),
        };
    }

    private static void ReadManifestObject(ref Utf8JsonReader reader, List<PodDocument> pods, bool isItem)
    {
        ExpectObject(ref reader, "a pod");

        (string? kind, string? apiVersion) = LookAheadForType(reader);

        // Items of a typed list need not say what they are.
        bool isPod = kind == "Pod" || (isItem && kind is null);
        if ((!isPod && (isItem || kind is not ("PodList" or "List"))) || (apiVersion != "v1" && !(isItem && apiVersion is null)))
        {
            throw Fault($"must be {(isItem ? "a Pod" : "a Pod, a PodList or a List")} of apiVersion v1", reader);
        }

        if (isPod)
        {
            pods.Add(ReadPod(ref reader, isManifest: true));
            return;
        }

        while (NextField(ref reader))
        {
            if (!reader.ValueTextEquals("items"u8))
            {
                reader.Skip();
                continue;
            }

            if (EnterArray(ref reader, "items"))
            {
                while (NextItem(ref reader))
                {
                    ReadManifestObject(ref reader, pods, isItem: true);
                }
            }
        }
    }

    /// <summary>What an object is may be told by its last field only: looks on a copy of the reader.</summary>
    private static (string? Kind, string? ApiVersion) LookAheadForType(Utf8JsonReader ahead)
    {
        string? kind = null;
        string? apiVersion = null;
        try
        {
            while (NextField(ref ahead))
            {
                if (ahead.ValueTextEquals("kind"u8))
                {
                    kind = ReadText(ref ahead, "kind");
                }
                else if (ahead.ValueTextEquals("apiVersion"u8))
                {
                    apiVersion = ReadText(ref ahead, "apiVersion");
                }
                else
                {
                    ahead.Skip();
                }
            }
        }
        catch (Exception e) when (IsFaultOfText(e))
        {
            throw Translate(e, ahead);
        }

        return (kind, apiVersion);
    }

    private static PodDocument ReadPod(ref Utf8JsonReader reader, bool isManifest)
    {
        ExpectObject(ref reader, "the pod");
        long start = reader.TokenStartIndex;
        var metadata = default(Metadata);
        Spec? spec = null;
        bool isFinished = false;
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("metadata"u8))
            {
                if (EnterObject(ref reader, "metadata"))
                {
                    metadata = ReadMetadata(ref reader);
                }
            }
            else if (reader.ValueTextEquals("spec"u8))
            {
                if (EnterObject(ref reader, "spec"))
                {
                    spec = ReadSpec(ref reader);
                }
            }
            else if (reader.ValueTextEquals("status"u8))
            {
                if (EnterObject(ref reader, "status"))
                {
                    isFinished = ReadIsFinished(ref reader);
                }
            }
            else
            {
                reader.Skip();
            }
        }

        // A mirror pod stands for a static pod, which CRI shows under the UID that the kubelet gave it. Deleting the mirror does not end the
        // static pod: the kubelet makes another mirror.
        bool isMirror = !isManifest && !string.IsNullOrEmpty(metadata.MirrorOf);
        string uid = (isManifest ? null : isMirror ? metadata.MirrorOf : metadata.Uid) ?? "";
        if (uid.Length == 0 && !isManifest)
        {
            throw new PodSpecException("metadata.uid is missing", start);
        }

        if (string.IsNullOrEmpty(metadata.Name))
        {
            throw new PodSpecException("metadata.name is missing", start);
        }

        if (spec is null || spec.Plain.Count == 0)
        {
            throw new PodSpecException("spec.containers is missing", start);
        }

        bool isTerminating = metadata.IsDeleted && !isMirror && !isManifest;
        long? grace = isTerminating ? metadata.DeletionGrace ?? spec.Grace : spec.Grace;
        return new PodDocument
        {
            Uid = uid,
            ResourceVersion = metadata.ResourceVersion ?? "",
            IsFinished = isFinished,
            Loss = metadata.Loss,
            Facts = new PodFacts
            {
                Uid = uid,
                Namespace = string.IsNullOrEmpty(metadata.Namespace) ? "default" : metadata.Namespace,
                Name = metadata.Name,
                RestartPolicy = spec.RestartPolicy,
                IsTerminating = isTerminating,
                TerminationGracePeriod = grace is { } seconds ? TimeSpan.FromSeconds(Math.Clamp(seconds, 0, int.MaxValue)) : null,
                Overhead = spec.Overhead,
                HasPodResources = spec.HasResources,
                Containers = [.. spec.Init, .. spec.Plain, .. spec.Ephemeral],
                Annotations = (IReadOnlyDictionary<string, string>?)metadata.Annotations ?? NoAnnotations,
            },
        };
    }

    private static Metadata ReadMetadata(ref Utf8JsonReader reader)
    {
        var metadata = default(Metadata);
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("uid"u8))
            {
                metadata.Uid = ReadText(ref reader, "metadata.uid");
            }
            else if (reader.ValueTextEquals("name"u8))
            {
                metadata.Name = ReadText(ref reader, "metadata.name");
            }
            else if (reader.ValueTextEquals("namespace"u8))
            {
                metadata.Namespace = ReadText(ref reader, "metadata.namespace");
            }
            else if (reader.ValueTextEquals("resourceVersion"u8))
            {
                metadata.ResourceVersion = ReadText(ref reader, "metadata.resourceVersion");
            }
            else if (reader.ValueTextEquals("deletionTimestamp"u8))
            {
                Read(ref reader);
                metadata.IsDeleted = reader.TokenType != JsonTokenType.Null;
                reader.Skip();
            }
            else if (reader.ValueTextEquals("deletionGracePeriodSeconds"u8))
            {
                metadata.DeletionGrace = ReadSeconds(ref reader, "metadata.deletionGracePeriodSeconds");
            }
            else if (reader.ValueTextEquals("annotations"u8))
            {
                if (EnterObject(ref reader, "metadata.annotations"))
                {
                    ReadAnnotations(ref reader, ref metadata);
                }
            }
            else
            {
                reader.Skip();
            }
        }

        return metadata;
    }

    private static void ReadAnnotations(ref Utf8JsonReader reader, ref Metadata metadata)
    {
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals(MirrorAnnotation))
            {
                metadata.MirrorOf = ReadText(ref reader, MirrorAnnotation);
                continue;
            }

            bool isOurs = reader.ValueIsEscaped
                ? reader.GetString()!.StartsWith(AnnotationPrefix, StringComparison.Ordinal)
                : reader.ValueSpan.StartsWith("crishim.io/"u8);
            if (!isOurs)
            {
                reader.Skip();
                continue;
            }

            string key = reader.GetString()!;
            Read(ref reader);
            if (reader.TokenType == JsonTokenType.Null)
            {
                continue;
            }

            if (reader.TokenType != JsonTokenType.String)
            {
                throw Fault($"annotation {key} must be a text", reader);
            }

            if (reader.ValueSpan.Length > MaxAnnotationBytes)
            {
                metadata.Loss = $"annotation {key} has more than {MaxAnnotationBytes} bytes and is not kept";
                continue;
            }

            (metadata.Annotations ??= new(StringComparer.Ordinal))[key] = reader.GetString()!;
        }
    }

    private static Spec ReadSpec(ref Utf8JsonReader reader)
    {
        var spec = new Spec();
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("restartPolicy"u8))
            {
                spec.RestartPolicy = ReadText(ref reader, "spec.restartPolicy") switch
                {
                    null or "" or "Always" => PodRestartPolicy.Always,
                    "OnFailure" => PodRestartPolicy.OnFailure,
                    "Never" => PodRestartPolicy.Never,
                    _ => throw Fault("spec.restartPolicy must be Always, OnFailure or Never", reader),
                };
            }
            else if (reader.ValueTextEquals("terminationGracePeriodSeconds"u8))
            {
                spec.Grace = ReadSeconds(ref reader, "spec.terminationGracePeriodSeconds");
            }
            else if (reader.ValueTextEquals("overhead"u8))
            {
                spec.Overhead = ReadAmounts(ref reader, "spec.overhead");
            }
            else if (reader.ValueTextEquals("resources"u8))
            {
                (ResourceAmounts requests, ResourceAmounts limits) = ReadResources(ref reader, "spec.resources");
                spec.HasResources = requests != default || limits != default;
            }
            else if (reader.ValueTextEquals("initContainers"u8))
            {
                ReadContainers(ref reader, "spec.initContainers", ContainerRole.Init, spec.Init);
            }
            else if (reader.ValueTextEquals("containers"u8))
            {
                ReadContainers(ref reader, "spec.containers", ContainerRole.Plain, spec.Plain);
            }
            else if (reader.ValueTextEquals("ephemeralContainers"u8))
            {
                ReadContainers(ref reader, "spec.ephemeralContainers", ContainerRole.Ephemeral, spec.Ephemeral);
            }
            else
            {
                reader.Skip();
            }
        }

        return spec;
    }

    private static void ReadContainers(ref Utf8JsonReader reader, string field, ContainerRole role, List<ContainerFacts> containers)
    {
        // A field given twice counts with its last value, as in Go.
        containers.Clear();
        if (!EnterArray(ref reader, field))
        {
            return;
        }

        while (NextItem(ref reader))
        {
            ExpectObject(ref reader, field + "[]");
            if (containers.Count == MaxContainers)
            {
                throw Fault($"{field} has more than {MaxContainers} containers", reader);
            }

            containers.Add(ReadContainer(ref reader, field, role));
        }
    }

    private static ContainerFacts ReadContainer(ref Utf8JsonReader reader, string field, ContainerRole role)
    {
        long start = reader.TokenStartIndex;
        string? name = null;
        string? restartPolicy = null;
        bool hasPostStart = false;
        bool hasRules = false;
        (ResourceAmounts Requests, ResourceAmounts Limits) resources = default;
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("name"u8))
            {
                name = ReadText(ref reader, field + "[].name");
            }
            else if (reader.ValueTextEquals("restartPolicy"u8))
            {
                restartPolicy = ReadText(ref reader, field + "[].restartPolicy");
            }
            else if (reader.ValueTextEquals("restartPolicyRules"u8))
            {
                hasRules = ReadIsNonEmptyArray(ref reader, field + "[].restartPolicyRules");
            }
            else if (reader.ValueTextEquals("resources"u8))
            {
                resources = ReadResources(ref reader, field + "[].resources");
            }
            else if (reader.ValueTextEquals("lifecycle"u8))
            {
                if (EnterObject(ref reader, field + "[].lifecycle"))
                {
                    hasPostStart = ReadHasPostStart(ref reader);
                }
            }
            else
            {
                reader.Skip();
            }
        }

        if (string.IsNullOrEmpty(name))
        {
            throw new PodSpecException($"{field}[].name is missing", start);
        }

        bool isSidecar = role == ContainerRole.Init && restartPolicy == "Always";
        return new ContainerFacts(
            name,
            isSidecar ? ContainerRole.RestartableInit : role,
            hasPostStart,
            hasRules || (!string.IsNullOrEmpty(restartPolicy) && !isSidecar),
            resources.Requests,
            resources.Limits);
    }

    private static (ResourceAmounts Requests, ResourceAmounts Limits) ReadResources(ref Utf8JsonReader reader, string field)
    {
        (ResourceAmounts Requests, ResourceAmounts Limits) resources = default;
        if (!EnterObject(ref reader, field))
        {
            return resources;
        }

        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("requests"u8))
            {
                resources.Requests = ReadAmounts(ref reader, field + ".requests");
            }
            else if (reader.ValueTextEquals("limits"u8))
            {
                resources.Limits = ReadAmounts(ref reader, field + ".limits");
            }
            else
            {
                reader.Skip();
            }
        }

        // The API's default: what has a limit and no request asks for as much as its limit.
        resources.Requests = new ResourceAmounts(
            resources.Requests.CpuMillis ?? resources.Limits.CpuMillis, resources.Requests.MemoryBytes ?? resources.Limits.MemoryBytes);
        return resources;
    }

    /// <summary>Amounts that can't be read count as none: a pod whose amounts are wrong has no sidecars less.</summary>
    private static ResourceAmounts ReadAmounts(ref Utf8JsonReader reader, string field)
    {
        var amounts = default(ResourceAmounts);
        if (!EnterObject(ref reader, field))
        {
            return amounts;
        }

        while (NextField(ref reader))
        {
            bool isCpu = reader.ValueTextEquals("cpu"u8);
            bool isMemory = reader.ValueTextEquals("memory"u8);
            Read(ref reader);
            string? text = !isCpu && !isMemory ? null
                : reader.TokenType == JsonTokenType.String ? reader.GetString()
                : reader.TokenType == JsonTokenType.Number ? System.Text.Encoding.UTF8.GetString(reader.ValueSpan)
                : null;
            reader.Skip();
            if (isCpu)
            {
                amounts = amounts with { CpuMillis = text is not null && Quantity.TryParseMillis(text, out long millis) ? millis : null };
            }
            else if (isMemory)
            {
                amounts = amounts with { MemoryBytes = text is not null && Quantity.TryParse(text, out long bytes) ? bytes : null };
            }
        }

        return amounts;
    }

    private static bool ReadHasPostStart(ref Utf8JsonReader reader)
    {
        bool has = false;
        while (NextField(ref reader))
        {
            bool isPostStart = reader.ValueTextEquals("postStart"u8);
            Read(ref reader);
            has |= isPostStart && reader.TokenType != JsonTokenType.Null;
            reader.Skip();
        }

        return has;
    }

    private static bool ReadIsFinished(ref Utf8JsonReader reader)
    {
        bool isFinished = false;
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("phase"u8))
            {
                isFinished = ReadText(ref reader, "status.phase") is "Succeeded" or "Failed";
            }
            else
            {
                reader.Skip();
            }
        }

        return isFinished;
    }

    private static string ReadVersionOfMetadata(ref Utf8JsonReader reader)
    {
        string version = "";
        while (NextField(ref reader))
        {
            if (reader.ValueTextEquals("resourceVersion"u8))
            {
                version = ReadText(ref reader, "metadata.resourceVersion") ?? "";
            }
            else
            {
                reader.Skip();
            }
        }

        return version;
    }

    private static long? ReadSeconds(ref Utf8JsonReader reader, string field)
    {
        Read(ref reader);
        return reader.TokenType switch
        {
            JsonTokenType.Null => null,
            JsonTokenType.Number when reader.TryGetInt64(out long seconds) => seconds,
            _ => throw Fault($"{field} must be a whole number", reader),
        };
    }

    private static bool ReadIsNonEmptyArray(ref Utf8JsonReader reader, string field)
    {
        if (!EnterArray(ref reader, field))
        {
            return false;
        }

        bool any = false;
        while (NextItem(ref reader))
        {
            any = true;
            reader.Skip();
        }

        return any;
    }

    private static bool EnterArray(ref Utf8JsonReader reader, string field)
    {
        Read(ref reader);
        return reader.TokenType switch
        {
            JsonTokenType.Null => false,
            JsonTokenType.StartArray => true,
            _ => throw Fault($"{field} must be a list", reader),
        };
    }

    private static bool NextItem(ref Utf8JsonReader reader)
    {
        Read(ref reader);
        return reader.TokenType != JsonTokenType.EndArray;
    }

    private static void Read(ref Utf8JsonReader reader)
    {
        if (!reader.Read())
        {
            throw Fault("ends too early", reader);
        }
    }

    private static PodSpecException Fault(string reason, in Utf8JsonReader reader) => new(reason, reader.TokenStartIndex);

    private struct Metadata
    {
        public string? Uid;
        public string? Namespace;
        public string? Name;
        public string? ResourceVersion;
        public string? MirrorOf;
        public bool IsDeleted;
        public long? DeletionGrace;
        public Dictionary<string, string>? Annotations;
        public string? Loss;
    }

    private sealed class Spec
    {
        public PodRestartPolicy RestartPolicy;
        public long? Grace;
        public ResourceAmounts Overhead;
        public bool HasResources;
        public readonly List<ContainerFacts> Init = [];
        public readonly List<ContainerFacts> Plain = [];
        public readonly List<ContainerFacts> Ephemeral = [];
    }
}
