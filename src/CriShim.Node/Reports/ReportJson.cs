using System.Text;
using System.Text.Json;
using CriShim.Protocol.Admin.V1;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Node.Reports;

/// <summary>Reports as JSON, for <c>-o json</c> and for crictl. Fields that say nothing are left out; times are RFC 3339.</summary>
public static class ReportJson
{
    /// <summary>One JSON text.</summary>
    /// <param name="write">Writes one value.</param>
    public static string Text(Action<Utf8JsonWriter> write)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            write(json);
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    /// <summary>A pod with its containers.</summary>
    public static void Write(Utf8JsonWriter json, Pod pod)
    {
        json.WriteStartObject();
        json.WriteString("namespace", pod.Namespace);
        json.WriteString("name", pod.Name);
        json.WriteString("uid", pod.Uid);
        json.WriteString("sandboxId", pod.SandboxId);
        json.WriteBoolean("ready", pod.IsReady);
        Optional(json, "restartPolicy", pod.RestartPolicy);
        Optional(json, "specSource", pod.SpecSource);
        Optional(json, "leftAlone", pod.IsLeftAlone);
        Optional(json, "mainsCompleted", pod.HaveMainsCompleted);
        Write(json, pod.Teardown);
        Write(json, "resources", pod.Resources);
        Write(json, "kubeletResources", pod.KubeletResources);
        Write(json, "annotationErrors", pod.AnnotationErrors);
        json.WriteStartArray("containers");
        foreach (Container container in pod.Containers)
        {
            json.WriteStartObject();
            WriteFields(json, container);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>One container, with what it needs of its pod.</summary>
    public static void Write(Utf8JsonWriter json, Pod pod, Container container)
    {
        json.WriteStartObject();
        json.WriteStartObject("pod");
        json.WriteString("namespace", pod.Namespace);
        json.WriteString("name", pod.Name);
        json.WriteString("sandboxId", pod.SandboxId);
        Optional(json, "mainsCompleted", pod.HaveMainsCompleted);
        json.WriteEndObject();
        WriteFields(json, container);
        Write(json, pod.Teardown);
        json.WriteEndObject();
    }

    /// <summary>Something that happened.</summary>
    public static void Write(Utf8JsonWriter json, Event happened)
    {
        json.WriteStartObject();
        Optional(json, "at", happened.At);
        json.WriteString("kind", happened.Kind);
        json.WriteString("namespace", happened.Namespace);
        json.WriteString("pod", happened.Pod);
        json.WriteString("sandboxId", happened.SandboxId);
        Optional(json, "container", happened.Container);
        Optional(json, "containerId", happened.ContainerId);
        json.WriteString("text", happened.Text);
        Optional(json, "warning", happened.IsWarning);
        json.WriteEndObject();
    }

    /// <summary>A timeline.</summary>
    public static void Write(Utf8JsonWriter json, GetTimelineResponse timeline)
    {
        json.WriteStartObject();
        json.WriteString("namespace", timeline.Namespace);
        json.WriteString("name", timeline.Name);
        json.WriteString("sandboxId", timeline.SandboxId);
        Optional(json, "from", timeline.From);
        Optional(json, "to", timeline.To);
        json.WriteStartArray("rows");
        foreach (TimelineRow row in timeline.Rows)
        {
            json.WriteStartObject();
            Optional(json, "container", row.Container);
            Optional(json, "role", row.Role);
            json.WriteStartArray("bars");
            foreach (TimelineBar bar in row.Bars)
            {
                json.WriteStartObject();
                json.WriteString("kind", bar.Kind);
                Optional(json, "from", bar.From);
                Optional(json, "to", bar.To);
                Optional(json, "open", bar.IsOpen);
                Optional(json, "text", bar.Text);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteStartArray("marks");
            foreach (TimelineMark mark in row.Marks)
            {
                json.WriteStartObject();
                json.WriteString("kind", mark.Kind);
                Optional(json, "at", mark.At);
                Optional(json, "text", mark.Text);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteFields(Utf8JsonWriter json, Container container)
    {
        json.WriteString("name", container.Name);
        json.WriteString("role", container.Role);
        Optional(json, "kind", container.Kind);
        Optional(json, "knownBy", container.KnownBy);
        json.WriteString("state", container.State);
        Optional(json, "containerId", container.ContainerId);
        if (container.Attempt >= 0)
        {
            json.WriteNumber("attempt", container.Attempt);
        }

        json.WriteNumber("deaths", container.Deaths);
        Optional(json, "deathsInRow", container.DeathsInRow);
        Optional(json, "failedTries", container.FailedTries);
        Optional(json, "nextRestart", container.NextRestart);
        Optional(json, "shownCompletedAt", container.ShownCompletedAt);
        Optional(json, "shownId", container.ShownId);
        Optional(json, "why", container.Why);
        Optional(json, "wouldNotRestart", container.WouldNotRestart);
        if (container.Reserve is { } reserve)
        {
            json.WriteNumber("teardownReserveSeconds", reserve.ToTimeSpan().TotalSeconds);
        }

        Optional(json, "stop", container.Stop);
        Optional(json, "gating", container.IsGating);
        Write(json, "notes", container.Notes);
        Write(json, "resources", container.Resources);
        json.WriteStartArray("attempts");
        foreach (Attempt attempt in container.Attempts)
        {
            json.WriteStartObject();
            json.WriteNumber("attempt", attempt.Attempt_);
            json.WriteString("containerId", attempt.ContainerId);
            json.WriteString("state", attempt.State);
            Optional(json, "createdAt", attempt.CreatedAt);
            Optional(json, "startedAt", attempt.StartedAt);
            Optional(json, "finishedAt", attempt.FinishedAt);
            if (attempt.HasExitCode)
            {
                json.WriteNumber("exitCode", attempt.ExitCode);
            }

            Optional(json, "outOfMemory", attempt.IsOutOfMemory);
            Optional(json, "byCrishim", attempt.IsOurs);
            Optional(json, "hidden", attempt.IsHidden);
            Optional(json, "shownCompleted", attempt.IsShownCompleted);
            Optional(json, "decision", attempt.Decision);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter json, TeardownState? teardown)
    {
        if (teardown is null)
        {
            return;
        }

        json.WriteStartObject("teardown");
        json.WriteString("state", teardown.State);
        Optional(json, "beganAt", teardown.BeganAt);
        Optional(json, "deadline", teardown.Deadline);
        Optional(json, "sandboxEnd", teardown.IsSandboxEnd);
        Write(json, "running", teardown.Running);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, string name, Resources? resources)
    {
        if (resources is null || resources.CalculateSize() == 0)
        {
            return;
        }

        json.WriteStartObject(name);
        if (resources.HasCpuRequest)
        {
            json.WriteNumber("cpuRequest", resources.CpuRequest);
        }

        if (resources.HasCpuLimit)
        {
            json.WriteNumber("cpuLimit", resources.CpuLimit);
        }

        if (resources.HasMemoryLimit)
        {
            json.WriteNumber("memoryLimitBytes", resources.MemoryLimit);
        }

        if (resources.HasCpuUsage)
        {
            json.WriteNumber("cpuUsage", Math.Round(resources.CpuUsage, 6));
        }

        if (resources.HasMemoryUsage)
        {
            json.WriteNumber("memoryUsageBytes", resources.MemoryUsage);
        }

        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, string name, RepeatedField<string> texts)
    {
        if (texts.Count == 0)
        {
            return;
        }

        json.WriteStartArray(name);
        foreach (string text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private static void Optional(Utf8JsonWriter json, string name, string text)
    {
        if (text.Length > 0)
        {
            json.WriteString(name, text);
        }
    }

    private static void Optional(Utf8JsonWriter json, string name, bool value)
    {
        if (value)
        {
            json.WriteBoolean(name, value);
        }
    }

    private static void Optional(Utf8JsonWriter json, string name, long value)
    {
        if (value != 0)
        {
            json.WriteNumber(name, value);
        }
    }

    private static void Optional(Utf8JsonWriter json, string name, Timestamp? at)
    {
        if (at is not null)
        {
            json.WriteString(name, at.ToDateTimeOffset());
        }
    }
}
