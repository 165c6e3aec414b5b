using System.Text;
using CriShim.Linux;
using CriShim.Linux.Polling;
using CriShim.Proxy.Http2;
using CriShim.Proxy.Services;
using Grpc.Core;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// One caller's connection, with the backend connections that its calls go to. A caller has its own: when it goes away, so do
/// they, and no caller can stand in another's way.
/// </summary>
internal sealed class CallerConnection : Http2Connection
{
    /// <summary>A caller that says nothing is cut off after this.</summary>
    public static readonly TimeSpan PrefaceTimeout = TimeSpan.FromSeconds(10);

    // A backend whose queue of connections stays full this long is as good as gone: its callers hear of it within a second.
    private static readonly TimeSpan BusyBackendPatience = TimeSpan.FromMilliseconds(800);

    // More open calls than this on one connection are refused (REFUSED_STREAM): the kubelet's own limits are far below.
    private const int MaxOpenCalls = 65536;

    // A kubelet asks for the runtime's status every five seconds: whoever has done so twice and not stopped for this long may be one.
    private static readonly TimeSpan StatusHabit = TimeSpan.FromSeconds(30);

    // A request that a handler is to see whole and that is longer than this is forwarded without it.
    private const int MaxHeldRequest = 8 * 1024 * 1024;

    // A caller that is alive answers a PING within this; one that does not is told for good without it.
    private static readonly TimeSpan LeavePatience = TimeSpan.FromSeconds(2);

    private readonly Dictionary<int, Call> _calls = [];
    private readonly List<BackendConnection> _backends = [];
    private readonly List<WaitingCall> _waiting = [];
    private readonly int[] _recentResets = new int[64];
    private int _recentResetCount;
    private int _lastStreamId;
    private int _highestStreamId;
    private bool _prefaceSeen;
    private bool _hasGreeted;
    private bool _leaving;
    private bool _stopping;
    private bool _isLeft;

    private readonly PeerCredentials? _peer;
    private long? _statusAskedAt;
    private bool _asksForStatus;
    private bool _hasRunPods;
    private bool _hasChanged;

    public CallerConnection(ProxyLoop loop, int descriptor, PeerCredentials? peer)
        : base(loop, descriptor)
    {
        _peer = peer;
        WriteSettings(
        [
            (SettingId.InitialWindowSize, StreamWindow),
            (SettingId.MaxConcurrentStreams, MaxOpenCalls),
            (SettingId.MaxHeaderListSize, MaxHeaderListSize),
        ]);
    }

    public bool PrefaceSeen => _prefaceSeen;

    protected override bool IsCaller => true;

    protected override bool IsFinished => _stopping && _calls.Count == 0;

    /// <summary>
    /// The caller closes, which it does behind a GOAWAY, once it has read the last answer. Closed from here, it could lose that by a write
    /// that fails, such as the end of a request that was answered before; or a call that it was about to make, and makes elsewhere else.
    /// </summary>
    protected override void OnFinished()
    {
        if (!_isLeft)
        {
            _isLeft = true;
            Loop.After(LeavePatience, Close);
        }
    }

    /// <summary>Who this is.</summary>
    public CallerInfo Describe() => new(
        _peer?.ProcessId ?? 0,
        _peer?.UserId ?? uint.MaxValue,
        _hasRunPods,
        _asksForStatus && _statusAskedAt is { } at && Loop.Time.GetElapsedTime(at) < StatusHabit);

    // ---- Calls -------------------------------------------------------------------------------------------------------

    /// <summary>Opens a backend stream for a call and sends what of the request is there.</summary>
    /// <param name="call">A call of this connection.</param>
    /// <param name="block">The request's header block.</param>
    /// <param name="endStream">The request has no body at all.</param>
    public void Forward(Call call, ReadOnlySpan<byte> block, bool endStream) =>
        Forward(call, block, endStream, Loop.Time.GetTimestamp());

    private void Forward(Call call, ReadOnlySpan<byte> block, bool endStream, long since)
    {
        if (!Loop.HasBackend)
        {
            // Its handler could not read it, or failed: nobody else is there to answer.
            Answer(call, StatusCode.Internal, $"crishim could not handle {call.Method.Path}; its log may say why");
            return;
        }

        if (FindBackend(out int error) is { } backend)
        {
            backend.Open(call, block, endStream);
            if (endStream)
            {
                call.ToBackend.OnEnded();
            }
            else if (call.ToBackend.HasWork)
            {
                call.ToBackend.FinishIfDrained();
                backend.Enqueue(call.ToBackend);
                backend.Pump();
            }
        }
        else if (error == -StreamSocket.WouldBlock && Loop.Time.GetElapsedTime(since) < BusyBackendPatience)
        {
            // The backend is there, and so busy that its queue of connections is full: try again for a moment.
            if (_waiting.Count == 0)
            {
                Loop.After(TimeSpan.FromMilliseconds(20), RetryWaiting);
            }

            call.Hold();
            _waiting.Add(new WaitingCall(call, block.ToArray(), endStream, since));
        }
        else
        {
            Refuse(call, error);
        }
    }

    /// <summary>Answers a call here: trailers alone, or behind what the backend has sent so far.</summary>
    public void Answer(Call call, StatusCode code, string message)
    {
        if (call.Caller is null || call.ToCaller.Ended)
        {
            return;
        }

        call.Status = code;
        call.Typed?.Rewritten?.Close();
        HeaderList fields = Loop.AnswerFields;
        fields.Clear();
        if (!call.ResponseStarted)
        {
            fields.Add(":status"u8, "200"u8);
            fields.Add("content-type"u8, "application/grpc"u8);
        }

        Span<byte> number = stackalloc byte[4];
        _ = ((int)code).TryFormat(number, out int digits);
        fields.Add("grpc-status"u8, number[..digits]);
        fields.Add("grpc-message"u8, Encoding.ASCII.GetBytes(PercentEncode(message)));
        call.ResponseStarted = true;
        if (!call.ToBackend.SourceEnded)
        {
            // Nobody will read the rest of the request (RFC 9113, 8.1).
            call.ToCaller.ResetAfterDrain(Http2Error.NoError);
        }

        call.ToCaller.EndWithTrailers(Loop.Encode(fields));
        Enqueue(call.ToCaller);
    }

    /// <summary>Answers a call here with one message and status OK.</summary>
    public void Answer(Call call, ReadOnlySpan<byte> framedMessage)
    {
        if (call.Caller is null || call.ToCaller.Ended)
        {
            return;
        }

        call.Status = StatusCode.OK;
        call.ResponseStarted = true;
        HeaderList fields = Loop.AnswerFields;
        fields.Clear();
        fields.Add(":status"u8, "200"u8);
        fields.Add("content-type"u8, "application/grpc"u8);
        WriteHeaders(call.CallerStreamId, Loop.Encode(fields), endStream: false);
        call.ToCaller.Send(framedMessage);
        fields.Clear();
        fields.Add("grpc-status"u8, "0"u8);
        call.ToCaller.EndWithTrailers(Loop.Encode(fields));
    }

    public void Forget(Call call)
    {
        _ = _calls.Remove(call.CallerStreamId);
        if (IsFinished)
        {
            Loop.MarkDirty(this);
        }
    }

    /// <summary>Frames of this stream may still be on their way, and mean nothing.</summary>
    public void RememberReset(int streamId) => _recentResets[_recentResetCount++ % _recentResets.Length] = streamId;

    public void OnBackendClosed(BackendConnection backend) => _ = _backends.Remove(backend);

    /// <summary>A backend connection has announced its limits.</summary>
    public void OnBackendReady() => Loop.OnBackendReachable();

    // ---- Stopping ----------------------------------------------------------------------------------------------------

    /// <summary>No new calls, once the caller knows; endless ones end now.</summary>
    /// <remarks>
    /// Two GOAWAYs (RFC 9113, 6.8): the first one admits every stream, for the caller may send a call before it has read it, and that call
    /// would fail with a connection that is closed. When it has answered the PING behind it, it opens no more streams here, and nothing of
    /// its own is on the way. A caller that has only just connected is told when it has greeted, however late within the stop's grace: some
    /// fail a call whose connection is taken away while they still set it up, and on a node under load that takes seconds.
    /// </remarks>
    public void BeginStop()
    {
        if (IsClosed || _leaving)
        {
            return;
        }

        _leaving = true;
        if (_hasGreeted)
        {
            AskToLeave();
        }
    }

    protected override void OnSettings()
    {
        if (!_hasGreeted && _leaving && !_stopping)
        {
            AskToLeave();
        }

        _hasGreeted = true;
    }

    private void AskToLeave()
    {
        Loop.After(LeavePatience, CompleteStop);
        WriteGoAway(int.MaxValue, Http2Error.NoError, "crishim is stopping"u8);
        WriteFrame(FrameType.Ping, FrameFlags.None, 0, LeavePing);
        EndEndlessCalls();
    }

    private static ReadOnlySpan<byte> LeavePing => "leaving!"u8;

    protected override void OnPingAnswered(ReadOnlySpan<byte> payload)
    {
        if (_leaving && payload.SequenceEqual(LeavePing))
        {
            CompleteStop();
        }
    }

    private void CompleteStop()
    {
        if (IsClosed || _stopping)
        {
            return;
        }

        _stopping = true;
        WriteGoAway(_lastStreamId, Http2Error.NoError, "crishim is stopping"u8);
        EndEndlessCalls();
    }

    private void EndEndlessCalls()
    {
        foreach (Call call in _calls.Values.Where(call => call.Method.IsEndless).ToArray())
        {
            EndForStop(call);
        }
    }

    /// <summary>The time for running calls is up.</summary>
    public void EndStop()
    {
        foreach (Call call in _calls.Values.ToArray())
        {
            EndForStop(call);
        }

        Flush();
        Close();
    }

    /// <summary>A caller that never said what it wants.</summary>
    public void CloseSilent()
    {
        Loop.Log.CallerSilent(_peer?.ProcessId ?? 0, _peer?.UserId);
        Close();
    }

    private void EndForStop(Call call)
    {
        call.ResetBackend(Http2Error.Cancel);
        Answer(call, StatusCode.Unavailable, "crishim is stopping");
    }

    // ---- Frames ------------------------------------------------------------------------------------------------------

    protected override int HandlePrologue(ReadOnlySpan<byte> input)
    {
        if (_prefaceSeen)
        {
            return 0;
        }

        ReadOnlySpan<byte> preface = Http2Protocol.Preface;
        int length = Math.Min(input.Length, preface.Length);
        if (!input[..length].SequenceEqual(preface[..length]))
        {
            Fail(Http2Error.ProtocolError, "it does not speak HTTP/2 with prior knowledge");
            return 0;
        }

        if (length < preface.Length)
        {
            return -1;
        }

        _prefaceSeen = true;
        return length;
    }

    protected override bool IsIdle(int streamId) => streamId > _highestStreamId || (streamId & 1) == 0;

    protected override Flow? FindSendingFlow(int streamId) => _calls.TryGetValue(streamId, out Call? call) ? call.ToCaller : null;

    protected override void OnHeaders(int streamId, HeaderList fields, bool endStream)
    {
        if (_calls.TryGetValue(streamId, out Call? open))
        {
            OnTrailers(open, fields, endStream);
            return;
        }

        if (!AdmitStream(streamId))
        {
            return;
        }

        if (HeaderRules.CheckRequest(fields, out int pathIndex, out long contentLength) is { } wrong)
        {
            Loop.Log.RequestMalformed(_peer?.ProcessId ?? 0, _peer?.UserId, wrong);
            WriteReset(streamId, Http2Error.ProtocolError);
            RememberReset(streamId);
            return;
        }

        if (_calls.Count >= MaxOpenCalls)
        {
            WriteReset(streamId, Http2Error.RefusedStream);
            RememberReset(streamId);
            return;
        }

        if (contentLength > 0 && endStream)
        {
            WriteReset(streamId, Http2Error.ProtocolError);
            return;
        }

        CriMethod method = Loop.Methods.Find(fields.Value(pathIndex));
        Call call = Loop.NewCall();
        call.Hold();
        call.Start(this, streamId, method, Loop.Time.GetTimestamp());
        call.ContentLeft = contentLength;
        _calls.Add(streamId, call);
        if (Loop.Tracer is not null && fields.Find("traceparent"u8) is >= 0 and var field
            && TraceParent.TryParse(fields.Value(field), out TraceParent parent))
        {
            call.TraceParent = parent;
        }

        if (!method.IsForwarded)
        {
            call.ToBackend.SourceEnded = endStream;
            Answer(
                call, StatusCode.Unimplemented,
                Loop.HasBackend
                    ? $"crishim forwards the services of package runtime only, not {method.Path}"
                    : $"this crishim has no {method.Path}");
            return;
        }

        if (method.IsUnknownStream && Loop.RewritesViews())
        {
            // Rule 17. A kubelet takes this for a backend that is too old for the method, and asks for the list in one message.
            call.ToBackend.SourceEnded = endStream;
            Answer(call, StatusCode.Unimplemented, $"crishim does not know {method.Path}, and containers are to be shown otherwise than it may list them");
            return;
        }

        if (method.IsChange && !_hasChanged)
        {
            _hasChanged = true;
            Loop.Log.CallerChanges(_peer?.ProcessId ?? 0, _peer?.UserId, method.Path);
        }

        if (method.Habit != KubeletHabit.None)
        {
            Note(method.Habit);
        }

        ReadOnlySpan<byte> block = Loop.Encode(fields);
        if (method.Typed is { } typed && typed.WantsToLook() && !IsCompressed(fields))
        {
            call.Typed = new TypedCall(Loop, call, fields, block);
            if (endStream)
            {
                call.ToBackend.SendLast([]);
                call.Typed.OnRequestComplete();
            }

            return;
        }

        if (endStream)
        {
            call.ToBackend.SourceEnded = true;
        }

        Forward(call, block, endStream);
    }

    protected override void OnHeadersTooLarge(int streamId, bool endStream)
    {
        if (_calls.TryGetValue(streamId, out Call? open))
        {
            ResetStream(open.CallerStreamId, Http2Error.EnhanceYourCalm);
        }
        else if (AdmitStream(streamId))
        {
            Call call = Loop.NewCall();
            call.Hold();
            call.Start(this, streamId, Loop.UnreadableMethod, Loop.Time.GetTimestamp());
            call.ToBackend.SourceEnded = endStream;
            _calls.Add(streamId, call);
            Answer(call, StatusCode.ResourceExhausted, $"the header block is larger than {MaxHeaderListSize} bytes");
        }
    }

    protected override void OnData(int streamId, ReadOnlySpan<byte> payload, int flowControlled, bool endStream)
    {
        if (!_calls.TryGetValue(streamId, out Call? call))
        {
            Credit(flowControlled);
            if (!WasReset(streamId))
            {
                WriteReset(streamId, Http2Error.StreamClosed);
            }

            return;
        }

        Flow flow = call.ToBackend;
        flow.ReceiveWindow -= flowControlled;
        if (flow.SourceEnded || flow.ReceiveWindow < 0)
        {
            Credit(flowControlled);
            ResetStream(streamId, flow.SourceEnded ? Http2Error.StreamClosed : Http2Error.FlowControlError);
            return;
        }

        if (call.ContentLeft >= 0)
        {
            call.ContentLeft -= payload.Length;
            if (call.ContentLeft < 0 || (endStream && call.ContentLeft != 0))
            {
                Credit(flowControlled);
                ResetStream(streamId, Http2Error.ProtocolError);
                return;
            }
        }

        if (flowControlled > payload.Length)
        {
            flow.OnDrained(flowControlled - payload.Length);
        }

        call.Remember(payload);
        if (flow.Ended)
        {
            // The backend's stream is over, the caller's is not: nothing reads this any more.
            flow.OnDrained(payload.Length);
            flow.SourceEnded = endStream;
        }
        else if (endStream)
        {
            flow.SendLast(payload);
        }
        else
        {
            flow.Send(payload);
        }

        if (endStream)
        {
            call.OnRequestEnded();
        }

        if (call.Typed is { IsHeld: true } typed)
        {
            if (endStream)
            {
                typed.OnRequestComplete();
            }
            else if (flow.Pending.Length > MaxHeldRequest)
            {
                typed.LetPass();
            }
        }
    }

    protected override void OnReset(int streamId, Http2Error error)
    {
        if (_calls.TryGetValue(streamId, out Call? call))
        {
            call.Status ??= StatusCode.Cancelled;
            call.ResetBackend(error);
            call.CloseCaller();
        }
    }

    protected override void OnGoAway(int lastStreamId, Http2Error error)
    {
        // The caller is leaving, and says so; its open calls go on.
    }

    protected override bool OnInitialWindowChanged(int delta)
    {
        foreach (Call call in _calls.Values)
        {
            if (!call.ToCaller.TryWidenWindow(delta))
            {
                return false;
            }

            Enqueue(call.ToCaller);
        }

        Pump();
        return true;
    }

    protected override void ResetStream(int streamId, Http2Error error)
    {
        if (_calls.TryGetValue(streamId, out Call? call))
        {
            call.Status ??= StatusCode.Internal;
            call.ResetBackend(Http2Error.Cancel);
            call.ResetCaller(error);
        }
        else
        {
            WriteReset(streamId, error);
        }
    }

    protected override void OnEnded(string reason)
    {
        Loop.Log.CallerDisconnected(reason, _calls.Count);
        Close();
    }

    protected override void OnClosing() => CloseCalls();

    protected override void OnFailed(Http2Error error, string reason)
    {
        Loop.Log.CallerBrokeProtocol(_peer?.ProcessId ?? 0, _peer?.UserId, error, reason);
        WriteGoAway(_lastStreamId, error, Encoding.ASCII.GetBytes(reason));
        CloseCalls();
    }

    private void Note(KubeletHabit habit)
    {
        if (habit == KubeletHabit.RunsPods)
        {
            _hasRunPods = true;
        }
        else
        {
            long now = Loop.Time.GetTimestamp();
            _asksForStatus = _statusAskedAt is { } before && Loop.Time.GetElapsedTime(before, now) < StatusHabit;
            _statusAskedAt = now;
        }
    }

    private static string PercentEncode(string message)
    {
        // gRPC's HTTP/2 mapping: percent-encoded outside 0x20 to 0x7e, and '%' itself.
        var text = new StringBuilder(message.Length);
        foreach (byte octet in Encoding.UTF8.GetBytes(message))
        {
            _ = octet is >= 0x20 and <= 0x7e and not (byte)'%' ? text.Append((char)octet) : text.Append('%').Append(octet.ToString("X2", null));
        }

        return text.ToString();
    }

    private static bool IsCompressed(HeaderList fields)
    {
        int index = fields.Find("grpc-encoding"u8);
        return index >= 0 && !fields.Value(index).SequenceEqual("identity"u8);
    }

    /// <summary>A HEADERS frame that opens no known stream: may it open a new one?</summary>
    private bool AdmitStream(int streamId)
    {
        if ((streamId & 1) == 0)
        {
            Fail(Http2Error.ProtocolError, "a caller's stream has an even number");
            return false;
        }

        if (streamId <= _highestStreamId)
        {
            if (!WasReset(streamId))
            {
                Fail(Http2Error.StreamClosed, "HEADERS on a closed stream");
            }

            return false;
        }

        _highestStreamId = streamId;
        if (_stopping)
        {
            // Behind our GOAWAY: the caller knows that it was not looked at.
            return false;
        }

        _lastStreamId = streamId;
        return true;
    }

    private bool WasReset(int streamId) => Array.IndexOf(_recentResets, streamId) >= 0 || _stopping;

    private void OnTrailers(Call call, HeaderList fields, bool endStream)
    {
        Flow flow = call.ToBackend;
        if (flow.SourceEnded)
        {
            ResetStream(call.CallerStreamId, Http2Error.StreamClosed);
        }
        else if (!endStream || HeaderRules.CheckTrailers(fields) is not null || call.ContentLeft > 0)
        {
            ResetStream(call.CallerStreamId, Http2Error.ProtocolError);
        }
        else
        {
            if (flow.Ended)
            {
                flow.SourceEnded = true;
            }
            else
            {
                flow.EndWithTrailers(Loop.Encode(fields));
            }

            call.OnRequestEnded();
            if (call.Typed is { IsHeld: true } typed)
            {
                typed.OnRequestComplete();
            }
        }
    }

    private BackendConnection? FindBackend(out int error)
    {
        error = 0;
        foreach (BackendConnection backend in _backends)
        {
            if (backend.AcceptsCalls)
            {
                return backend;
            }
        }

        int descriptor = StreamSocket.Connect(Loop.BackendPath);
        if (descriptor < 0)
        {
            error = -descriptor;
            return null;
        }

        var opened = new BackendConnection(Loop, descriptor, this);
        _backends.Add(opened);
        Loop.Register(opened);
        return opened;
    }

    private void Refuse(Call call, int error)
    {
        string reason = Errno.Name(error);
        Loop.OnBackendUnreachable(reason);
        string message = $"containerd is not reachable at unix://{Loop.BackendPath}: {reason}";
        if (call.Typed is { CollectsResponse: true } typed)
        {
            typed.OnBackendLost(StatusCode.Unavailable, message);
        }
        else
        {
            Answer(call, StatusCode.Unavailable, message);
        }
    }

    private void RetryWaiting()
    {
        WaitingCall[] waiting = [.. _waiting];
        _waiting.Clear();
        foreach (WaitingCall entry in waiting)
        {
            if (entry.Call.Caller == this)
            {
                Forward(entry.Call, entry.Block, entry.EndStream, entry.Since);
            }

            entry.Call.Release();
        }
    }

    private void CloseCalls()
    {
        foreach (BackendConnection backend in _backends)
        {
            backend.CloseWithCaller();
        }

        _backends.Clear();
        foreach (Call call in _calls.Values.ToArray())
        {
            call.Status ??= StatusCode.Cancelled;
            call.CloseBackend();
            call.CloseCaller();
        }
    }

    private readonly record struct WaitingCall(Call Call, byte[] Block, bool EndStream, long Since);
}
