using CriShim.Proxy.Http2;
using Grpc.Core;

namespace CriShim.Proxy.Forwarding;

/// <summary>One connection to the backend. It serves one caller's connection, and ends with it.</summary>
internal sealed class BackendConnection : Http2Connection
{
    private readonly Dictionary<int, Call> _calls = [];
    private readonly CallerConnection _caller;
    private int _nextStreamId = 1;
    private bool _draining;

    public BackendConnection(ProxyLoop loop, int descriptor, CallerConnection caller)
        : base(loop, descriptor)
    {
        _caller = caller;
        WriteRaw(Http2Protocol.Preface);
        WriteSettings(
        [
            (SettingId.EnablePush, 0),
            (SettingId.InitialWindowSize, StreamWindow),
            (SettingId.MaxHeaderListSize, MaxHeaderListSize),
        ]);
    }

    /// <summary>A new stream can be opened on it now.</summary>
    public bool AcceptsCalls => !IsClosed && !IsFailing && !_draining && _nextStreamId > 0 && _calls.Count < PeerMaxConcurrentStreams;

    protected override bool IsCaller => false;

    protected override bool IsFinished => _draining && _calls.Count == 0;

    /// <summary>Opens a stream for a call and sends its header block.</summary>
    public void Open(Call call, ReadOnlySpan<byte> block, bool endStream)
    {
        int streamId = _nextStreamId;
        _nextStreamId = unchecked(_nextStreamId + 2);
        call.Hold();
        _calls.Add(streamId, call);
        call.AttachBackend(this, streamId);
        WriteHeaders(streamId, block, endStream);
    }

    public void Forget(Call call)
    {
        _ = _calls.Remove(call.BackendStreamId);
        if (IsFinished)
        {
            Loop.MarkDirty(this);
        }
    }

    /// <summary>The caller is gone: the backend sees its calls cancelled by the end of the connection.</summary>
    public void CloseWithCaller() => Close();

    protected override bool IsIdle(int streamId) => (streamId & 1) == 0 || _nextStreamId > 0 && streamId >= _nextStreamId;

    protected override Flow? FindSendingFlow(int streamId) => _calls.TryGetValue(streamId, out Call? call) ? call.ToBackend : null;

    protected override void OnHeaders(int streamId, HeaderList fields, bool endStream)
    {
        if (IsIdle(streamId))
        {
            Fail(Http2Error.ProtocolError, "HEADERS on an idle stream");
            return;
        }

        if (!_calls.TryGetValue(streamId, out Call? call))
        {
            // Crossed with our reset.
            return;
        }

        if (call.Caller is null)
        {
            call.ResetBackend(Http2Error.Cancel);
            return;
        }

        if (call.ToCaller.SourceEnded || HeaderRules.CheckResponse(fields, call.BackendResponded, out int status) is not null
            || (call.BackendResponded && !endStream))
        {
            ResetStream(streamId, Http2Error.ProtocolError);
            return;
        }

        bool informational = !call.BackendResponded && status is >= 100 and < 200 && !endStream;
        if (!informational)
        {
            call.BackendResponded = true;
        }

        if (endStream)
        {
            call.OnBackendEnded();
            call.Status ??= ReadStatus(fields);
        }

        ReadOnlySpan<byte> block = Loop.Encode(fields);
        if (call.Typed is { CollectsResponse: true } typed)
        {
            if (endStream)
            {
                call.ToCaller.SourceEnded = true;
            }

            if (!informational)
            {
                typed.OnHeaders(block, endStream);
            }
        }
        else if (endStream && call.Typed is { Rewritten: { } stream })
        {
            byte[] trailers = block.ToArray();
            call.ToCaller.SourceEnded = true;
            stream.OnEnd(() =>
            {
                call.ResponseStarted = true;
                call.ToCaller.EndWithTrailers(trailers);
            });
        }
        else if (endStream)
        {
            call.ResponseStarted = true;
            call.ToCaller.EndWithTrailers(block);
        }
        else
        {
            call.ResponseStarted |= !informational;
            _caller.WriteHeaders(call.CallerStreamId, block, endStream: false);
        }

        call.CloseBackendIfDone();
    }

    protected override void OnHeadersTooLarge(int streamId, bool endStream)
    {
        if (_calls.ContainsKey(streamId))
        {
            ResetStream(streamId, Http2Error.EnhanceYourCalm);
        }
    }

    protected override void OnData(int streamId, ReadOnlySpan<byte> payload, int flowControlled, bool endStream)
    {
        if (!_calls.TryGetValue(streamId, out Call? call))
        {
            Credit(flowControlled);
            return;
        }

        Flow flow = call.ToCaller;
        flow.ReceiveWindow -= flowControlled;
        if (flow.ReceiveWindow < 0 || !call.BackendResponded || flow.SourceEnded)
        {
            Credit(flowControlled);
            ResetStream(streamId, flow.ReceiveWindow < 0 ? Http2Error.FlowControlError : Http2Error.ProtocolError);
            return;
        }

        if (flowControlled > payload.Length)
        {
            flow.OnDrained(flowControlled - payload.Length);
        }

        if (endStream)
        {
            call.OnBackendEnded();
        }

        call.Typed?.Observe(payload);
        if (call.Typed is { CollectsResponse: true } typed)
        {
            if (endStream)
            {
                flow.SourceEnded = true;
            }

            typed.OnData(payload, endStream);
            flow.OnDrained(payload.Length);
        }
        else if (call.Typed is { Rewritten: { } stream })
        {
            stream.OnData(payload);
            if (endStream)
            {
                flow.SourceEnded = true;
                stream.OnEnd(() => flow.SendLast([]));
            }
        }
        else if (endStream)
        {
            flow.SendLast(payload);
        }
        else
        {
            flow.Send(payload);
        }

        call.CloseBackendIfDone();
    }

    protected override void OnReset(int streamId, Http2Error error)
    {
        if (!_calls.TryGetValue(streamId, out Call? call))
        {
            return;
        }

        bool answered = call.ToCaller.SourceEnded;
        call.CloseBackend();
        if (call.Typed is { CollectsResponse: true } typed)
        {
            if (!answered)
            {
                typed.OnBackendReset(error);
            }

            return;
        }

        if (call.Typed is { Rewritten: { } stream })
        {
            stream.OnEnd(() => call.ResetCallerAfterDrain(error));
            return;
        }

        call.ResetCallerAfterDrain(error);
    }

    protected override void OnGoAway(int lastStreamId, Http2Error error)
    {
        _draining = true;
        foreach ((int streamId, Call call) in _calls.Where(entry => entry.Key > lastStreamId).ToArray())
        {
            // The backend says that it has not looked at these: the caller may try again, and its gRPC library does so by itself.
            OnReset(streamId, Http2Error.RefusedStream);
        }

        Loop.MarkDirty(this);
    }

    protected override bool OnInitialWindowChanged(int delta)
    {
        foreach (Call call in _calls.Values)
        {
            if (!call.ToBackend.TryWidenWindow(delta))
            {
                return false;
            }

            Enqueue(call.ToBackend);
        }

        Pump();
        return true;
    }

    protected override void OnSettings() => _caller.OnBackendReady();

    protected override void ResetStream(int streamId, Http2Error error)
    {
        if (_calls.TryGetValue(streamId, out Call? call))
        {
            call.ResetBackend(error);
            Answer(call, StatusCode.Internal, "containerd's response broke HTTP/2");
        }
    }

    protected override void OnEnded(string reason) => End(reason);

    protected override void OnFailed(Http2Error error, string reason)
    {
        Loop.Log.BackendBrokeProtocol(Loop.BackendPath, error, reason);
        WriteGoAway(0, error, default);
        End($"it broke HTTP/2: {reason}");
    }

    private static StatusCode ReadStatus(HeaderList fields)
    {
        int index = fields.Find("grpc-status"u8);
        if (index < 0)
        {
            return StatusCode.Unknown;
        }

        ReadOnlySpan<byte> value = fields.Value(index);
        int code = 0;
        foreach (byte digit in value)
        {
            if (digit is < (byte)'0' or > (byte)'9' || value.Length > 3)
            {
                return StatusCode.Unknown;
            }

            code = (code * 10) + digit - '0';
        }

        return (StatusCode)code;
    }

    private void End(string reason)
    {
        Loop.Log.BackendConnectionLost(Loop.BackendPath, reason, _calls.Count);
        Call[] lost = [.. _calls.Values];
        Close();
        foreach (Call call in lost)
        {
            bool answered = call.ToCaller.SourceEnded;
            call.CloseBackend();
            if (!answered)
            {
                Answer(call, StatusCode.Unavailable, $"containerd at unix://{Loop.BackendPath} ended the connection");
            }
            else if (call.Typed is not { CollectsResponse: true })
            {
                // The response is whole, or about to be: only the rest of the request has nowhere to go.
                call.ResetCallerAfterDrain(Http2Error.NoError);
            }
        }

        _caller.OnBackendClosed(this);
    }

    private static void Answer(Call call, StatusCode code, string message)
    {
        if (call.Typed is { CollectsResponse: true } typed)
        {
            typed.OnBackendLost(code, message);
        }
        else if (call.Typed is { Rewritten: { } stream })
        {
            stream.OnEnd(() => call.Caller?.Answer(call, code, message));
        }
        else
        {
            call.Caller?.Answer(call, code, message);
        }
    }
}
