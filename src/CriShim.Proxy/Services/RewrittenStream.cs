using System.Buffers.Binary;
using System.Collections.Concurrent;
using CriShim.Proxy.Forwarding;
using CriShim.Proxy.Http2;
using Google.Protobuf;

namespace CriShim.Proxy.Services;

/// <summary>
/// The messages of one response on their way through a <see cref="StreamRewriter"/>: cut out of DATA on the loop's thread, rewritten on
/// the pool, and sent on the loop's thread, in order. What needs no look passes on the loop's thread at once.
/// </summary>
/// <remarks>
/// The backend's window is its own: bytes that are kept here count against it, and are given back when what came of them has left. It
/// is widened once, when something is kept for the first time, by more than a rewriter may keep; so a caller that does not read
/// stops its backend as it does anywhere, and a rewriter that waits for a later message never does. Members are for the loop's thread
/// but for <see cref="Signal"/>.
/// </remarks>
internal sealed class RewrittenStream
{
    /// <summary>A longer message passes as it comes. No gRPC library takes so much unless it is told to.</summary>
    public const int MaxMessage = 4 * 1024 * 1024;

    /// <summary>What a rewriter may keep back, in bytes.</summary>
    public const int MaxKept = 2 * 1024 * 1024;

    private const int PrefixLength = 5;
    private const int Widening = MaxMessage + MaxKept + (2 * 1024 * 1024);

    private readonly ProxyLoop _loop;
    private readonly Call _call;
    private readonly string _method;
    private readonly StreamRewriter _rewriter;
    private readonly ConcurrentQueue<Step> _steps = new();
    private int _stepCount;
    private int _signalled;
    private volatile bool _closed;

    // Steps whose outcome has not reached the loop: raised by whoever asks for one, lowered by the loop.
    private int _underWay;

    // Loop.
    private PendingBytes _partial;
    private long _rawLeft;
    private int _owed;
    private bool _isWidened;

    // The rewriter's thread: the middle of a message that passes in parts.
    private bool _isInRaw;
    private bool _signalledInRaw;

    public RewrittenStream(ProxyLoop loop, Call call, StreamRewriter rewriter)
    {
        _loop = loop;
        _call = call;
        _method = call.Method.Path;
        _rewriter = rewriter;
        rewriter.Begin(Signal);
    }

    private enum StepKind
    {
        Message,
        RawPart,
        RawLastPart,
        Signal,
        End,
    }

    // A step that raised IsAttentive has reached the loop when none is under way, and one that lowered it was under way before: hence in
    // this order.
    private bool IsIdle => !_rewriter.IsAttentive && Volatile.Read(ref _underWay) == 0;

    public void OnData(ReadOnlySpan<byte> payload)
    {
        if (_closed)
        {
            _call.ToCaller.OnDropped(payload.Length);
            return;
        }

        _owed += payload.Length;
        if (_partial.Length == 0)
        {
            _partial.Append(payload[Take(payload)..]);
        }
        else
        {
            _partial.Append(payload);
            _partial.Discard(Take(_partial.Peek(_partial.Length)));
        }
    }

    /// <summary>The backend has sent all, or is gone: <paramref name="end"/> is done behind what is still to be sent.</summary>
    public void OnEnd(Action end)
    {
        if (_closed)
        {
            return;
        }

        byte[] rest = _partial.Length == 0 ? [] : _partial.Peek(_partial.Length).ToArray();
        _partial.Clear();
        if (!IsIdle)
        {
            Ask(new Step(StepKind.End, rest, end));
            return;
        }

        Send(rest, rest.Length);
        Close();
        end();
    }

    /// <summary>Nothing more goes to the caller through this.</summary>
    public void Close()
    {
        if (_closed)
        {
            return;
        }

        _closed = true;
        _rewriter.Close();
        _partial.Clear();
        _call.ToCaller.OnDropped(_owed);
        _owed = 0;
    }

    /// <summary>Any thread: the rewriter is to look again at what it keeps.</summary>
    public void Signal()
    {
        if (!_closed && Interlocked.Exchange(ref _signalled, 1) == 0)
        {
            Ask(new Step(StepKind.Signal, [], null));
        }
    }

    /// <summary>Takes all whole messages from the front.</summary>
    /// <returns>How many bytes were taken.</returns>
    private int Take(ReadOnlySpan<byte> bytes)
    {
        int from = 0;
        int at = 0;
        while (bytes.Length > at)
        {
            ReadOnlySpan<byte> rest = bytes[at..];
            if (_rawLeft > 0)
            {
                int length = (int)Math.Min(_rawLeft, rest.Length);
                _rawLeft -= length;
                Ask(new Step(_rawLeft > 0 ? StepKind.RawPart : StepKind.RawLastPart, rest[..length].ToArray(), null));
                at += length;
                from = at;
                continue;
            }

            if (rest.Length < PrefixLength)
            {
                break;
            }

            uint announced = BinaryPrimitives.ReadUInt32BigEndian(rest[1..]);
            if (announced > MaxMessage)
            {
                Send(bytes[from..at], at - from);
                _rawLeft = (long)announced + PrefixLength;
                continue;
            }

            int whole = (int)announced + PrefixLength;
            if (rest.Length < whole)
            {
                if (whole > Http2Connection.StreamWindow / 2)
                {
                    Widen();
                }

                break;
            }

            // In this order: a change of views signals before it ends that views are rewritten.
            if (!_rewriter.PassesUnseen(rest[..whole]) || !IsIdle)
            {
                Send(bytes[from..at], at - from);
                Widen();
                Ask(new Step(StepKind.Message, rest[..whole].ToArray(), null));
                from = at + whole;
            }

            at += whole;
        }

        Send(bytes[from..at], at - from);
        return at;
    }

    private void Widen()
    {
        if (!_isWidened)
        {
            _isWidened = true;
            _call.ToCaller.WidenReceiveWindow(Widening);
        }
    }

    private void Send(ReadOnlySpan<byte> bytes, int received)
    {
        if (bytes.IsEmpty && received == 0)
        {
            return;
        }

        _owed -= received;
        _call.ToCaller.SendInPlaceOf(received, bytes);
    }

    private void Ask(Step step)
    {
        _ = Interlocked.Increment(ref _underWay);
        _steps.Enqueue(step);
        if (Interlocked.Increment(ref _stepCount) == 1)
        {
            _ = ThreadPool.UnsafeQueueUserWorkItem(static self => self.Run(), this, preferLocal: false);
        }
    }

    /// <summary>The pool: all steps that were asked for, in their order; one run at a time.</summary>
    private void Run()
    {
        do
        {
            _ = _steps.TryDequeue(out Step step);
            var output = new StreamOutput();
            try
            {
                Run(step, output);
            }
            catch (InvalidProtocolBufferException unreadable)
            {
                // What can't be parsed here is for the caller to judge.
                _loop.Log.MessageUnreadable(_method, unreadable.GetType().Name);
                output.Pass(step.Bytes);
            }
            catch (Exception exception)
            {
                _loop.Log.HandlerFailed(exception, _method);
                if (output.Pieces.Count == 0)
                {
                    output.Pass(step.Bytes);
                }
            }

            _loop.Post(() => Deliver(output, step.End));
        }
        while (Interlocked.Decrement(ref _stepCount) > 0);
    }

    private void Run(Step step, StreamOutput output)
    {
        switch (step.Kind)
        {
            case StepKind.Message:
                _rewriter.OnMessage(step.Bytes, output);
                break;
            case StepKind.RawPart or StepKind.RawLastPart:
                output.Pass(step.Bytes);
                _isInRaw = step.Kind == StepKind.RawPart;
                if (!_isInRaw && _signalledInRaw)
                {
                    _signalledInRaw = false;
                    _rewriter.OnSignal(output);
                }

                break;
            case StepKind.Signal:
                Volatile.Write(ref _signalled, 0);
                if (_isInRaw)
                {
                    // Nothing may come between the parts of a message.
                    _signalledInRaw = true;
                }
                else
                {
                    _rewriter.OnSignal(output);
                }

                break;
            default:
                if (!_isInRaw)
                {
                    _rewriter.OnEnd(output);
                }

                if (step.Bytes.Length > 0)
                {
                    output.Pass(step.Bytes);
                }

                break;
        }
    }

    private void Deliver(StreamOutput output, Action? end)
    {
        _ = Interlocked.Decrement(ref _underWay);
        if (_closed)
        {
            return;
        }

        foreach ((byte[]? bytes, int received) in output.Pieces)
        {
            Send(bytes, received);
        }

        if (output.WakeAfter is { } after)
        {
            _loop.After(after, Signal);
        }

        if (end is not null)
        {
            Close();
            end();
        }
    }

    private readonly record struct Step(StepKind Kind, byte[] Bytes, Action? End);
}
