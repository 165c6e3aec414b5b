using System.Text.Json;

namespace CriShim.Discovery.Reading;

/// <summary>
/// Reads a PodList as it arrives, item by item: a list of a thousand pods is some ten megabytes of JSON, of which one pod at a time is in
/// memory.
/// </summary>
internal sealed class PodListReader(JsonStreamBuffer buffer, Action<PodDocument> found, Action<string> rejected)
{
    private JsonReaderState _state = new(PodReader.JsonOptions);
    private Place _place = Place.Start;
    private string _version = "";
    private bool _isEnded;

    private enum Place
    {
        Start,
        Fields,
        Items,
    }

    /// <returns>The list's resource version; empty when it has none.</returns>
    /// <exception cref="PodSpecException">The stream is no PodList, or ended within it: what was found is not the whole.</exception>
    public async Task<string> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            int consumed = Step(buffer.Unread);
            buffer.Advance(consumed);
            if (_isEnded)
            {
                return _version;
            }

            if (buffer.IsEnded)
            {
                throw new PodSpecException("ends too early");
            }

            await buffer.FillAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private int Step(ReadOnlySpan<byte> data)
    {
        // Never the final block: the end of the list is its closing brace, and a stream that ends before is a fault of its own.
        var reader = new Utf8JsonReader(data, isFinalBlock: false, _state);
        try
        {
            while (!_isEnded)
            {
                Utf8JsonReader before = reader;
                if (!TryTake(ref reader, data))
                {
                    reader = before;
                    break;
                }
            }
        }
        catch (Exception e) when (PodReader.IsFaultOfText(e))
        {
            throw PodReader.Translate(e, reader);
        }

        _state = reader.CurrentState;
        return (int)reader.BytesConsumed;
    }

    /// <summary>Takes one field or item; false when it is not there as a whole yet.</summary>
    private bool TryTake(ref Utf8JsonReader reader, ReadOnlySpan<byte> data)
    {
        if (!reader.Read())
        {
            return false;
        }

        if (_place == Place.Start)
        {
            PodReader.ExpectObject(ref reader, "the list");
            _place = Place.Fields;
            return true;
        }

        if (_place == Place.Items)
        {
            if (reader.TokenType == JsonTokenType.EndArray)
            {
                _place = Place.Fields;
                return true;
            }

            return TryTakeItem(ref reader, data);
        }

        if (reader.TokenType == JsonTokenType.EndObject)
        {
            _isEnded = true;
            return true;
        }

        bool isItems = reader.ValueTextEquals("items"u8);
        bool isMetadata = reader.ValueTextEquals("metadata"u8);
        bool isKind = reader.ValueTextEquals("kind"u8);
        if (!reader.Read())
        {
            return false;
        }

        if (isItems && reader.TokenType == JsonTokenType.StartArray)
        {
            _place = Place.Items;
            return true;
        }

        if (isItems && reader.TokenType != JsonTokenType.Null)
        {
            throw new PodSpecException("items must be a list", reader.TokenStartIndex);
        }

        if (isKind && (reader.TokenType != JsonTokenType.String || !reader.GetString()!.EndsWith("List", StringComparison.Ordinal)))
        {
            throw new PodSpecException("kind must be PodList", reader.TokenStartIndex);
        }

        int start = (int)reader.TokenStartIndex;
        bool isObject = reader.TokenType == JsonTokenType.StartObject;
        if (!reader.TrySkip())
        {
            return false;
        }

        if (isMetadata && isObject)
        {
            _version = PodReader.ReadMetadataVersion(data[start..(int)reader.BytesConsumed]);
        }

        return true;
    }

    private bool TryTakeItem(ref Utf8JsonReader reader, ReadOnlySpan<byte> data)
    {
        int start = (int)reader.TokenStartIndex;
        if (!reader.TrySkip())
        {
            return false;
        }

        PodDocument document;
        try
        {
            document = PodReader.ReadPod(data[start..(int)reader.BytesConsumed]);
        }
        catch (PodSpecException e)
        {
            // One pod that is unlike all we know is no reason to know none.
            rejected(e.Message);
            return true;
        }

        found(document);
        return true;
    }
}
