using System.Buffers.Binary;
using CriShim.Linux;
using CriShim.Linux.Polling;
using CriShim.Proxy.Forwarding;

namespace CriShim.Proxy.Http2;

/// <summary>
/// One HTTP/2 connection, either side: frames, settings, header blocks and windows. What the frames mean for calls is left to
/// <see cref="CallerConnection"/> and <see cref="BackendConnection"/>. All of it runs on the loop's thread.
/// </summary>
/// <remarks>
/// Reading: the loop's one buffer is filled, whole frames are handled in place, an incomplete rest is kept.
/// Writing: frames are appended to <see cref="_output"/>, which the loop sends once a turn, so that frames of one turn share
/// a system call. DATA that the peer's windows or a full socket don't admit waits in its <see cref="Flow"/>.
/// </remarks>
internal abstract class Http2Connection
{
    /// <summary>Each stream's window, as announced: what one direction of one call may keep waiting here.</summary>
    public const int StreamWindow = 256 * 1024;

    /// <summary>The connection's window: what all calls together may keep waiting here.</summary>
    public const int ConnectionWindow = 64 * 1024 * 1024;

    /// <summary>The most that a header block may hold, decoded (SETTINGS_MAX_HEADER_LIST_SIZE) and encoded.</summary>
    public const int MaxHeaderListSize = 1024 * 1024;

    // Above this much unsent output no further DATA is added to it.
    private const int OutputHighWater = 256 * 1024;

    // Above this much unsent output nothing is read from the peer, which does not read what it makes us answer.
    private const int OutputReadGate = 1024 * 1024;

    private readonly HpackDecoder _decoder = new();
    private readonly Queue<Flow> _sendable = new();
    private PendingBytes _input;
    private PendingBytes _output;
    private PendingBytes _block;
    private bool _hungUp;
    private bool _readPaused;
    private bool _watchesWritable;
    private int _uncredited;
    private int _receiveWindow = Http2Protocol.DefaultWindow;
    private int _blockStreamId;
    private FrameFlags _blockFlags;
    private int _blockFrames;
    private bool _tableSizeUpdateDue;
    private bool _settingsSeen;

    protected Http2Connection(ProxyLoop loop, int descriptor)
    {
        Loop = loop;
        Descriptor = descriptor;
    }

    /// <summary>The socket; closed by the loop at the end of the turn in which <see cref="IsClosed"/> becomes true.</summary>
    public int Descriptor { get; }

    /// <summary>What the loop's poll calls it by; descriptors are used again, tokens are not.</summary>
    public ulong Token { get; set; }

    public bool IsClosed { get; private set; }

    /// <summary>Set while the loop has this connection on its list of those with output.</summary>
    public bool IsDirty { get; set; }

    /// <summary>Set while the loop has this connection on its list of those whose output may wait a moment.</summary>
    public bool IsLazyListed { get; set; }

    /// <summary>It has output that may wait a moment, and no other.</summary>
    public bool IsLazy { get; set; }

    /// <summary>Set while the loop has this connection on its list of those with more to read.</summary>
    public bool IsReadPending { get; set; }

    /// <summary>The window the peer gives each new stream.</summary>
    public int PeerInitialWindow { get; private set; } = Http2Protocol.DefaultWindow;

    /// <summary>Streams that the peer admits at once; unlimited until it says otherwise.</summary>
    public uint PeerMaxConcurrentStreams { get; private set; } = uint.MaxValue;

    protected ProxyLoop Loop { get; }

    /// <summary>A GOAWAY with an error was sent: the connection closes as soon as its output is out.</summary>
    protected bool IsFailing { get; private set; }

    private int ConnectionSendWindow { get; set; } = Http2Protocol.DefaultWindow;

    // ---- Reading ---------------------------------------------------------------------------------------------------

    /// <summary>The loop saw that the socket can be read.</summary>
    public void OnReadable(bool hungUp)
    {
        _hungUp |= hungUp;
        if (IsClosed)
        {
            return;
        }

        if (_output.Length > OutputReadGate && !_hungUp)
        {
            _readPaused = true;
            return;
        }

        Span<byte> buffer = Loop.ReadBuffer;
        int have = _input.Length;
        if (have > 0)
        {
            _input.Peek(have).CopyTo(buffer);
            _input.Clear();
        }

        int received = StreamSocket.Receive(Descriptor, buffer[have..]);
        if (received <= 0)
        {
            if (received == StreamSocket.WouldBlock)
            {
                Keep(buffer[..have]);
                return;
            }

            OnEnded(received == 0 ? "connection closed by the peer" : Errno.Name(-received));
            return;
        }

        int length = have + received;
        int consumed = IsFailing ? length : HandleInput(buffer[..length]);
        if (IsClosed)
        {
            return;
        }

        Keep(buffer[consumed..length]);

        // Edge-triggered: a short read means that the socket is empty, unless the peer has hung up and the end is to be read yet.
        if (length == buffer.Length || _hungUp)
        {
            Loop.ReadLater(this);
        }
    }

    /// <summary>Frames begin behind this: the preface on a caller's connection. Returns the number of bytes eaten, or -1 for more.</summary>
    protected virtual int HandlePrologue(ReadOnlySpan<byte> input) => 0;

    private void Keep(ReadOnlySpan<byte> rest)
    {
        if (!rest.IsEmpty)
        {
            _input.Append(rest);
        }
    }

    private int HandleInput(ReadOnlySpan<byte> input)
    {
        int at = HandlePrologue(input);
        if (at < 0)
        {
            return 0;
        }

        while (input.Length - at >= Http2Protocol.FrameHeaderLength && !IsClosed && !IsFailing)
        {
            int length = (input[at] << 16) | (input[at + 1] << 8) | input[at + 2];
            if (length > Http2Protocol.MaxFramePayload)
            {
                Fail(Http2Error.FrameSizeError, "a frame is longer than SETTINGS_MAX_FRAME_SIZE");
                break;
            }

            if (input.Length - at - Http2Protocol.FrameHeaderLength < length)
            {
                break;
            }

            var type = (FrameType)input[at + 3];
            var flags = (FrameFlags)input[at + 4];
            int streamId = BinaryPrimitives.ReadInt32BigEndian(input[(at + 5)..]) & int.MaxValue;
            ReadOnlySpan<byte> payload = input.Slice(at + Http2Protocol.FrameHeaderLength, length);
            at += Http2Protocol.FrameHeaderLength + length;
            HandleFrame(type, flags, streamId, payload);
        }

        return IsFailing || IsClosed ? input.Length : at;
    }

    private void HandleFrame(FrameType type, FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (_blockStreamId != 0 && (type != FrameType.Continuation || streamId != _blockStreamId))
        {
            Fail(Http2Error.ProtocolError, "a header block is interrupted by another frame");
            return;
        }

        if (!_settingsSeen && (type != FrameType.Settings || (flags & FrameFlags.Ack) != 0))
        {
            Fail(Http2Error.ProtocolError, "the first frame is not SETTINGS");
            return;
        }

        switch (type)
        {
            case FrameType.Data:
                HandleData(flags, streamId, payload);
                break;
            case FrameType.Headers:
                HandleHeaders(flags, streamId, payload);
                break;
            case FrameType.Priority:
                if (streamId == 0)
                {
                    Fail(Http2Error.ProtocolError, "PRIORITY on stream 0");
                }
                else if (payload.Length != 5)
                {
                    ResetStream(streamId, Http2Error.FrameSizeError);
                }
                else if ((BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue) == streamId)
                {
                    ResetStream(streamId, Http2Error.ProtocolError);
                }

                break;
            case FrameType.RstStream:
                if (payload.Length != 4)
                {
                    Fail(Http2Error.FrameSizeError, "RST_STREAM is not 4 bytes");
                }
                else if (streamId == 0 || IsIdle(streamId))
                {
                    Fail(Http2Error.ProtocolError, "RST_STREAM on an idle stream");
                }
                else
                {
                    OnReset(streamId, (Http2Error)BinaryPrimitives.ReadUInt32BigEndian(payload));
                }

                break;
            case FrameType.Settings:
                HandleSettings(flags, streamId, payload);
                break;
            case FrameType.PushPromise:
                Fail(Http2Error.ProtocolError, "PUSH_PROMISE, which is off");
                break;
            case FrameType.Ping:
                HandlePing(flags, streamId, payload);
                break;
            case FrameType.GoAway:
                if (streamId != 0)
                {
                    Fail(Http2Error.ProtocolError, "GOAWAY on a stream");
                }
                else if (payload.Length < 8)
                {
                    Fail(Http2Error.FrameSizeError, "GOAWAY is shorter than 8 bytes");
                }
                else
                {
                    OnGoAway(
                        BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue,
                        (Http2Error)BinaryPrimitives.ReadUInt32BigEndian(payload[4..]));
                }

                break;
            case FrameType.WindowUpdate:
                HandleWindowUpdate(streamId, payload);
                break;
            case FrameType.Continuation:
                if (_blockStreamId == 0)
                {
                    Fail(Http2Error.ProtocolError, "CONTINUATION without HEADERS");
                }
                else
                {
                    HandleFragment(flags, payload);
                }

                break;
            default:
                // Unknown types are ignored (RFC 9113, 5.5).
                break;
        }
    }

    private void HandleData(FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        int flowControlled = payload.Length;
        if (streamId == 0 || IsIdle(streamId))
        {
            Fail(Http2Error.ProtocolError, "DATA on an idle stream");
            return;
        }

        if ((flags & FrameFlags.Padded) != 0)
        {
            if (payload.IsEmpty || payload[0] >= payload.Length)
            {
                Fail(Http2Error.ProtocolError, "padding is longer than its frame");
                return;
            }

            payload = payload[1..^payload[0]];
        }

        _receiveWindow -= flowControlled;
        if (_receiveWindow < 0)
        {
            Fail(Http2Error.FlowControlError, "more DATA than the connection's window");
            return;
        }

        OnData(streamId, payload, flowControlled, (flags & FrameFlags.EndStream) != 0);
    }

    private void HandleHeaders(FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (streamId == 0)
        {
            Fail(Http2Error.ProtocolError, "HEADERS on stream 0");
            return;
        }

        int padding = 0;
        if ((flags & FrameFlags.Padded) != 0)
        {
            if (payload.IsEmpty)
            {
                Fail(Http2Error.FrameSizeError, "HEADERS without its padding length");
                return;
            }

            padding = payload[0];
            payload = payload[1..];
        }

        bool dependsOnItself = false;
        if ((flags & FrameFlags.Priority) != 0)
        {
            if (payload.Length < 5)
            {
                Fail(Http2Error.FrameSizeError, "HEADERS without its priority");
                return;
            }

            dependsOnItself = (BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue) == streamId;
            payload = payload[5..];
        }

        if (padding > payload.Length)
        {
            Fail(Http2Error.ProtocolError, "padding is longer than its frame");
            return;
        }

        if (dependsOnItself)
        {
            Fail(Http2Error.ProtocolError, "a stream depends on itself");
            return;
        }

        payload = payload[..^padding];
        if ((flags & FrameFlags.EndHeaders) != 0)
        {
            HandleBlock(streamId, (flags & FrameFlags.EndStream) != 0, payload);
            return;
        }

        _blockStreamId = streamId;
        _blockFlags = flags;
        _blockFrames = 0;
        HandleFragment(FrameFlags.None, payload);
    }

    private void HandleFragment(FrameFlags flags, ReadOnlySpan<byte> payload)
    {
        // Many empty frames cost us as much as a large block does.
        _blockFrames++;
        if (_block.Length + payload.Length > MaxHeaderListSize || _blockFrames > (MaxHeaderListSize / 4096))
        {
            Fail(Http2Error.EnhanceYourCalm, "a header block is larger than the limit");
            return;
        }

        _block.Append(payload);
        if ((flags & FrameFlags.EndHeaders) == 0)
        {
            return;
        }

        int streamId = _blockStreamId;
        _blockStreamId = 0;
        HandleBlock(streamId, (_blockFlags & FrameFlags.EndStream) != 0, _block.Length == 0 ? [] : _block.Peek(_block.Length));
        _block.Clear();
    }

    private void HandleBlock(int streamId, bool endStream, ReadOnlySpan<byte> block)
    {
        HeaderList fields = Loop.Fields;
        switch (_decoder.Decode(block, fields, MaxHeaderListSize))
        {
            case HpackOutcome.Broken:
                Fail(Http2Error.CompressionError, "a header block that can't be decoded");
                break;
            case HpackOutcome.TooLarge:
                OnHeadersTooLarge(streamId, endStream);
                break;
            default:
                OnHeaders(streamId, fields, endStream);
                break;
        }

        fields.Trim();
    }

    private void HandleSettings(FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (streamId != 0)
        {
            Fail(Http2Error.ProtocolError, "SETTINGS on a stream");
            return;
        }

        if ((flags & FrameFlags.Ack) != 0)
        {
            if (!payload.IsEmpty)
            {
                Fail(Http2Error.FrameSizeError, "a SETTINGS acknowledgement with a payload");
            }

            return;
        }

        if (payload.Length % 6 != 0)
        {
            Fail(Http2Error.FrameSizeError, "SETTINGS is no multiple of 6 bytes");
            return;
        }

        _settingsSeen = true;
        for (; !payload.IsEmpty; payload = payload[6..])
        {
            uint value = BinaryPrimitives.ReadUInt32BigEndian(payload[2..]);
            switch ((SettingId)BinaryPrimitives.ReadUInt16BigEndian(payload))
            {
                case SettingId.HeaderTableSize:
                    // Our blocks use no table, but a decoder whose table shrank waits to be told that we know.
                    _tableSizeUpdateDue |= value < HpackDecoder.TableSizeLimit;
                    break;
                case SettingId.EnablePush when value > 1 || (value == 1 && !IsCaller):
                    Fail(Http2Error.ProtocolError, "SETTINGS_ENABLE_PUSH has a bad value");
                    return;
                case SettingId.MaxConcurrentStreams:
                    PeerMaxConcurrentStreams = value;
                    break;
                case SettingId.InitialWindowSize:
                    if (value > Http2Protocol.MaxWindow)
                    {
                        Fail(Http2Error.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE is above 2^31-1");
                        return;
                    }

                    int delta = (int)value - PeerInitialWindow;
                    PeerInitialWindow = (int)value;
                    if (!OnInitialWindowChanged(delta))
                    {
                        Fail(Http2Error.FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE makes a window overflow");
                        return;
                    }

                    break;
                case SettingId.MaxFrameSize when value is < Http2Protocol.MaxFramePayload or > 0xffffff:
                    Fail(Http2Error.ProtocolError, "SETTINGS_MAX_FRAME_SIZE is out of range");
                    return;
                default:
                    break;
            }
        }

        WriteFrame(FrameType.Settings, FrameFlags.Ack, 0, []);
        OnSettings();
    }

    private void HandlePing(FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (streamId != 0)
        {
            Fail(Http2Error.ProtocolError, "PING on a stream");
        }
        else if (payload.Length != 8)
        {
            Fail(Http2Error.FrameSizeError, "PING is not 8 bytes");
        }
        else if ((flags & FrameFlags.Ack) == 0)
        {
            WriteLazily(FrameType.Ping, FrameFlags.Ack, 0, payload);
        }
        else
        {
            OnPingAnswered(payload);
        }
    }

    private void HandleWindowUpdate(int streamId, ReadOnlySpan<byte> payload)
    {
        if (payload.Length != 4)
        {
            Fail(Http2Error.FrameSizeError, "WINDOW_UPDATE is not 4 bytes");
            return;
        }

        int increment = BinaryPrimitives.ReadInt32BigEndian(payload) & int.MaxValue;
        if (streamId == 0)
        {
            if (increment == 0)
            {
                Fail(Http2Error.ProtocolError, "WINDOW_UPDATE of 0");
            }
            else if ((long)ConnectionSendWindow + increment > Http2Protocol.MaxWindow)
            {
                Fail(Http2Error.FlowControlError, "the connection's window overflows");
            }
            else
            {
                ConnectionSendWindow += increment;
                Pump();
            }

            return;
        }

        if (IsIdle(streamId))
        {
            Fail(Http2Error.ProtocolError, "WINDOW_UPDATE on an idle stream");
            return;
        }

        Flow? flow = FindSendingFlow(streamId);
        if (increment == 0)
        {
            ResetStream(streamId, Http2Error.ProtocolError);
        }
        else if (flow is not null)
        {
            if (!flow.TryWidenWindow(increment))
            {
                ResetStream(streamId, Http2Error.FlowControlError);
                return;
            }

            Enqueue(flow);
            Pump();
        }
    }

    // ---- What frames mean: the derived side answers ------------------------------------------------------------------

    /// <summary>The peer is a caller (we answer), not the backend (we ask).</summary>
    protected abstract bool IsCaller { get; }

    /// <summary>No stream of this id was ever opened.</summary>
    protected abstract bool IsIdle(int streamId);

    /// <summary>The flow that sends DATA on this stream of this connection, if the stream is open.</summary>
    protected abstract Flow? FindSendingFlow(int streamId);

    protected abstract void OnHeaders(int streamId, HeaderList fields, bool endStream);

    protected abstract void OnHeadersTooLarge(int streamId, bool endStream);

    /// <param name="streamId">A stream that is not idle; it may be closed.</param>
    /// <param name="payload">The DATA without padding.</param>
    /// <param name="flowControlled">What counts against the windows, padding included; to be credited.</param>
    /// <param name="endStream">Nothing follows.</param>
    protected abstract void OnData(int streamId, ReadOnlySpan<byte> payload, int flowControlled, bool endStream);

    protected abstract void OnReset(int streamId, Http2Error error);

    protected abstract void OnGoAway(int lastStreamId, Http2Error error);

    /// <summary>Applies a new initial window to open streams; false when one would overflow.</summary>
    protected abstract bool OnInitialWindowChanged(int delta);

    /// <summary>The peer has read all that was written before a PING of ours.</summary>
    protected virtual void OnPingAnswered(ReadOnlySpan<byte> payload)
    {
    }

    protected virtual void OnSettings()
    {
    }

    /// <summary>A stream error found by the framing: reset it here, and tell the other side.</summary>
    protected abstract void ResetStream(int streamId, Http2Error error);

    /// <summary>The connection is over, through no wish of ours. Must call <see cref="Close"/>.</summary>
    protected abstract void OnEnded(string reason);

    /// <summary>The peer broke the protocol (for the log).</summary>
    protected abstract void OnFailed(Http2Error error, string reason);

    // ---- Writing -----------------------------------------------------------------------------------------------------

    /// <summary>Sends what is waiting. Called by the loop once a turn and when the socket becomes writable.</summary>
    public void Flush()
    {
        IsLazy = false;
        bool full = false;
        while (_output.Length > 0 && !IsClosed)
        {
            int sent = StreamSocket.Send(Descriptor, _output.Peek(_output.Length));
            if (sent < 0)
            {
                full = sent == StreamSocket.WouldBlock;
                if (!full)
                {
                    OnEnded(Errno.Name(-sent));
                }

                break;
            }

            _output.Discard(sent);
            Pump();
        }

        if (IsClosed)
        {
            return;
        }

        if (full != _watchesWritable)
        {
            _watchesWritable = full;
            Loop.WatchWritable(this, full);
        }

        // A peer that broke the protocol gets one attempt at its GOAWAY: it may never read.
        if (IsFailing)
        {
            Close();
        }
        else if (_output.Length == 0 && IsFinished)
        {
            OnFinished();
        }
        else if (_readPaused && _output.Length < OutputHighWater)
        {
            _readPaused = false;
            Loop.ReadLater(this);
        }
    }

    /// <summary>Nothing more is to come on this connection: it ends when its output is out.</summary>
    protected virtual bool IsFinished => false;

    /// <summary>It is out. May be called again.</summary>
    protected virtual void OnFinished() => Close();

    /// <summary>Appends a frame of at most 16 KiB.</summary>
    public void WriteFrame(FrameType type, FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (!IsClosed)
        {
            Append(type, flags, streamId, payload);
            Loop.MarkDirty(this);
        }
    }

    /// <summary>Appends a frame that may wait for others to go with.</summary>
    private void WriteLazily(FrameType type, FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        if (!IsClosed)
        {
            Append(type, flags, streamId, payload);
            Loop.MarkLazy(this);
        }
    }

    private void Append(FrameType type, FrameFlags flags, int streamId, ReadOnlySpan<byte> payload)
    {
        Span<byte> output = _output.Reserve(Http2Protocol.FrameHeaderLength + payload.Length);
        Http2Protocol.WriteFrameHeader(output, payload.Length, type, flags, streamId);
        payload.CopyTo(output[Http2Protocol.FrameHeaderLength..]);
        _output.Commit(output.Length);
    }

    public void WriteReset(int streamId, Http2Error error)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(payload, (uint)error);
        WriteFrame(FrameType.RstStream, FrameFlags.None, streamId, payload);
    }

    public void WriteWindowUpdate(int streamId, int increment)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, increment);
        WriteFrame(FrameType.WindowUpdate, FrameFlags.None, streamId, payload);
    }

    public void WriteGoAway(int lastStreamId, Http2Error error, ReadOnlySpan<byte> text)
    {
        Span<byte> payload = stackalloc byte[8 + 128];
        BinaryPrimitives.WriteInt32BigEndian(payload, lastStreamId);
        BinaryPrimitives.WriteUInt32BigEndian(payload[4..], (uint)error);
        text = text[..Math.Min(text.Length, 128)];
        text.CopyTo(payload[8..]);
        WriteFrame(FrameType.GoAway, FrameFlags.None, 0, payload[..(8 + text.Length)]);
    }

    /// <summary>Writes a header block as HEADERS and as many CONTINUATION frames as it takes.</summary>
    public void WriteHeaders(int streamId, ReadOnlySpan<byte> block, bool endStream)
    {
        Span<byte> prefixed = [];
        if (_tableSizeUpdateDue)
        {
            _tableSizeUpdateDue = false;
            prefixed = new byte[block.Length + 1];
            prefixed[0] = HpackEncoder.EmptyTable;
            block.CopyTo(prefixed[1..]);
            block = prefixed;
        }

        var type = FrameType.Headers;
        FrameFlags flags = endStream ? FrameFlags.EndStream : FrameFlags.None;
        do
        {
            ReadOnlySpan<byte> fragment = block[..Math.Min(block.Length, Http2Protocol.MaxFramePayload)];
            block = block[fragment.Length..];
            WriteFrame(type, block.IsEmpty ? flags | FrameFlags.EndHeaders : flags, streamId, fragment);
            type = FrameType.Continuation;
            flags = FrameFlags.None;
        }
        while (!block.IsEmpty);
    }

    /// <summary>Sends DATA now if the windows and the socket admit it, else keeps it in its flow.</summary>
    public void SendData(Flow flow, ReadOnlySpan<byte> payload)
    {
        if (payload.IsEmpty)
        {
            return;
        }

        if (flow.Pending.Length == 0 && payload.Length <= Math.Min(flow.SendWindow, ConnectionSendWindow)
            && payload.Length <= Http2Protocol.MaxFramePayload && _output.Length < OutputHighWater)
        {
            flow.SendWindow -= payload.Length;
            ConnectionSendWindow -= payload.Length;
            WriteFrame(FrameType.Data, FrameFlags.None, flow.SinkStreamId, payload);
            flow.OnDrained(payload.Length);
            return;
        }

        flow.Pending.Append(payload);
        Enqueue(flow);
        Pump();
    }

    /// <summary>Sends DATA that ends its stream, if all of it can go now; false when nothing was done.</summary>
    public bool TrySendLastData(Flow flow, ReadOnlySpan<byte> payload)
    {
        if (flow.Pending.Length != 0 || payload.Length > Math.Min(flow.SendWindow, ConnectionSendWindow)
            || payload.Length > Http2Protocol.MaxFramePayload || _output.Length >= OutputHighWater)
        {
            return false;
        }

        flow.SendWindow -= payload.Length;
        ConnectionSendWindow -= payload.Length;
        WriteFrame(FrameType.Data, FrameFlags.EndStream, flow.SinkStreamId, payload);
        return true;
    }

    /// <summary>Puts a flow on the list of those that wait to send here.</summary>
    public void Enqueue(Flow flow)
    {
        if (!flow.IsQueued && flow.HasWork)
        {
            flow.IsQueued = true;
            flow.Call.Hold();
            _sendable.Enqueue(flow);
        }
    }

    /// <summary>Moves waiting DATA into the output, a frame of each flow in turn, as far as windows and socket admit.</summary>
    public void Pump()
    {
        while (_sendable.Count > 0 && _output.Length < OutputHighWater && !IsClosed)
        {
            Flow flow = _sendable.Peek();
            bool parked = false;
            if (flow.HasWork)
            {
                int length = Math.Min(Math.Min(flow.Pending.Length, Http2Protocol.MaxFramePayload), Math.Min(flow.SendWindow, ConnectionSendWindow));
                if (length > 0)
                {
                    bool last = length == flow.Pending.Length && flow.EndsWithData;
                    flow.SendWindow -= length;
                    ConnectionSendWindow -= length;
                    WriteFrame(FrameType.Data, last ? FrameFlags.EndStream : FrameFlags.None, flow.SinkStreamId, flow.Pending.Peek(length));
                    flow.Pending.Discard(length);
                    flow.OnDrained(length);
                    if (last)
                    {
                        flow.OnEnded();
                    }
                }
                else if (flow.Pending.Length > 0)
                {
                    if (ConnectionSendWindow <= 0 && flow.SendWindow > 0)
                    {
                        return;
                    }

                    // Its own window is shut: WINDOW_UPDATE puts it back.
                    parked = true;
                }

                if (flow.Pending.Length == 0 && flow.HasWork)
                {
                    flow.FinishAfterDrain();
                }
            }

            _ = _sendable.Dequeue();
            if (!parked && flow.HasWork)
            {
                _sendable.Enqueue(flow);
            }
            else
            {
                flow.IsQueued = false;
                flow.Call.Release();
            }
        }
    }

    /// <summary>Gives the peer back connection window for bytes that left us.</summary>
    public void Credit(int bytes)
    {
        _uncredited += bytes;
        if (_uncredited >= ConnectionWindow / 4 && !IsClosed)
        {
            WriteWindowUpdate(0, _uncredited);
            _receiveWindow += _uncredited;
            _uncredited = 0;
        }
    }

    /// <summary>Announces our settings and the connection's window.</summary>
    protected void WriteSettings(ReadOnlySpan<(SettingId Id, uint Value)> settings)
    {
        Span<byte> payload = stackalloc byte[6 * settings.Length];
        for (int i = 0; i < settings.Length; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(payload[(6 * i)..], (ushort)settings[i].Id);
            BinaryPrimitives.WriteUInt32BigEndian(payload[((6 * i) + 2)..], settings[i].Value);
        }

        WriteFrame(FrameType.Settings, FrameFlags.None, 0, payload);
        WriteWindowUpdate(0, ConnectionWindow - Http2Protocol.DefaultWindow);
        _receiveWindow = ConnectionWindow;
    }

    protected void WriteRaw(ReadOnlySpan<byte> bytes)
    {
        _output.Append(bytes);
        Loop.MarkDirty(this);
    }

    /// <summary>The connection is over, for whatever reason: what depends on it ends too.</summary>
    protected virtual void OnClosing()
    {
    }

    /// <summary>Ends the connection because of the peer's error: GOAWAY, then close.</summary>
    protected void Fail(Http2Error error, string reason)
    {
        if (IsFailing || IsClosed)
        {
            return;
        }

        IsFailing = true;
        OnFailed(error, reason);
    }

    /// <summary>A fault of ours: ends the connection and what depends on it, as if the peer were gone.</summary>
    public void Abort()
    {
        if (!IsClosed)
        {
            OnEnded("it failed inside crishim");
        }
    }

    /// <summary>Forgets the socket; the loop closes it at the end of the turn.</summary>
    protected void Close()
    {
        if (IsClosed)
        {
            return;
        }

        IsClosed = true;
        OnClosing();
        while (_sendable.TryDequeue(out Flow? flow))
        {
            flow.IsQueued = false;
            flow.Call.Release();
        }

        _input.Clear();
        _output.Clear();
        _block.Clear();
        Loop.CloseLater(this);
    }
}
