using System.Text.Json;

namespace CriShim.Node.Teardown;

/// <summary>
/// A container's preStop hook, from the annotation that the kubelet gives it. What runs in the container (<c>exec</c>) and what only waits
/// (<c>sleep</c>) can be run here; HTTP and TCP hooks are the kubelet's.
/// </summary>
/// <param name="Command">Of an <c>exec</c> hook; empty for <c>sleep</c>.</param>
/// <param name="Sleep">Of a <c>sleep</c> hook.</param>
internal sealed record PreStopHook(IReadOnlyList<string> Command, TimeSpan Sleep)
{
    /// <summary>It runs a command in the container, as callers do by ExecSync.</summary>
    public bool IsCommand => Command.Count > 0;

    public const string Annotation = "io.kubernetes.container.preStopHandler";

    /// <summary>Null where there is none that can be run. The annotation is the kubelet's; what it does not say in its own way is no hook.</summary>
    public static PreStopHook? Read(IDictionary<string, string> annotations)
    {
        if (!annotations.TryGetValue(Annotation, out string? text))
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(text);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                return null;
            }

            if (document.RootElement.TryGetProperty("exec", out JsonElement exec) && exec.ValueKind == JsonValueKind.Object
                && exec.TryGetProperty("command", out JsonElement command) && command.ValueKind == JsonValueKind.Array)
            {
                string[] words = [.. command.EnumerateArray().Where(word => word.ValueKind == JsonValueKind.String).Select(word => word.GetString()!)];
                return words.Length == 0 ? null : new PreStopHook(words, TimeSpan.Zero);
            }

            return document.RootElement.TryGetProperty("sleep", out JsonElement sleep) && sleep.ValueKind == JsonValueKind.Object
                && sleep.TryGetProperty("seconds", out JsonElement seconds) && seconds.TryGetInt64(out long value) && value is > 0 and < 86_400
                ? new PreStopHook([], TimeSpan.FromSeconds(value))
                : null;
        }
        catch (Exception unreadable) when (unreadable is JsonException or InvalidOperationException)
        {
            return null;
        }
    }
}
