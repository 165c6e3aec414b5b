using System.Buffers.Binary;
using System.Net.Sockets;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// One HTTP/2 connection of the fake backend: frames, flow control both ways, and the few settings that an answer depends on.
/// Reading stops at the request's bytes: header blocks are skipped, not decoded.
/// </summary>
internal sealed class BackendConnection : IDisposable
{
    private const int FrameHeader = 9;
    private const int DefaultWindow = 65_535;
    private const int LargestFrameTaken = 16_384;
    private const int OutputCapacity = 256 * 1024;
    private const int WindowUpdateThreshold = DefaultWindow / 2;

    private readonly Socket _socket;
    private readonly EpollSet _epoll;
    private readonly CannedCall[] _calls;
    private readonly ResponseHeaders _headers = new();
    private readonly Dictionary<int, Stream> _streams = [];
    private readonly Stack<Stream> _spare = [];

    // Streams with data that their own window lets through; the others wait in _streams for a WINDOW_UPDATE.
    private readonly Queue<Stream> _sendable = [];
    private readonly byte[] _input = new byte[2 * (LargestFrameTaken + FrameHeader)];
    private readonly byte[] _output = new byte[OutputCapacity];
    private int _inputLength;
    private int _outputStart;
    private int _outputEnd;
    private Stream? _subscriber;
    private bool _subscriberHasHead;
    private bool _prefaceSeen;
    private bool _full;
    private long _sendWindow = DefaultWindow;
    private int _initialStreamWindow = DefaultWindow;
    private int _peerFrameSize = 16_384;
    private int _receivedUnacknowledged;

    public BackendConnection(Socket socket, EpollSet epoll, CannedCall[] calls)
    {
        socket.Blocking = false;
        _socket = socket;
        _epoll = epoll;
        _calls = calls;
        Descriptor = (int)socket.Handle;
        WriteFrame(FrameType.Settings, 0, 0, []);
    }

    public int Descriptor { get; }

    public void Dispose() => _socket.Dispose();

    /// <summary>Reads what has come and writes what may go. False: the connection is over.</summary>
    public bool OnReady()
    {
        // Requests are read only when all answers are out, which bounds the output.
        if (_full && !Send())
        {
            return false;
        }

        if (_full)
        {
            return true;
        }

        var received = _socket.Receive(_input.AsSpan(_inputLength), SocketFlags.None, out var error);
        if (error is not (SocketError.Success or SocketError.WouldBlock) || (error == SocketError.Success && received == 0))
        {
            return false;
        }

        _inputLength += error == SocketError.Success ? received : 0;
        return ReadFrames() && Send();
    }

    private bool ReadFrames()
    {
        var input = _input.AsSpan(0, _inputLength);
        if (!_prefaceSeen)
        {
            var preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8;
            if (input.Length < preface.Length)
            {
                return true;
            }

            if (!input.StartsWith(preface))
            {
                return false;
            }

            _prefaceSeen = true;
            input = input[preface.Length..];
        }

        while (input.Length >= FrameHeader)
        {
            var length = (input[0] << 16) | (input[1] << 8) | input[2];
            if (length > LargestFrameTaken)
            {
                return false;
            }

            if (input.Length < FrameHeader + length)
            {
                break;
            }

            var stream = BinaryPrimitives.ReadInt32BigEndian(input[5..]) & int.MaxValue;
            if (!OnFrame((FrameType)input[3], input[4], stream, input.Slice(FrameHeader, length)))
            {
                return false;
            }

            input = input[(FrameHeader + length)..];
        }

        input.CopyTo(_input);
        _inputLength = input.Length;
        return true;
    }

    private bool OnFrame(FrameType type, byte flags, int streamId, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case FrameType.Headers:
                var opened = _spare.TryPop(out var spare) ? spare : new Stream();
                opened.Open(streamId, _initialStreamWindow);
                _streams.Add(streamId, opened);
                if ((flags & Flag.EndStream) != 0)
                {
                    Answer(opened);
                }

                break;

            case FrameType.Data:
                Acknowledge(payload.Length);
                if (_streams.TryGetValue(streamId, out var stream))
                {
                    stream.Append((flags & Flag.Padded) != 0 ? payload[1..^payload[0]] : payload);
                    if ((flags & Flag.EndStream) != 0)
                    {
                        Answer(stream);
                    }
                }

                break;

            case FrameType.Settings when (flags & Flag.Acknowledge) == 0:
                ApplySettings(payload);
                WriteFrame(FrameType.Settings, Flag.Acknowledge, 0, []);
                break;

            case FrameType.Ping when (flags & Flag.Acknowledge) == 0:
                WriteFrame(FrameType.Ping, Flag.Acknowledge, 0, payload);
                break;

            case FrameType.WindowUpdate:
                Widen(streamId, BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue);
                break;

            case FrameType.ResetStream:
                if (_streams.Remove(streamId, out var reset))
                {
                    // Not reused: it may still stand in _sendable.
                    reset.Close();
                    _subscriber = _subscriber == reset ? null : _subscriber;
                }

                break;

            default:
                break;
        }

        return true;
    }

    private void ApplySettings(ReadOnlySpan<byte> payload)
    {
        for (; payload.Length >= 6; payload = payload[6..])
        {
            var value = BinaryPrimitives.ReadUInt32BigEndian(payload[2..]);
            switch (BinaryPrimitives.ReadUInt16BigEndian(payload))
            {
                case 1:
                    _headers.OnTableSize(value);
                    break;
                case 4:
                    var change = (int)value - _initialStreamWindow;
                    _initialStreamWindow = (int)value;
                    foreach (var stream in _streams.Values)
                    {
                        Widen(stream, change);
                    }

                    break;
                case 5:
                    _peerFrameSize = (int)value;
                    break;
                default:
                    break;
            }
        }
    }

    private void Widen(int streamId, int increment)
    {
        if (streamId == 0)
        {
            _sendWindow += increment;
        }
        else if (_streams.TryGetValue(streamId, out var stream))
        {
            Widen(stream, increment);
        }
    }

    private void Widen(Stream stream, int increment)
    {
        var blocked = stream.Window <= 0;
        stream.Window += increment;
        if (blocked && stream.Window > 0 && stream.Response is not null)
        {
            _sendable.Enqueue(stream);
        }
    }

    private void Acknowledge(int received)
    {
        _receivedUnacknowledged += received;
        if (_receivedUnacknowledged >= WindowUpdateThreshold)
        {
            Span<byte> increment = stackalloc byte[4];
            BinaryPrimitives.WriteInt32BigEndian(increment, _receivedUnacknowledged);
            WriteFrame(FrameType.WindowUpdate, 0, 0, increment);
            _receivedUnacknowledged = 0;
        }
    }

    private void Answer(Stream stream)
    {
        if (EventCall.IsSubscribe(stream.Request))
        {
            // As containerd does: nothing is answered before there is an event.
            _subscriber = stream;
            _subscriberHasHead = false;
            return;
        }

        if (EventCall.ReadPublish(stream.Request) is { } envelope)
        {
            // Subscriber and publisher share a connection: it is one and the same crishim that proves its subscription.
            Tell(envelope);
            stream.Response = EventCall.PublishAnswer;
            WriteFrame(FrameType.Headers, Flag.EndHeaders, stream.Id, _headers.Head());
            WriteData(stream, stream.Response.Length);
            return;
        }

        foreach (var call in _calls)
        {
            if (stream.Request.SequenceEqual(call.Request))
            {
                stream.Response = call.Answer();
                WriteFrame(FrameType.Headers, Flag.EndHeaders, stream.Id, _headers.Head());

                // The short way for short answers: no queue.
                if (stream.Response.Length <= Math.Min(_peerFrameSize, Math.Min(_sendWindow, stream.Window))
                    && _sendable.Count == 0)
                {
                    WriteData(stream, stream.Response.Length);
                    return;
                }

                if (stream.Window > 0)
                {
                    _sendable.Enqueue(stream);
                }

                return;
            }
        }

        WriteFrame(FrameType.Headers, Flag.EndHeaders | Flag.EndStream, stream.Id, _headers.Unimplemented());
        Release(stream);
    }

    private void Tell(byte[] envelope)
    {
        if (_subscriber is null)
        {
            return;
        }

        if (!_subscriberHasHead)
        {
            WriteFrame(FrameType.Headers, Flag.EndHeaders, _subscriber.Id, _headers.Head());
            _subscriberHasHead = true;
        }

        // Some hundred bytes every half minute: windows are never used up by them.
        WriteFrame(FrameType.Data, 0, _subscriber.Id, envelope);
        _subscriber.Window -= envelope.Length;
        _sendWindow -= envelope.Length;
    }

    /// <summary>Fills the output by turns of one frame a stream and writes it, until windows or the socket are full.</summary>
    private bool Send()
    {
        do
        {
            while (_sendWindow > 0 && Room() >= LargestFrameTaken + (4 * FrameHeader) && _sendable.TryDequeue(out var stream))
            {
                if (stream.Response is null || stream.Window <= 0)
                {
                    continue;
                }

                var rest = stream.Response.Length - stream.Sent;
                var length = (int)Math.Min(Math.Min(rest, LargestFrameTaken), Math.Min(_sendWindow, stream.Window));
                WriteData(stream, length);
                if (stream.Response is not null && stream.Window > 0)
                {
                    _sendable.Enqueue(stream);
                }
            }

            if (!Flush())
            {
                return false;
            }
        }
        while (!_full && _sendWindow > 0 && _sendable.Count > 0);
        return true;
    }

    private void WriteData(Stream stream, int length)
    {
        WriteFrame(FrameType.Data, 0, stream.Id, stream.Response.AsSpan(stream.Sent, length));
        stream.Sent += length;
        stream.Window -= length;
        _sendWindow -= length;
        if (stream.Sent == stream.Response!.Length)
        {
            WriteFrame(FrameType.Headers, Flag.EndHeaders | Flag.EndStream, stream.Id, _headers.Trailers());
            Release(stream);
        }
    }

    private void Release(Stream stream)
    {
        _streams.Remove(stream.Id);
        stream.Close();
        _spare.Push(stream);
    }

    private int Room() => OutputCapacity - _outputEnd;

    private void WriteFrame(FrameType type, int flags, int streamId, ReadOnlySpan<byte> payload)
    {
        var frame = _output.AsSpan(_outputEnd, FrameHeader + payload.Length);
        BinaryPrimitives.WriteInt32BigEndian(frame, (payload.Length << 8) | (int)type);
        frame[4] = (byte)flags;
        BinaryPrimitives.WriteInt32BigEndian(frame[5..], streamId);
        payload.CopyTo(frame[FrameHeader..]);
        _outputEnd += frame.Length;
    }

    private bool Flush()
    {
        while (_outputStart < _outputEnd)
        {
            var sent = _socket.Send(_output.AsSpan(_outputStart, _outputEnd - _outputStart), SocketFlags.None, out var error);
            if (error == SocketError.WouldBlock)
            {
                NoteFull(true);
                return true;
            }

            if (error != SocketError.Success)
            {
                return false;
            }

            _outputStart += sent;
        }

        _outputStart = _outputEnd = 0;
        NoteFull(false);
        return true;
    }

    private void NoteFull(bool full)
    {
        if (full != _full)
        {
            _full = full;
            _epoll.AwaitRoom(Descriptor, full);
        }
    }

    private enum FrameType : byte
    {
        Data = 0,
        Headers = 1,
        ResetStream = 3,
        Settings = 4,
        Ping = 6,
        WindowUpdate = 8,
    }

    private static class Flag
    {
        public const int EndStream = 0x1;
        public const int Acknowledge = 0x1;
        public const int EndHeaders = 0x4;
        public const int Padded = 0x8;
    }

    private sealed class Stream
    {
        private readonly byte[] _request = new byte[256];
        private int _length;

        public int Id { get; private set; }

        public long Window { get; set; }

        public byte[]? Response { get; set; }

        public int Sent { get; set; }

        public ReadOnlySpan<byte> Request => _request.AsSpan(0, _length);

        public void Open(int id, int window)
        {
            Id = id;
            Window = window;
            _length = 0;
            Sent = 0;
        }

        public void Append(ReadOnlySpan<byte> part)
        {
            // Longer than any request it knows: cut, and so not recognised.
            var taken = Math.Min(part.Length, _request.Length - _length);
            part[..taken].CopyTo(_request.AsSpan(_length));
            _length += taken;
        }

        public void Close() => Response = null;
    }
}
