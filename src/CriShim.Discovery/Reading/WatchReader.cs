using System.Text.Json;

namespace CriShim.Discovery.Reading;

internal enum WatchEventKind
{
    /// <summary>A kind that this build does not know.</summary>
    Unknown,

    /// <summary>ADDED or MODIFIED.</summary>
    Upserted,

    Deleted,
    Bookmark,
    Error,
}

/// <summary>One event of a watch.</summary>
/// <param name="Kind">What happened.</param>
/// <param name="Version">The resource version to go on from; empty when it tells none.</param>
/// <param name="Pod">The pod; null with bookmarks and errors, and when it could not be read.</param>
/// <param name="Fault">Why the pod could not be read.</param>
/// <param name="ErrorCode">With errors: the status code.</param>
internal readonly record struct WatchEvent(WatchEventKind Kind, string Version, PodDocument? Pod = null, string? Fault = null, int ErrorCode = 0);

/// <summary>Reads the events of a watch: JSON objects one after another.</summary>
internal sealed class WatchReader(JsonStreamBuffer buffer)
{
    /// <returns>The next event; null at the end of the stream.</returns>
    /// <exception cref="PodSpecException">The stream is no watch.</exception>
    public async ValueTask<WatchEvent?> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (TryTake(out WatchEvent taken))
            {
                return taken;
            }

            if (buffer.IsEnded)
            {
                // A watch that breaks off in the middle of an event loses that event alone: it comes again with the next watch.
                return null;
            }

            await buffer.FillAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private bool TryTake(out WatchEvent taken)
    {
        taken = default;
        ReadOnlySpan<byte> data = buffer.Unread;
        var reader = new Utf8JsonReader(data, isFinalBlock: false, new JsonReaderState(PodReader.JsonOptions with { AllowMultipleValues = true }));
        try
        {
            if (!reader.Read())
            {
                return false;
            }

            PodReader.ExpectObject(ref reader, "an event");
            int start = (int)reader.TokenStartIndex;
            if (!reader.TrySkip())
            {
                return false;
            }

            int end = (int)reader.BytesConsumed;
            taken = ReadEvent(data[start..end]);
            buffer.Advance(end);
            return true;
        }
        catch (Exception e) when (PodReader.IsFaultOfText(e))
        {
            throw PodReader.Translate(e, reader);
        }
    }

    private static WatchEvent ReadEvent(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, PodReader.JsonOptions);
        reader.Read();
        string? type = null;
        ReadOnlySpan<byte> content = default;
        while (PodReader.NextField(ref reader))
        {
            if (reader.ValueTextEquals("type"u8))
            {
                type = PodReader.ReadText(ref reader, "type");
            }
            else if (reader.ValueTextEquals("object"u8))
            {
                reader.Read();
                int start = (int)reader.TokenStartIndex;
                reader.Skip();
                content = json[start..(int)reader.BytesConsumed];
            }
            else
            {
                reader.Skip();
            }
        }

        WatchEventKind kind = type switch
        {
            "ADDED" or "MODIFIED" => WatchEventKind.Upserted,
            "DELETED" => WatchEventKind.Deleted,
            "BOOKMARK" => WatchEventKind.Bookmark,
            "ERROR" => WatchEventKind.Error,
            null => throw new PodSpecException("an event has no type"),
            _ => WatchEventKind.Unknown,
        };
        if (content.IsEmpty)
        {
            throw new PodSpecException("an event has no object");
        }

        if (kind == WatchEventKind.Error)
        {
            return new WatchEvent(kind, "", ErrorCode: ReadStatusCode(content));
        }

        if (kind is WatchEventKind.Upserted or WatchEventKind.Deleted)
        {
            try
            {
                PodDocument pod = PodReader.ReadPod(content);
                return new WatchEvent(kind, pod.ResourceVersion, pod);
            }
            catch (PodSpecException e)
            {
                return new WatchEvent(kind, PodReader.ReadResourceVersion(content), Fault: e.Message);
            }
        }

        return new WatchEvent(kind, PodReader.ReadResourceVersion(content));
    }

    private static int ReadStatusCode(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, PodReader.JsonOptions);
        reader.Read();
        PodReader.ExpectObject(ref reader, "a status");
        int code = 0;
        while (PodReader.NextField(ref reader))
        {
            bool isCode = reader.ValueTextEquals("code"u8);
            reader.Read();
            if (isCode && reader.TokenType == JsonTokenType.Number)
            {
                _ = reader.TryGetInt32(out code);
            }

            reader.Skip();
        }

        return code;
    }
}
