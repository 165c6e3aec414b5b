using System.Buffers;
using System.Text.Json;

namespace CriShim.Discovery.Access;

/// <summary>Bodies of calls.</summary>
internal static class JsonBody
{
    /// <summary>One object, as UTF-8.</summary>
    /// <param name="write">Writes its properties.</param>
    public static byte[] Write(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }
}
