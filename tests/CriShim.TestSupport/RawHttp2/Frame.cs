using System.Buffers.Binary;

namespace CriShim.TestSupport.RawHttp2;

public enum FrameType : byte
{
    Data = 0,
    Headers = 1,
    Priority = 2,
    RstStream = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

[Flags]
public enum FrameFlags : byte
{
    None = 0,
    EndStream = 1,
#pragma warning disable CA1069 // One bit, two names: RFC 9113 says which holds by the frame's type.
    Ack = 1,
#pragma warning restore CA1069
    EndHeaders = 4,
    Padded = 8,
    Priority = 0x20,
}

/// <summary>Error codes of RFC 9113 section 7.</summary>
public enum Http2Code : uint
{
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

public enum Setting : ushort
{
    HeaderTableSize = 1,
    EnablePush = 2,
    MaxConcurrentStreams = 3,
    InitialWindowSize = 4,
    MaxFrameSize = 5,
    MaxHeaderListSize = 6,
}

/// <summary>A frame as it stands on the wire; building one checks nothing.</summary>
public sealed record Frame(FrameType Type, FrameFlags Flags, int StreamId, byte[] Payload)
{
    public const int HeaderLength = 9;

    public static ReadOnlySpan<byte> Preface => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;

    public bool Has(FrameFlags flag) => (Flags & flag) != 0;

    public byte[] ToArray()
    {
        var wire = new byte[HeaderLength + Payload.Length];
        wire[0] = (byte)(Payload.Length >> 16);
        wire[1] = (byte)(Payload.Length >> 8);
        wire[2] = (byte)Payload.Length;
        wire[3] = (byte)Type;
        wire[4] = (byte)Flags;
        BinaryPrimitives.WriteInt32BigEndian(wire.AsSpan(5), StreamId);
        Payload.CopyTo(wire, HeaderLength);
        return wire;
    }

    public static Frame Settings(params ReadOnlySpan<(Setting Id, uint Value)> settings)
    {
        var payload = new byte[settings.Length * 6];
        for (int i = 0; i < settings.Length; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(payload.AsSpan(i * 6), (ushort)settings[i].Id);
            BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan(i * 6 + 2), settings[i].Value);
        }

        return new Frame(FrameType.Settings, FrameFlags.None, 0, payload);
    }

    public static Frame SettingsAck() => new(FrameType.Settings, FrameFlags.Ack, 0, []);

    public static Frame Ping(ulong value, bool ack = false)
    {
        var payload = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(payload, value);
        return new Frame(FrameType.Ping, ack ? FrameFlags.Ack : FrameFlags.None, 0, payload);
    }

    public static Frame WindowUpdate(int streamId, uint increment)
    {
        var payload = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(payload, increment);
        return new Frame(FrameType.WindowUpdate, FrameFlags.None, streamId, payload);
    }

    public static Frame RstStream(int streamId, Http2Code code)
    {
        var payload = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(payload, (uint)code);
        return new Frame(FrameType.RstStream, FrameFlags.None, streamId, payload);
    }

    public static Frame GoAway(int lastStreamId, Http2Code code)
    {
        var payload = new byte[8];
        BinaryPrimitives.WriteInt32BigEndian(payload, lastStreamId);
        BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan(4), (uint)code);
        return new Frame(FrameType.GoAway, FrameFlags.None, 0, payload);
    }

    public static Frame Data(int streamId, ReadOnlySpan<byte> body, bool endStream = false, int? padding = null) =>
        new(FrameType.Data, EndOf(endStream) | PaddedOf(padding), streamId, Pad(body, padding));

    public static Frame Headers(
        int streamId, ReadOnlySpan<byte> block, bool endStream = false, bool endHeaders = true, int? padding = null) =>
        new(
            FrameType.Headers,
            EndOf(endStream) | PaddedOf(padding) | (endHeaders ? FrameFlags.EndHeaders : FrameFlags.None),
            streamId,
            Pad(block, padding));

    public static Frame Continuation(int streamId, ReadOnlySpan<byte> block, bool endHeaders) =>
        new(FrameType.Continuation, endHeaders ? FrameFlags.EndHeaders : FrameFlags.None, streamId, block.ToArray());

    public override string ToString()
    {
        string detail = Type switch
        {
            FrameType.RstStream when Payload.Length == 4 => $" {(Http2Code)BinaryPrimitives.ReadUInt32BigEndian(Payload)}",
            FrameType.GoAway when Payload.Length >= 8 =>
                $" last={BinaryPrimitives.ReadInt32BigEndian(Payload)} " +
                $"{(Http2Code)BinaryPrimitives.ReadUInt32BigEndian(Payload.AsSpan(4))} " +
                System.Text.Encoding.Latin1.GetString(Payload.AsSpan(8)),
            FrameType.WindowUpdate when Payload.Length == 4 => $" +{BinaryPrimitives.ReadUInt32BigEndian(Payload)}",
            FrameType.Settings => " " + string.Join(
                ' ',
                Enumerable.Range(0, Payload.Length / 6).Select(i =>
                    $"{(Setting)BinaryPrimitives.ReadUInt16BigEndian(Payload.AsSpan(i * 6))}=" +
                    $"{BinaryPrimitives.ReadUInt32BigEndian(Payload.AsSpan(i * 6 + 2))}")),
            _ => "",
        };
        return $"{Type} stream={StreamId} flags={(byte)Flags:x2} length={Payload.Length}{detail}";
    }

    private static FrameFlags EndOf(bool endStream) => endStream ? FrameFlags.EndStream : FrameFlags.None;

    private static FrameFlags PaddedOf(int? padding) => padding is null ? FrameFlags.None : FrameFlags.Padded;

    private static byte[] Pad(ReadOnlySpan<byte> body, int? padding) =>
        padding is { } length ? [(byte)length, .. body, .. new byte[length]] : body.ToArray();
}
