using CriShim.Proxy.Http2;
using CriShim.Proxy.Services;
using Grpc.Core;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// One call: a stream of the caller's connection, and, once it is forwarded, a stream of a backend connection. Belongs to the
/// loop's thread, and is used again for later calls.
/// </summary>
/// <remarks>
/// <code>
///            caller's HEADERS            backend's END_STREAM sent on, request ended
/// (pooled) ──────────────────▶ open ──────────────────────────────────────────────────▶ closed ──▶ (pooled)
///                               │  ▲ │                                                     ▲
///              typed handler    ▼  │ └── reset by either side, backend lost, own answer ───┘
///                             held
/// </code>
/// It goes back to the pool when nobody holds it: neither connection's table, nor a list of waiting flows, nor a handler.
/// </remarks>
internal sealed class Call
{
    private readonly ProxyLoop _loop;
    private readonly byte[] _prefix = new byte[Subject.PrefixLength];
    private int _prefixLength;
    private int _holds;
    private long _startedAt;
    private long _forwardedAt;
    private long _backendEndedAt;
    private bool _concluded;

    public Call(ProxyLoop loop)
    {
        _loop = loop;
        ToBackend = new Flow(this);
        ToCaller = new Flow(this);
    }

    public CallerConnection? Caller { get; private set; }

    public int CallerStreamId { get; private set; }

    public BackendConnection? Backend { get; private set; }

    public int BackendStreamId { get; private set; }

    public CriMethod Method { get; private set; } = null!;

    public Flow ToBackend { get; }

    public Flow ToCaller { get; }

    /// <summary>The response's final HEADERS are out (or trailers in their place).</summary>
    public bool ResponseStarted { get; set; }

    /// <summary>The backend's final HEADERS were seen: the next block is trailers.</summary>
    public bool BackendResponded { get; set; }

    /// <summary>What a content-length field promised and DATA has not brought yet; -1 without one.</summary>
    public long ContentLeft { get; set; }

    /// <summary>grpc-status of the backend's trailers, or ours; null while unknown.</summary>
    public StatusCode? Status { get; set; }

    /// <summary>The typed handler's view of this call, while one has it.</summary>
    public TypedCall? Typed { get; set; }

    public void Start(CallerConnection caller, int streamId, CriMethod method, long timestamp)
    {
        Caller = caller;
        CallerStreamId = streamId;
        Method = method;
        _startedAt = timestamp;
        _forwardedAt = 0;
        _backendEndedAt = 0;
        _prefixLength = 0;
        _concluded = false;
        ResponseStarted = false;
        BackendResponded = false;
        ContentLeft = -1;
        Status = null;
        ToBackend.Reset();
        ToCaller.Reset();
        ToBackend.Source = caller;
        ToBackend.SourceStreamId = streamId;
        ToCaller.Attach(caller, streamId);
        _loop.Metrics?.OnStarted(method);
    }

    public void AttachBackend(BackendConnection backend, int streamId)
    {
        Backend = backend;
        BackendStreamId = streamId;
        _forwardedAt = _loop.Time.GetTimestamp();
        ToBackend.Attach(backend, streamId);
        ToCaller.Source = backend;
        ToCaller.SourceStreamId = streamId;
    }

    /// <summary>The backend's answer is whole.</summary>
    public void OnBackendEnded()
    {
        if (_backendEndedAt == 0)
        {
            _backendEndedAt = _loop.Time.GetTimestamp();
        }
    }

    public void Hold() => _holds++;

    public void Release()
    {
        if (--_holds == 0)
        {
            ToBackend.Reset();
            ToCaller.Reset();
            Typed = null;
            _loop.Recycle(this);
        }
    }

    /// <summary>Keeps the first bytes of the request for the log.</summary>
    public void Remember(ReadOnlySpan<byte> requestBytes)
    {
        if (Method.Subject != SubjectField.None && _prefixLength < _prefix.Length)
        {
            requestBytes = requestBytes[..Math.Min(requestBytes.Length, _prefix.Length - _prefixLength)];
            requestBytes.CopyTo(_prefix.AsSpan(_prefixLength));
            _prefixLength += requestBytes.Length;
        }
    }

    /// <summary>The ids in the request, for the log.</summary>
    public string DescribeSubject() => Subject.Describe(Method.Subject, _prefix.AsSpan(0, _prefixLength));

    /// <summary>One direction has sent its END_STREAM.</summary>
    public void OnFlowEnded(Flow flow)
    {
        if (flow == ToCaller)
        {
            Conclude();
            if (ToBackend.SourceEnded)
            {
                CloseCaller();
            }
            else if (flow.ResetAfter is { } error)
            {
                ResetCaller(error);
            }
        }

        CloseBackendIfDone();
    }

    /// <summary>The caller has ended its request.</summary>
    public void OnRequestEnded()
    {
        if (ToCaller.Ended)
        {
            CloseCaller();
        }
    }

    /// <summary>The backend stream is done when both its sides have ended.</summary>
    public void CloseBackendIfDone()
    {
        if (Backend is not null && ToCaller.SourceEnded && ToBackend.Ended)
        {
            CloseBackend();
        }
    }

    /// <summary>Resets the backend's stream, if one is open.</summary>
    public void ResetBackend(Http2Error error)
    {
        if (Backend is { } backend)
        {
            backend.WriteReset(BackendStreamId, error);
            CloseBackend();
        }
    }

    /// <summary>Resets the caller's stream, if it is open, behind the DATA that waits for it.</summary>
    public void ResetCallerAfterDrain(Http2Error error)
    {
        if (ToCaller.HasWork)
        {
            ToCaller.ResetAfterDrain(error);
        }
        else
        {
            ResetCaller(error);
        }
    }

    /// <summary>Resets the caller's stream, if it is open.</summary>
    public void ResetCaller(Http2Error error)
    {
        if (Caller is { } caller)
        {
            caller.WriteReset(CallerStreamId, error);
            caller.RememberReset(CallerStreamId);
            CloseCaller();
        }
    }

    /// <summary>The caller's stream is closed: forgets it. Whatever the backend still does is reset by whoever calls this.</summary>
    public void CloseCaller()
    {
        if (Caller is { } caller)
        {
            Conclude();
            Caller = null;
            ToCaller.Abandon();
            ToBackend.SourceEnded = true;
            if (Backend is null)
            {
                ToBackend.Abandon();
            }

            Typed?.OnCallerGone();
            caller.Forget(this);
            Release();
        }
    }

    /// <summary>The backend's stream is closed: forgets it.</summary>
    public void CloseBackend()
    {
        if (Backend is { } backend)
        {
            OnBackendEnded();
            Backend = null;
            ToBackend.Abandon();
            ToCaller.SourceEnded = true;
            backend.Forget(this);
            Release();
        }
    }

    /// <summary>The outcome is known: tell it, once.</summary>
    private void Conclude()
    {
        if (!_concluded)
        {
            _concluded = true;
            _loop.OnCallConcluded(this, new CallTimes(_startedAt, _forwardedAt, _backendEndedAt, _loop.Time.GetTimestamp()));
        }
    }
}
