using System.Text;
using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.Containerd.Requests;

/// <summary>
/// The CreateContainer of a container, rebuilt from what containerd remembers of it, where no record of the request is left: it was
/// too large, or is lost.
/// </summary>
/// <remarks>
/// containerd's verbose status carries the configurations as Go's JSON of the CRI structs:
/// <list type="number">
/// <item>Names are those of the proto fields; numbers are numbers, 64-bit ones too, and enums are numbers.</item>
/// <item>A variable's value is plain text where containerd's CRI declares a string, and base64 where it declares bytes. Which it is, the
/// variables of the process in <c>runtimeSpec</c> tell.</item>
/// <item>containerd writes the host path of a mounted image into the configuration, and refuses a request that has one.</item>
/// <item>Fields that containerd itself does not know are lost; so are, here, those that this build does not.</item>
/// </list>
/// </remarks>
public static class RecordedRequest
{
    private const string InfoKey = "info";

    // Beyond this, a number does not survive a reading as floating point, which is how the parser of messages reads them.
    private const long MaxExactInteger = 1L << 53;

    private static readonly JsonParser s_parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    /// <summary>Rebuilds the request; null when a part of it is missing or cannot be read.</summary>
    /// <param name="container">Verbose status of the container.</param>
    /// <param name="sandbox">Verbose status of its pod sandbox.</param>
    public static CreateContainerRequest? FromVerboseStatus(ContainerStatusResponse container, PodSandboxStatusResponse sandbox)
    {
        if (!container.Info.TryGetValue(InfoKey, out string? containerInfo) || !sandbox.Info.TryGetValue(InfoKey, out string? sandboxInfo))
        {
            return null;
        }

        try
        {
            using JsonDocument containerJson = JsonDocument.Parse(containerInfo);
            using JsonDocument sandboxJson = JsonDocument.Parse(sandboxInfo);
            if (!containerJson.RootElement.TryGetProperty("config", out JsonElement config)
                || !sandboxJson.RootElement.TryGetProperty("config", out JsonElement sandboxConfig))
            {
                return null;
            }

            string sandboxId = sandbox.Status?.Id is { Length: > 0 } id ? id : Text(containerJson.RootElement, "sandboxID");
            var request = new CreateContainerRequest
            {
                PodSandboxId = sandboxId,
                Config = s_parser.Parse<ContainerConfig>(Rewrite(config, leaveOut: "envs")),
                SandboxConfig = s_parser.Parse<PodSandboxConfig>(Rewrite(sandboxConfig, leaveOut: null)),
            };
            request.Config.Envs.AddRange(Variables(config, containerJson.RootElement));
            foreach (Mount mount in request.Config.Mounts)
            {
                if (mount.Image is { Image.Length: > 0 })
                {
                    mount.HostPath = "";
                }
            }

            return sandboxId.Length > 0 && request.Config.Metadata is { Name.Length: > 0 } && request.SandboxConfig.Metadata is not null
                ? request
                : null;
        }
        catch (Exception e) when (e is JsonException or InvalidProtocolBufferException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }

    /// <summary>The JSON of a message, with numbers that are too large to be read exactly as text.</summary>
    private static string Rewrite(JsonElement message, string? leaveOut)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            foreach (JsonProperty property in message.EnumerateObject())
            {
                if (property.Name != leaveOut)
                {
                    writer.WritePropertyName(property.Name);
                    Write(writer, property.Value);
                }
            }

            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length);
    }

    private static void Write(Utf8JsonWriter writer, JsonElement value)
    {
        switch (value.ValueKind)
        {
            case JsonValueKind.Object:
                writer.WriteStartObject();
                foreach (JsonProperty property in value.EnumerateObject())
                {
                    writer.WritePropertyName(property.Name);
                    Write(writer, property.Value);
                }

                writer.WriteEndObject();
                break;
            case JsonValueKind.Array:
                writer.WriteStartArray();
                foreach (JsonElement item in value.EnumerateArray())
                {
                    Write(writer, item);
                }

                writer.WriteEndArray();
                break;
            case JsonValueKind.Number when !value.TryGetInt64(out long number) || number is > MaxExactInteger or < -MaxExactInteger:
                writer.WriteStringValue(value.GetRawText());
                break;
            default:
                value.WriteTo(writer);
                break;
        }
    }

    private static IEnumerable<KeyValue> Variables(JsonElement config, JsonElement info)
    {
        if (!config.TryGetProperty("envs", out JsonElement envs) || envs.ValueKind != JsonValueKind.Array)
        {
            return [];
        }

        var variables = envs.EnumerateArray().Select(env => (Key: Text(env, "key"), Value: Text(env, "value"))).ToList();
        bool encoded = AreEncoded(variables, ProcessVariables(info));
        return variables.Select(variable => new KeyValue
        {
            Key = variable.Key,
            Value = encoded ? ByteString.FromBase64(variable.Value) : ByteString.CopyFromUtf8(variable.Value),
        });
    }

    /// <summary>
    /// One containerd writes all of them one way, so a single one that is only right the one way decides. The process has the last of the
    /// values that a name is given.
    /// </summary>
    private static bool AreEncoded(List<(string Key, string Value)> variables, HashSet<string> process)
    {
        foreach ((string key, string value) in variables)
        {
            if (value.Length == 0)
            {
                continue;
            }

            bool plain = process.Contains($"{key}={value}");
            bool encoded = TryDecode(value, out string decoded) && process.Contains($"{key}={decoded}");
            if (plain != encoded)
            {
                return encoded;
            }
        }

        return false;
    }

    private static bool TryDecode(string value, out string decoded)
    {
        byte[] bytes = new byte[value.Length];
        bool valid = Convert.TryFromBase64String(value, bytes, out int length);
        decoded = valid ? Encoding.UTF8.GetString(bytes, 0, length) : "";
        return valid;
    }

    private static HashSet<string> ProcessVariables(JsonElement info)
    {
        var variables = new HashSet<string>(StringComparer.Ordinal);
        if (info.TryGetProperty("runtimeSpec", out JsonElement spec) && spec.ValueKind == JsonValueKind.Object
            && spec.TryGetProperty("process", out JsonElement process) && process.ValueKind == JsonValueKind.Object
            && process.TryGetProperty("env", out JsonElement env) && env.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement variable in env.EnumerateArray())
            {
                variables.Add(variable.GetString() ?? "");
            }
        }

        return variables;
    }

    private static string Text(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}
