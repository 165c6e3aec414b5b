using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using CriShim.Proxy.Forwarding;
using CriShim.Proxy.Http2;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.Proxy.Services;

/// <summary>
/// A call whose request is held until a typed handler has seen it whole. The handler forwards it, sees the response, and
/// returns that response (then the backend's own bytes, headers and trailers go to the caller) or another one.
/// </summary>
/// <remarks>
/// Whatever goes wrong in a handler, the call goes through: not yet forwarded, it is forwarded; response already here, it is
/// passed on. Members marked "loop" run on the loop's thread, the others on the handler's.
/// </remarks>
[SuppressMessage("Reliability", "CA1001", Justification = "The source has neither timer nor wait handle: there is nothing to free")]
internal sealed class TypedCall : ServerCallContext
{
    private const int GrpcPrefixLength = 5;

    private readonly ProxyLoop _loop;
    private readonly Call _call;
    private readonly CriMethod _method;
    private readonly byte[] _block;
    private readonly DateTime _deadline;
    private readonly TaskCompletionSource _responded = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _callerGone = new();
    private byte[] _request = [];
    private Metadata? _requestHeaders;

    // Loop: the collected response.
    private byte[]? _head;
    private PendingBytes _body;
    private byte[]? _appendix;
    private byte[]? _tail;
    private bool _ended;
    private Http2Error? _reset;
    private (StatusCode Code, string Message)? _lost;
    private Action<ReadOnlyMemory<byte>>? _observer;
    private PendingBytes _observed;
    private readonly ConcurrentQueue<byte[]> _unobserved = new();
    private int _unobservedCount;
    private bool _handlerStarted;
    private bool _finished;

    public TypedCall(ProxyLoop loop, Call call, HeaderList fields, ReadOnlySpan<byte> block)
    {
        _loop = loop;
        _call = call;
        _method = call.Method;
        _block = block.ToArray();
        int timeout = fields.Find("grpc-timeout"u8);
        _deadline = timeout >= 0 && TryReadTimeout(fields.Value(timeout), out TimeSpan time)
            ? loop.Time.GetUtcNow().UtcDateTime + time
            : DateTime.MaxValue;
        IsHeld = true;
        call.Hold();
    }

    /// <summary>Loop: the request has not been forwarded yet.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>Loop: the response goes here, not to the caller.</summary>
    public bool CollectsResponse { get; private set; }

    /// <summary>Loop: the response's messages go through this.</summary>
    public RewrittenStream? Rewritten { get; private set; }

    /// <summary>The response that <see cref="ForwardAsync{T}"/> returned.</summary>
    public object? ForwardedResponse { get; private set; }

    // ---- For handlers ------------------------------------------------------------------------------------------------

    /// <summary>Forwards the request, as it came or another in its place, and waits for the whole response.</summary>
    /// <param name="parser">Of the response.</param>
    /// <param name="replacement">What to forward instead of the request's own bytes.</param>
    /// <returns>The parsed response: not to be changed, for its bytes may go on as they came.</returns>
    /// <exception cref="RpcException">The backend answered with an error, or not at all, or the caller is gone.</exception>
    public async Task<T> ForwardAsync<T>(MessageParser<T> parser, IMessage? replacement = null)
        where T : class, IMessage<T>
    {
        byte[]? replaced = replacement is null ? null : Frame(replacement.ToByteArray());
        _loop.Post(() =>
        {
            if (replaced is not null && IsHeld)
            {
                _call.ToBackend.ReplacePending(replaced);
            }

            CollectsResponse = true;
            Pass();
        });
        await _responded.Task.ConfigureAwait(false);
        StatusCode code = _lost?.Code ?? (_reset is not null ? StatusCode.Unknown : _call.Status ?? StatusCode.Unknown);
        if (code != StatusCode.OK)
        {
            throw new BackendFailedException(code);
        }

        T response = parser.ParseFrom(ReadMessage(_body.Length == 0 ? [] : _body.Peek(_body.Length)));
        ForwardedResponse = response;
        return response;
    }

    /// <summary>Forwards a call for a stream of messages, which pass at once; <paramref name="observer"/> gets a copy of each.</summary>
    public void ForwardObserved(Action<ReadOnlyMemory<byte>> observer) => _loop.Post(() =>
    {
        _observer = observer;
        Pass();
        Finish(keepObserving: true);
    });

    /// <summary>Forwards a call, as it came or another in its place, for a stream of messages that pass through a rewriter.</summary>
    public void ForwardRewritten(StreamRewriter rewriter, IMessage? replacement = null)
    {
        byte[]? replaced = replacement is null ? null : Frame(replacement.ToByteArray());
        _loop.Post(() =>
        {
            if (_call.Caller is null)
            {
                Finish();
                return;
            }

            if (replaced is not null && IsHeld)
            {
                _call.ToBackend.ReplacePending(replaced);
            }

            // The call stays ours until its caller is gone or has all: what the rewriter keeps must find it.
            Rewritten = new RewrittenStream(_loop, _call, rewriter);
            Pass();
        });
    }

    /// <summary>The request's message.</summary>
    public T ReadRequest<T>(Marshaller<T> marshaller) => marshaller.ContextualDeserializer(new MessageBytes(ReadMessage(_request).ToArray()));

    /// <summary>
    /// Has these fields follow those of the response, whatever that is: its own bytes stay as they are. (A message's bytes behind another's
    /// are the two merged.)
    /// </summary>
    public void Append(IMessage fields) => _appendix = fields.ToByteArray();

    /// <summary>The handler is done: the backend's response goes out, or <paramref name="message"/> in its place.</summary>
    public void Complete(byte[]? message) => _loop.Post(() =>
    {
        if (_appendix is { } appendix && !IsHeld && _ended && _lost is null && _reset is null && (message is not null || _body.Length > 0))
        {
            message = [.. message ?? ReadMessage(_body.Peek(_body.Length)).ToArray(), .. appendix];
        }

        if (message is not null && !IsHeld && _ended)
        {
            _body.Clear();
            _body.Append(Frame(message));
        }
        else if (message is not null && IsHeld)
        {
            // Answered without the backend: the headers and trailers are ours.
            IsHeld = false;
            _call.ToBackend.Abandon();
            AnswerHere(message);
            return;
        }

        Finish();
    });

    // ---- For the loop ------------------------------------------------------------------------------------------------

    /// <summary>Loop: the request is whole; the handler gets it.</summary>
    public void OnRequestComplete()
    {
        if (!IsHeld || _method.Typed is not { } method)
        {
            return;
        }

        int length = _call.ToBackend.Pending.Length;
        ReadOnlySpan<byte> request = length == 0 ? [] : _call.ToBackend.Pending.Peek(length);
        if (method.WantsRequest is { } wants && !(IsOneMessage(request) && wants(request[GrpcPrefixLength..])))
        {
            LetPass();
            return;
        }

        _handlerStarted = true;
        _request = request.ToArray();
        _ = ThreadPool.UnsafeQueueUserWorkItem(static state => _ = state.Self.RunAsync(state.Method), (Self: this, Method: method), preferLocal: false);
    }

    /// <summary>Loop: too much to be held; it goes on without the handler.</summary>
    public void LetPass()
    {
        Pass();
        Finish();
    }

    public void OnHeaders(ReadOnlySpan<byte> block, bool endStream)
    {
        if (endStream)
        {
            _tail = block.ToArray();
            OnResponseEnded();
        }
        else
        {
            _head = block.ToArray();
        }
    }

    public void OnData(ReadOnlySpan<byte> payload, bool endStream)
    {
        _body.Append(payload);
        if (endStream)
        {
            OnResponseEnded();
        }
    }

    /// <summary>Loop: a message stream passes; its observer gets each whole message.</summary>
    public void Observe(ReadOnlySpan<byte> payload)
    {
        if (_observer is null)
        {
            return;
        }

        _observed.Append(payload);
        while (_observed.Length >= GrpcPrefixLength)
        {
            ReadOnlySpan<byte> bytes = _observed.Peek(_observed.Length);
            uint length = BinaryPrimitives.ReadUInt32BigEndian(bytes[1..]);
            if (length > MaxObservedMessage)
            {
                _observer = null;
                _observed.Clear();
                return;
            }

            if (bytes.Length < GrpcPrefixLength + (int)length)
            {
                return;
            }

            if (bytes[0] == 0)
            {
                _unobserved.Enqueue(bytes.Slice(GrpcPrefixLength, (int)length).ToArray());
                if (Interlocked.Increment(ref _unobservedCount) == 1)
                {
                    _ = ThreadPool.UnsafeQueueUserWorkItem(static state => state.Self.ShowObserver(state.Observer), (Self: this, Observer: _observer), preferLocal: false);
                }
            }

            _observed.Discard(GrpcPrefixLength + (int)length);
        }
    }

    public void OnBackendReset(Http2Error error)
    {
        _reset = error;
        _ = _responded.TrySetResult();
    }

    public void OnBackendLost(StatusCode code, string message)
    {
        _lost = (code, message);
        _ = _responded.TrySetResult();
    }

    public void OnCallerGone()
    {
        _lost ??= (StatusCode.Cancelled, "the caller is gone");
        _ = _responded.TrySetResult();
        _observed.Clear();
        _observer = null;
        if (Rewritten is { } stream)
        {
            stream.Close();
            Finish();
        }
        else if (_handlerStarted)
        {
            _ = ThreadPool.UnsafeQueueUserWorkItem(static source => source.Cancel(), _callerGone, preferLocal: false);
        }
        else
        {
            Finish();
        }
    }

    // ---- Inside ------------------------------------------------------------------------------------------------------

    /// <summary>Shows the observer all messages that have come, in their order: one run at a time for a stream.</summary>
    private void ShowObserver(Action<ReadOnlyMemory<byte>> observer)
    {
        do
        {
            _ = _unobserved.TryDequeue(out byte[]? message);
            try
            {
                observer(message);
            }
            catch (Exception unreadable)
            {
                // It has passed already: an observer's trouble is nobody else's.
                _loop.Log.MessageUnreadable(_method.Path, unreadable.GetType().Name);
            }
        }
        while (Interlocked.Decrement(ref _unobservedCount) > 0);
    }

    private const int MaxObservedMessage = 16 * 1024 * 1024;

    private async Task RunAsync(TypedMethod method)
    {
        try
        {
            await method.InvokeAsync(this).ConfigureAwait(false);
        }
        catch (BackendFailedException)
        {
            Complete(null);
        }
        catch (RpcException refusal)
        {
            Refuse(refusal.StatusCode, refusal.Status.Detail);
        }
        catch (Exception unreadable) when (unreadable is InvalidProtocolBufferException or InvalidDataException)
        {
            // What can't be parsed here is for the backend to judge, or for the caller.
            _loop.Log.MessageUnreadable(_method.Path, unreadable.GetType().Name);
            Complete(null);
        }
        catch (OperationCanceledException) when (_callerGone.IsCancellationRequested)
        {
            Complete(null);
        }
        catch (Exception exception)
        {
            _loop.Log.HandlerFailed(exception, _method.Path);
            Complete(null);
        }
    }

    /// <summary>Loop: a handler's own answer, with status OK.</summary>
    private void AnswerHere(byte[] message)
    {
        _finished = true;
        _call.Typed = null;
        _call.Caller?.Answer(_call, Frame(message));
        _call.Release();
    }

    private static byte[] Frame(byte[] message)
    {
        byte[] framed = new byte[GrpcPrefixLength + message.Length];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), message.Length);
        message.CopyTo(framed, GrpcPrefixLength);
        return framed;
    }

    private void Refuse(StatusCode code, string message) => _loop.Post(() =>
    {
        _lost = (code, message);
        IsHeld = false;
        _call.ResetBackend(Http2Error.Cancel);
        Finish();
    });

    /// <summary>Loop: opens the backend's stream, once.</summary>
    private void Pass()
    {
        if (IsHeld)
        {
            IsHeld = false;
            if (_call.Caller is { } caller)
            {
                caller.Forward(_call, _block, endStream: false);
            }
        }
    }

    /// <summary>Loop: gives what was collected to the caller, and the rest of the call back to plain forwarding.</summary>
    private void Finish(bool keepObserving = false)
    {
        if (_finished)
        {
            return;
        }

        _finished = true;
        Pass();
        CollectsResponse = false;
        if (!keepObserving)
        {
            _call.Typed = null;
        }

        if (_call.Caller is { } caller)
        {
            if (_head is not null && _lost is null)
            {
                _call.ResponseStarted = true;
                caller.WriteHeaders(_call.CallerStreamId, _head, endStream: false);
            }

            if (_body.Length > 0 && _lost is null)
            {
                caller.SendData(_call.ToCaller, _body.Peek(_body.Length));
            }

            if (_lost is { } lost)
            {
                caller.Answer(_call, lost.Code, lost.Message);
            }
            else if (_reset is { } error)
            {
                _call.ResetCallerAfterDrain(error);
            }
            else if (_tail is not null)
            {
                _call.ResponseStarted = true;
                _call.ToCaller.EndWithTrailers(_tail);
            }
            else if (_ended)
            {
                _call.ToCaller.SendLast([]);
            }
        }

        _body.Clear();
        _call.Release();
    }

    private void OnResponseEnded()
    {
        _ended = true;
        _ = _responded.TrySetResult();
    }

    private static bool IsOneMessage(ReadOnlySpan<byte> framed) => framed.Length >= GrpcPrefixLength && framed[0] == 0
        && BinaryPrimitives.ReadUInt32BigEndian(framed[1..]) == (uint)(framed.Length - GrpcPrefixLength);

    private static ReadOnlySpan<byte> ReadMessage(ReadOnlySpan<byte> framed)
    {
        if (!IsOneMessage(framed))
        {
            throw new InvalidDataException("the body is not one uncompressed message");
        }

        return framed[GrpcPrefixLength..];
    }

    /// <summary>grpc-timeout: up to 8 digits and a unit.</summary>
    private static bool TryReadTimeout(ReadOnlySpan<byte> value, out TimeSpan timeout)
    {
        timeout = default;
        if (value.Length is < 2 or > 9 || !long.TryParse(Encoding.ASCII.GetString(value[..^1]), out long amount) || amount < 0)
        {
            return false;
        }

        long ticks = value[^1] switch
        {
            (byte)'H' => TimeSpan.TicksPerHour,
            (byte)'M' => TimeSpan.TicksPerMinute,
            (byte)'S' => TimeSpan.TicksPerSecond,
            (byte)'m' => TimeSpan.TicksPerMillisecond,
            (byte)'u' => TimeSpan.TicksPerMicrosecond,
            _ => 0,
        };
        timeout = ticks == 0 ? TimeSpan.FromMicroseconds(amount / 1000.0) : new TimeSpan((long)Math.Min((decimal)amount * ticks, TimeSpan.FromDays(3650).Ticks));
        return true;
    }

    // ---- ServerCallContext -------------------------------------------------------------------------------------------

    protected override string MethodCore => _method.Path;

    protected override string HostCore => "localhost";

    protected override string PeerCore => "unix:";

    protected override DateTime DeadlineCore => _deadline;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadMetadata();

    protected override CancellationToken CancellationTokenCore => _callerGone.Token;

    protected override Metadata ResponseTrailersCore { get; } = [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore { get; } = new(null, []);

    protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) =>
        throw new NotSupportedException();

    /// <summary>The backend's headers are the ones that count.</summary>
    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;

    private Metadata ReadMetadata()
    {
        var metadata = new Metadata();
        var fields = new HeaderList();
        _ = new HpackDecoder().Decode(_block, fields, int.MaxValue);
        for (int i = 0; i < fields.Count; i++)
        {
            string name = Encoding.ASCII.GetString(fields.Name(i));
            if (name[0] != ':' && !name.EndsWith("-bin", StringComparison.Ordinal))
            {
                metadata.Add(name, Encoding.Latin1.GetString(fields.Value(i)));
            }
        }

        return metadata;
    }

    private sealed class MessageBytes(byte[] bytes) : DeserializationContext
    {
        public override int PayloadLength => bytes.Length;

        public override byte[] PayloadAsNewBuffer() => bytes;

        public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => new(bytes);
    }
}

/// <summary>The backend's own failure: its status goes to the caller as it came.</summary>
internal sealed class BackendFailedException(StatusCode code) : RpcException(new Status(code, "the backend failed the call"));
