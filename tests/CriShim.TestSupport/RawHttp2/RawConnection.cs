using System.Buffers.Binary;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text;
using System.Threading.Channels;
using Xunit.Sdk;

namespace CriShim.TestSupport.RawHttp2;

/// <summary>
/// One end of an HTTP/2 connection, as caller or as backend. It sends whatever it is told, right or wrong, and judges what
/// it receives: a peer that oversteps a window, a frame size, its stream ids or HPACK fails the test.
/// </summary>
public sealed class RawConnection : IAsyncDisposable
{
    private const int DefaultWindow = 65535;
    private const int LogLength = 60;

    private readonly Socket _socket;
    private readonly bool _isCaller;
    private readonly RawConnectionOptions _options;
    private readonly Lock _gate = new();
    private readonly Channel<(byte[] Wire, TaskCompletionSource? Written)> _outgoing =
        Channel.CreateUnbounded<(byte[], TaskCompletionSource?)>();

    private readonly List<(string Line, int Times)> _log = [];
    private readonly List<string> _violations = [];
    private readonly SortedDictionary<int, RawStream> _streams = [];
    private readonly List<RawStream> _arrived = [];
    private readonly Queue<Frame> _unacknowledged = new();
    private readonly HashSet<ulong> _pongs = [];
    private readonly Dictionary<Setting, uint> _ownSettings = [];
    private readonly Task _writing;
    private Task _reading = Task.CompletedTask;
    private TaskCompletionSource _pulse = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _sendWindow = DefaultWindow;
    private long _receiveWindow = DefaultWindow;
    private long _initialReceiveWindow = DefaultWindow;
    private int _nextArrived;
    private int _highestArrived;
    private uint? _concurrencyAllowed;
    private ulong _nextPing = 0x1122334455660000;
    private (int StreamId, bool EndStream, MemoryStream Block)? _openBlock;
    private int _nextStreamId = 1;
    private bool _prefaceSeen;

    public RawConnection(Socket socket, bool isCaller, RawConnectionOptions? options = null)
    {
        _socket = socket;
        _isCaller = isCaller;
        _options = options ?? new RawConnectionOptions();
        _writing = Task.Run(WriteLoopAsync);
        if (_options.Greet)
        {
            if (isCaller)
            {
                Enqueue(Frame.Preface.ToArray());
            }

            Enqueue(Frame.Settings([.. _options.Settings]));
            if (_options.ExtraConnectionWindow > 0)
            {
                Enqueue(Frame.WindowUpdate(0, _options.ExtraConnectionWindow));
            }
        }

        if (_options.Read)
        {
            StartReading();
        }
    }

    public HpackEncoder Encoder { get; } = new();

    public HpackDecoder Decoder { get; } = new();

    /// <summary>The peer's SETTINGS so far.</summary>
    public Dictionary<Setting, uint> PeerSettings { get; } = [];

    public int SettingsFromPeer { get; private set; }

    public int SettingsAcknowledged { get; private set; }

    public List<(int LastStreamId, Http2Code Code)> GoAways { get; } = [];

    /// <summary>The peer closed the connection, or it broke.</summary>
    public bool Ended { get; private set; }

    /// <summary>Octets that the peer sent, all frames.</summary>
    public long ReceivedOctets { get; private set; }

    public long SendWindow => _sendWindow;

    /// <summary>Rules that the peer broke. Waiting fails on them by itself; whoever has stopped waiting can look here.</summary>
    public IReadOnlyList<string> Violations
    {
        get
        {
            lock (_gate)
            {
                return [.. _violations];
            }
        }
    }

    public int MostConcurrentStreams { get; private set; }

    public int StreamsArrived => _arrived.Count;

    public static async Task<RawConnection> ConnectAsync(string socketPath, RawConnectionOptions? options = null)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath)).Bounded($"connecting to {socketPath}");
        return new RawConnection(socket, isCaller: true, options);
    }

    public void StartReading() => _reading = Task.Run(ReadLoopAsync);

    /// <summary>Takes the next stream id, as a caller.</summary>
    public RawStream OpenStream()
    {
        lock (_gate)
        {
            int id = _nextStreamId;
            _nextStreamId += 2;
            return StreamOf(id);
        }
    }

    /// <summary>The stream with this id, as far as anything is known of it.</summary>
    public RawStream Stream(int id)
    {
        lock (_gate)
        {
            return StreamOf(id);
        }
    }

    /// <summary>The next stream that the peer opened, in the order of arrival.</summary>
    public async Task<RawStream> NextStreamAsync(bool forever = false)
    {
        RawStream? next = null;
        await UntilAsync(() => TakeArrived(out next), "a new stream", forever);
        return next!;
    }

    /// <summary>Sends a whole call: head, body, END_STREAM. An empty body ends on the head when <paramref name="body"/> is null.</summary>
    public async Task<RawStream> SendCallAsync(string path, byte[]? body, params IEnumerable<HeaderField> extra)
    {
        RawStream stream = OpenStream();
        await stream.SendHeadersAsync(GrpcWire.Request(path, extra), endStream: body is null);
        if (body is not null)
        {
            await stream.SendBodyAsync(body, endStream: true);
        }

        return stream;
    }

    /// <summary>A whole call, answered.</summary>
    public async Task<RawStream> CallAsync(string path, byte[]? body, params IEnumerable<HeaderField> extra)
    {
        RawStream stream = await SendCallAsync(path, body, extra);
        await stream.ClosedAsync();
        return stream;
    }

    public Task SendHeadersAsync(int streamId, IEnumerable<HeaderField> fields, bool endStream = false)
    {
        lock (_gate)
        {
            return SendBlockAsync(streamId, Encoder.Encode(fields), endStream);
        }
    }

    /// <summary>Sends a header block as it is, split where the peer's frame size asks for it, all frames in one go.</summary>
    public Task SendBlockAsync(int streamId, byte[] block, bool endStream)
    {
        int limit = MaxFrameSize;
        if (block.Length <= limit)
        {
            return WriteAsync(Frame.Headers(streamId, block, endStream));
        }

        var frames = new List<Frame> { Frame.Headers(streamId, block.AsSpan(0, limit), endStream, endHeaders: false) };
        for (int at = limit; at < block.Length; at += limit)
        {
            int length = Math.Min(limit, block.Length - at);
            frames.Add(Frame.Continuation(streamId, block.AsSpan(at, length), at + length == block.Length));
        }

        return WriteAsync([.. frames]);
    }

    /// <summary>Sends DATA as the peer's windows allow. Stops early when the peer closes the stream.</summary>
    public async Task SendBodyAsync(RawStream stream, ReadOnlyMemory<byte> body, bool endStream)
    {
        if (body.IsEmpty && endStream)
        {
            await WriteAsync(Frame.Data(stream.Id, [], endStream: true));
        }

        while (!body.IsEmpty)
        {
            int length = 0;
            int left = body.Length;
            await UntilAsync(
                () => (length = TakeSendWindow(stream, left)) > 0 || stream.ResetCode is not null,
                $"send window for {left} octets on stream {stream.Id}");
            if (length == 0)
            {
                return;
            }

            await WriteAsync(Frame.Data(stream.Id, body.Span[..length], endStream && length == body.Length));
            body = body[length..];
        }
    }

    /// <summary>Takes as much of the peer's windows as one frame may carry; 0 when they are used up.</summary>
    public int TakeSendWindow(RawStream stream, int wanted)
    {
        lock (_gate)
        {
            long length = Math.Min(Math.Min(wanted, MaxFrameSize), Math.Min(_sendWindow, stream.SendWindow));
            if (length <= 0)
            {
                return 0;
            }

            _sendWindow -= length;
            stream.SendWindow -= length;
            return (int)length;
        }
    }

    /// <summary>Completes when the kernel has taken the frames, or the peer has hung up: what it said first is what counts.</summary>
    public Task WriteAsync(params Frame[] frames) => WriteRawAsync(Wire(frames)).Bounded("room in the socket for frames");

    /// <summary>Sends octets as they are; for as long as it takes, as a flood may be throttled.</summary>
    public Task WriteRawAsync(ReadOnlyMemory<byte> octets)
    {
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (!_outgoing.Writer.TryWrite((octets.ToArray(), written)))
        {
            // Disposed: as to a peer that has hung up.
            written.SetResult();
        }

        return written.Task;
    }

    public Task GrantAsync(int streamId, uint octets)
    {
        lock (_gate)
        {
            Grant(streamId, octets);
        }

        return WriteAsync(Frame.WindowUpdate(streamId, octets));
    }

    public Task SendSettingsAsync(params (Setting Id, uint Value)[] settings) => WriteAsync(Frame.Settings(settings));

    /// <summary>A PING and its answer: everything sent before was seen by the peer.</summary>
    public async Task PingAsync()
    {
        ulong value;
        lock (_gate)
        {
            value = _nextPing++;
        }

        await WriteAsync(Frame.Ping(value));
        await UntilAsync(() => _pongs.Contains(value), "the answer to a PING");
    }

    /// <summary>Waits until the condition, read under the connection's lock, holds.</summary>
    public async Task UntilAsync(Func<bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "", bool forever = false)
    {
        using var bound = new CancellationTokenSource(forever ? Timeout.InfiniteTimeSpan : Bounds.Failure);
        while (true)
        {
            Task pulse;
            lock (_gate)
            {
                if (_violations.Count > 0)
                {
                    throw Failure($"the peer broke the rules: {string.Join("; ", _violations)}");
                }

                if (condition())
                {
                    return;
                }

                if (Ended)
                {
                    throw Failure($"the connection ended before: {what}");
                }

                pulse = _pulse.Task;
            }

            try
            {
                await pulse.WaitAsync(bound.Token);
            }
            catch (OperationCanceledException)
            {
                lock (_gate)
                {
                    throw Failure($"still waiting after {Bounds.Failure.TotalSeconds:0} s: {what}");
                }
            }
        }
    }

    public Task EndAsync() => UntilAsync(() => Ended, "the end of the connection");

    /// <summary>The last frames, for a failure's message.</summary>
    public string DescribeLog()
    {
        lock (_gate)
        {
            return string.Join('\n', _log.TakeLast(LogLength).Select(seen => seen.Times == 1 ? seen.Line : $"{seen.Line} ({seen.Times} times)"));
        }
    }

    /// <summary>Cuts the connection as a killed process does.</summary>
    public void Kill() => _socket.Dispose();

    /// <summary>Ends the sending half only, once all that was written is out.</summary>
    public async Task ShutdownSendAsync()
    {
        await WriteRawAsync(Array.Empty<byte>());
        _socket.Shutdown(SocketShutdown.Send);
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        _outgoing.Writer.TryComplete();
        await _writing.Bounded();
        await _reading.Bounded();
    }

    private int MaxFrameSize =>
        (int)Math.Min(PeerSettings.GetValueOrDefault(Setting.MaxFrameSize, 16384u), 1u << 20);

    private XunitException Failure(string message) =>
        new($"{message}\nlast frames ({(_isCaller ? "caller" : "backend")}'s end):\n{DescribeLog()}");

    private byte[] Wire(Frame[] frames)
    {
        lock (_gate)
        {
            foreach (Frame frame in frames)
            {
                Note('>', frame);
                ObserveEnd(frame);
                if (frame is { Type: FrameType.Settings } && !frame.Has(FrameFlags.Ack) && frame.Payload.Length % 6 == 0)
                {
                    _unacknowledged.Enqueue(frame);
                    ApplyOwn(frame, acknowledged: false);
                }
            }
        }

        return frames.Length == 1 ? frames[0].ToArray() : [.. frames.SelectMany(frame => frame.ToArray())];
    }

    private void ObserveEnd(Frame frame)
    {
        if (frame.StreamId <= 0)
        {
            return;
        }

        if (frame.Type == FrameType.RstStream)
        {
            StreamOf(frame.StreamId).ResetSent = true;
        }
        else if (frame.Type is FrameType.Data or FrameType.Headers && frame.Has(FrameFlags.EndStream))
        {
            StreamOf(frame.StreamId).EndStreamSent = true;
        }
    }

    private void Enqueue(Frame frame)
    {
        if (frame.Type == FrameType.WindowUpdate)
        {
            Grant(frame.StreamId, BinaryPrimitives.ReadUInt32BigEndian(frame.Payload));
        }

        Enqueue(Wire([frame]));
    }

    private void Enqueue(byte[] octets) => _outgoing.Writer.TryWrite((octets, null));

    private void Grant(int streamId, uint octets)
    {
        if (streamId == 0)
        {
            _receiveWindow += octets;
        }
        else
        {
            StreamOf(streamId).ReceiveWindow += octets;
        }
    }

    private void Note(char direction, Frame frame)
    {
        string line = $"{direction} {frame}";
        if (_log.Count > 0 && _log[^1].Line == line)
        {
            _log[^1] = (line, _log[^1].Times + 1);
            return;
        }

        _log.Add((line, 1));
        if (_log.Count > 2 * LogLength)
        {
            _log.RemoveRange(0, LogLength);
        }
    }

    private RawStream StreamOf(int id)
    {
        if (!_streams.TryGetValue(id, out RawStream? stream))
        {
            long sendWindow = PeerSettings.GetValueOrDefault(Setting.InitialWindowSize, (uint)DefaultWindow);
            stream = new RawStream(this, id, sendWindow, _initialReceiveWindow);
            _streams.Add(id, stream);
        }

        return stream;
    }

    private bool TakeArrived(out RawStream? stream)
    {
        stream = _nextArrived < _arrived.Count ? _arrived[_nextArrived++] : null;
        return stream is not null;
    }

    private async Task WriteLoopAsync()
    {
        bool broken = false;
        await foreach ((byte[] wire, TaskCompletionSource? written) in _outgoing.Reader.ReadAllAsync())
        {
            try
            {
                ReadOnlyMemory<byte> rest = wire;
                while (!broken && !rest.IsEmpty)
                {
                    rest = rest[await _socket.SendAsync(rest)..];
                }
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                broken = true;
            }

            written?.TrySetResult();
        }
    }

    private async Task ReadLoopAsync()
    {
        var buffer = new byte[1 << 17];
        int filled = 0;
        try
        {
            while (true)
            {
                if (filled == buffer.Length)
                {
                    Array.Resize(ref buffer, buffer.Length * 2);
                }

                int received = await _socket.ReceiveAsync(buffer.AsMemory(filled));
                if (received == 0)
                {
                    break;
                }

                filled += received;
                int consumed = 0;
                lock (_gate)
                {
                    ReceivedOctets += received;
                    consumed = ReadFrames(buffer.AsSpan(0, filled));
                    Pulse();
                }

                buffer.AsSpan(consumed, filled - consumed).CopyTo(buffer);
                filled -= consumed;
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            // The peer, or the test itself, cut the connection.
        }

        lock (_gate)
        {
            Ended = true;
            _log.Add(("< end of connection", 1));
            Pulse();
        }
    }

    private void Pulse()
    {
        TaskCompletionSource pulse = _pulse;
        _pulse = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        pulse.TrySetResult();
    }

    private int ReadFrames(ReadOnlySpan<byte> octets)
    {
        int at = 0;
        if (!_isCaller && !_prefaceSeen)
        {
            if (octets.Length < Frame.Preface.Length)
            {
                return 0;
            }

            if (!octets.StartsWith(Frame.Preface))
            {
                _violations.Add($"no connection preface but {Encoding.Latin1.GetString(octets[..Frame.Preface.Length])}");
                return octets.Length;
            }

            _prefaceSeen = true;
            at = Frame.Preface.Length;
        }

        while (octets.Length - at >= Frame.HeaderLength)
        {
            int length = octets[at] << 16 | octets[at + 1] << 8 | octets[at + 2];
            if (octets.Length - at - Frame.HeaderLength < length)
            {
                break;
            }

            var frame = new Frame(
                (FrameType)octets[at + 3],
                (FrameFlags)octets[at + 4],
                BinaryPrimitives.ReadInt32BigEndian(octets[(at + 5)..]) & int.MaxValue,
                octets.Slice(at + Frame.HeaderLength, length).ToArray());
            Note('<', frame);
            try
            {
                Receive(frame);
            }
            catch (HpackException error)
            {
                _violations.Add($"HPACK: {error.Message}");
            }

            at += Frame.HeaderLength + length;
        }

        return at;
    }

    private void Receive(Frame frame)
    {
        Require(frame.Payload.Length <= (int)OwnSetting(Setting.MaxFrameSize, 16384), $"a frame too large: {frame}");
        Require(
            _openBlock is null || (frame.Type == FrameType.Continuation && frame.StreamId == _openBlock.Value.StreamId),
            $"{frame} inside a header block");
        switch (frame.Type)
        {
            case FrameType.Data:
                ReceiveData(frame);
                break;
            case FrameType.Headers:
                ReceiveHeaders(frame);
                break;
            case FrameType.Continuation:
                Require(_openBlock is not null, "a CONTINUATION without HEADERS");
                if (_openBlock is { } open)
                {
                    open.Block.Write(frame.Payload);
                    FinishBlock(frame.Has(FrameFlags.EndHeaders));
                }

                break;
            case FrameType.RstStream:
                StreamOf(frame.StreamId).ResetCode ??= (Http2Code)BinaryPrimitives.ReadUInt32BigEndian(frame.Payload);
                break;
            case FrameType.Settings when frame.Has(FrameFlags.Ack):
                SettingsAcknowledged++;
                Require(_unacknowledged.Count > 0 || !_options.Greet, "a SETTINGS acknowledgement too many");
                if (_unacknowledged.TryDequeue(out Frame? own))
                {
                    ApplyOwn(own, acknowledged: true);
                }

                break;
            case FrameType.Settings:
                ReceiveSettings(frame);
                break;
            case FrameType.Ping when frame.Has(FrameFlags.Ack):
                _pongs.Add(BinaryPrimitives.ReadUInt64BigEndian(frame.Payload));
                break;
            case FrameType.Ping:
                if (_options.AnswerPings)
                {
                    Enqueue(Frame.Ping(BinaryPrimitives.ReadUInt64BigEndian(frame.Payload), ack: true));
                }

                break;
            case FrameType.GoAway:
                GoAways.Add((
                    BinaryPrimitives.ReadInt32BigEndian(frame.Payload),
                    (Http2Code)BinaryPrimitives.ReadUInt32BigEndian(frame.Payload.AsSpan(4))));
                break;
            case FrameType.WindowUpdate:
                long increment = BinaryPrimitives.ReadUInt32BigEndian(frame.Payload);
                Require(increment > 0, $"an empty grant: {frame}");
                if (frame.StreamId == 0)
                {
                    _sendWindow += increment;
                    Require(_sendWindow <= int.MaxValue, "a connection window above 2^31-1");
                }
                else
                {
                    RawStream stream = StreamOf(frame.StreamId);
                    stream.SendWindow += increment;
                    Require(stream.SendWindow <= int.MaxValue, $"a window above 2^31-1 on stream {stream.Id}");
                }

                break;
            case FrameType.PushPromise:
                Require(false, "a PUSH_PROMISE");
                break;
            default:
                break;
        }
    }

    private void ReceiveData(Frame frame)
    {
        RawStream stream = StreamOf(frame.StreamId);
        Require(!stream.EndStream, $"{frame} after END_STREAM");
        Require(stream.Blocks.Count > 0, $"{frame} before any HEADERS");
        int charged = frame.Payload.Length;
        _receiveWindow -= charged;
        stream.ReceiveWindow -= charged;
        Require(_receiveWindow >= 0 || charged == 0, $"{frame} oversteps the connection's window by {-_receiveWindow}");
        Require(stream.ReceiveWindow >= 0 || charged == 0, $"{frame} oversteps its stream's window by {-stream.ReceiveWindow}");
        ReadOnlySpan<byte> data = frame.Payload;
        if (frame.Has(FrameFlags.Padded))
        {
            data = data[1..^data[0]];
        }

        stream.Append(data);
        if (frame.Has(FrameFlags.EndStream))
        {
            stream.EndStream = true;
            stream.EndStreamOnData = true;
        }

        if (charged > 0 && _options.GrantConnectionWindow)
        {
            Enqueue(Frame.WindowUpdate(0, (uint)charged));
        }

        if (charged > 0 && _options.GrantStreamWindows && stream.GrantWindow && !stream.EndStream)
        {
            Enqueue(Frame.WindowUpdate(stream.Id, (uint)charged));
        }
    }

    private void ReceiveHeaders(Frame frame)
    {
        ReadOnlySpan<byte> block = frame.Payload;
        if (frame.Has(FrameFlags.Padded))
        {
            block = block[1..^block[0]];
        }

        if (frame.Has(FrameFlags.Priority))
        {
            block = block[5..];
        }

        var collected = new MemoryStream();
        collected.Write(block);
        _openBlock = (frame.StreamId, frame.Has(FrameFlags.EndStream), collected);
        FinishBlock(frame.Has(FrameFlags.EndHeaders));
    }

    private void FinishBlock(bool endHeaders)
    {
        if (!endHeaders || _openBlock is not { } open)
        {
            return;
        }

        _openBlock = null;
        RawStream stream = StreamOf(open.StreamId);
        IReadOnlyList<HeaderField> fields = Decoder.Decode(open.Block.GetBuffer().AsSpan(0, (int)open.Block.Length));
        Require(!stream.EndStream, $"HEADERS after END_STREAM on stream {stream.Id}");
        foreach (HeaderField field in fields)
        {
            Require(!field.Name.Any(char.IsAsciiLetterUpper), $"an upper-case field name: {field.Name}");
            Require(field.Value.IndexOfAny(['\r', '\n', '\0']) < 0, $"CR, LF or NUL in the value of {field.Name}");
        }

        stream.Blocks.Add(fields);
        stream.EndStream = open.EndStream;
        if (_isCaller || stream.Blocks.Count > 1)
        {
            return;
        }

        Require(stream.Id % 2 == 1, $"stream id {stream.Id} from a caller");
        Require(stream.Id > _highestArrived, $"stream id {stream.Id} after {_highestArrived}");
        Require(
            !fields.SkipWhile(field => field.Name.StartsWith(':')).Any(field => field.Name.StartsWith(':')),
            "a pseudo-header field after a regular one");
        _highestArrived = stream.Id;
        _arrived.Add(stream);
        int concurrent = _arrived.Count(arrived => !arrived.Finished);
        MostConcurrentStreams = Math.Max(MostConcurrentStreams, concurrent);
        Require(_concurrencyAllowed is not { } allowed || concurrent <= allowed, $"{concurrent} concurrent streams");
    }

    private void ReceiveSettings(Frame frame)
    {
        SettingsFromPeer++;
        for (int at = 0; at + 6 <= frame.Payload.Length; at += 6)
        {
            var id = (Setting)BinaryPrimitives.ReadUInt16BigEndian(frame.Payload.AsSpan(at));
            uint value = BinaryPrimitives.ReadUInt32BigEndian(frame.Payload.AsSpan(at + 2));
            if (id == Setting.InitialWindowSize)
            {
                long change = (long)value - PeerSettings.GetValueOrDefault(id, (uint)DefaultWindow);
                foreach (RawStream stream in _streams.Values)
                {
                    stream.SendWindow += change;
                }
            }
            else if (id == Setting.HeaderTableSize && Encoder.Compress)
            {
                Encoder.Resize((int)Math.Min(value, 4096));
            }

            PeerSettings[id] = value;
        }

        if (_options.AnswerSettings)
        {
            Enqueue(Frame.SettingsAck());
        }
    }

    /// <summary>
    /// A wider limit holds from when it was sent, a narrower one from when the peer acknowledged it: until then the peer
    /// cannot know.
    /// </summary>
    private void ApplyOwn(Frame settings, bool acknowledged)
    {
        for (int at = 0; at < settings.Payload.Length; at += 6)
        {
            var id = (Setting)BinaryPrimitives.ReadUInt16BigEndian(settings.Payload.AsSpan(at));
            uint value = BinaryPrimitives.ReadUInt32BigEndian(settings.Payload.AsSpan(at + 2));
            if (id == Setting.InitialWindowSize)
            {
                long change = value - _initialReceiveWindow;
                if (change > 0 != acknowledged)
                {
                    foreach (RawStream stream in _streams.Values)
                    {
                        stream.ReceiveWindow += change;
                    }

                    _initialReceiveWindow = value;
                }
            }
            else if (id == Setting.HeaderTableSize && (acknowledged || value > Decoder.AllowedTableSize))
            {
                Decoder.AllowedTableSize = (int)value;
            }
            else if (id == Setting.MaxConcurrentStreams && acknowledged)
            {
                _concurrencyAllowed = value;
            }
            else if (id == Setting.MaxFrameSize)
            {
                _ownSettings[id] = Math.Max(value, acknowledged ? 0 : OwnSetting(id, 16384));
            }
        }
    }

    private uint OwnSetting(Setting id, uint fallback) => _ownSettings.GetValueOrDefault(id, fallback);

    private void Require(bool rule, string broken)
    {
        if (!rule)
        {
            _violations.Add(broken);
        }
    }
}
