using CriShim.Proxy.Http2;

namespace CriShim.Proxy.Forwarding;

/// <summary>
/// One direction of one call: DATA from the source's stream to the sink's. What the sink can't take yet waits here, and the
/// source's window is only given back for what has left: so a slow reader slows its writer, and nobody else.
/// </summary>
internal sealed class Flow(Call call)
{
    private int _uncredited;
    private int _creditedEarly;
    private bool _endsPending;
    private byte[]? _trailers;

    /// <summary>DATA that waits for the sink.</summary>
    public PendingBytes Pending;

    public Call Call { get; } = call;

    /// <summary>Where DATA comes from; null when this process makes it up.</summary>
    public Http2Connection? Source { get; set; }

    public int SourceStreamId { get; set; }

    /// <summary>What the source may still send (its window, as it knows it).</summary>
    public int ReceiveWindow { get; set; }

    /// <summary>Where DATA goes; null until the sink's stream is open, and after it is closed.</summary>
    public Http2Connection? Sink { get; set; }

    public int SinkStreamId { get; set; }

    /// <summary>What the sink's stream admits; it can be negative (RFC 9113, 6.9.2).</summary>
    public int SendWindow { get; set; }

    /// <summary>Set while the sink has this flow on its list of those that wait to send.</summary>
    public bool IsQueued { get; set; }

    /// <summary>The source has ended its side.</summary>
    public bool SourceEnded { get; set; }

    /// <summary>END_STREAM was sent to the sink, or the stream is closed.</summary>
    public bool Ended { get; private set; }

    /// <summary>END_STREAM rides on the last DATA frame.</summary>
    public bool EndsWithData => _endsPending && _trailers is null;

    /// <summary>The stream is to be reset when all that waits is out.</summary>
    public Http2Error? ResetAfter { get; private set; }

    /// <summary>There is something to send once windows admit it.</summary>
    public bool HasWork => !Ended && Sink is not null && (Pending.Length > 0 || _endsPending || ResetAfter is not null);

    /// <summary>Connects to the sink's stream, once that is open.</summary>
    public void Attach(Http2Connection sink, int streamId)
    {
        Sink = sink;
        SinkStreamId = streamId;
        SendWindow = sink.PeerInitialWindow;
    }

    /// <summary>Passes DATA on, or keeps it.</summary>
    public void Send(ReadOnlySpan<byte> payload)
    {
        if (Sink is null)
        {
            // Held until a handler has looked at it whole: the source must be able to send on.
            Pending.Append(payload);
            int before = _creditedEarly;
            _creditedEarly = 0;
            OnDrained(payload.Length);
            _creditedEarly = before + payload.Length;
            return;
        }

        Sink.SendData(this, payload);
    }

    /// <summary>Passes the last DATA on, in one frame with END_STREAM where possible.</summary>
    public void SendLast(ReadOnlySpan<byte> payload)
    {
        SourceEnded = true;
        if (Sink is not null && Sink.TrySendLastData(this, payload))
        {
            Source?.Credit(payload.Length);
            OnEnded();
            return;
        }

        _endsPending = true;
        if (payload.IsEmpty)
        {
            FinishIfDrained();
            return;
        }

        Send(payload);
    }

    /// <summary>Ends the sink's stream with trailers, behind all DATA.</summary>
    public void EndWithTrailers(ReadOnlySpan<byte> block)
    {
        SourceEnded = true;
        if (Sink is not null && Pending.Length == 0)
        {
            Sink.WriteHeaders(SinkStreamId, block, endStream: true);
            OnEnded();
            return;
        }

        _endsPending = true;
        _trailers = block.ToArray();
    }

    /// <summary>Resets the caller's stream once all that waits is out.</summary>
    public void ResetAfterDrain(Http2Error error) => ResetAfter = error;

    /// <summary>Replaces what waits, before the sink's stream is open: a handler forwards another message.</summary>
    public void ReplacePending(ReadOnlySpan<byte> bytes)
    {
        // What came was credited when it was held; what is sent instead must not be credited at all.
        Pending.Clear();
        Pending.Append(bytes);
        _creditedEarly = bytes.Length;
    }

    /// <summary>Passes on what was made of so many bytes of the source's, which is longer or shorter than they were.</summary>
    public void SendInPlaceOf(int received, ReadOnlySpan<byte> payload)
    {
        // The source's window is its own bytes': what was added to them is not given back, what was taken from them is.
        OnDropped(Math.Max(0, received - payload.Length));
        _creditedEarly += Math.Max(0, payload.Length - received);
        Send(payload);
    }

    /// <summary>Lets the source send so much more before what it sent has left: for bytes that are kept here on purpose.</summary>
    public void WidenReceiveWindow(int bytes)
    {
        if (Source is not null && !SourceEnded)
        {
            Source.WriteWindowUpdate(SourceStreamId, bytes);
            ReceiveWindow += bytes;
        }
    }

    /// <summary>Sends the end of the stream if nothing is before it any more.</summary>
    public void FinishIfDrained()
    {
        if (HasWork && Pending.Length == 0)
        {
            FinishAfterDrain();
        }
    }

    /// <summary>All DATA is out, and an end is waiting: sends it.</summary>
    public void FinishAfterDrain()
    {
        if (!_endsPending)
        {
            Call.ResetCaller(ResetAfter!.Value);
            return;
        }

        if (_trailers is not null)
        {
            Sink!.WriteHeaders(SinkStreamId, _trailers, endStream: true);
        }
        else
        {
            Sink!.WriteFrame(FrameType.Data, FrameFlags.EndStream, SinkStreamId, []);
        }

        OnEnded();
    }

    /// <summary>Bytes have left: the source may send as many again.</summary>
    public void OnDrained(int bytes)
    {
        int early = Math.Min(bytes, _creditedEarly);
        _creditedEarly -= early;
        OnDropped(bytes - early);
    }

    /// <summary>Bytes of the source's that go no further: it may send as many again.</summary>
    public void OnDropped(int bytes)
    {
        if (Source is null || bytes == 0)
        {
            return;
        }

        Source.Credit(bytes);
        _uncredited += bytes;
        if (_uncredited >= Http2Connection.StreamWindow / 4 && !SourceEnded)
        {
            Source.WriteWindowUpdate(SourceStreamId, _uncredited);
            ReceiveWindow += _uncredited;
            _uncredited = 0;
        }
    }

    /// <summary>END_STREAM is out.</summary>
    public void OnEnded()
    {
        Ended = true;
        Call.OnFlowEnded(this);
    }

    /// <summary>Adds the peer's WINDOW_UPDATE, or a change of its initial window; false when it overflows.</summary>
    public bool TryWidenWindow(int increment)
    {
        long window = (long)SendWindow + increment;
        if (window > Http2Protocol.MaxWindow)
        {
            return false;
        }

        SendWindow = (int)window;
        return true;
    }

    /// <summary>The stream is closed: what waits is dropped, and counts as having left.</summary>
    public void Abandon()
    {
        Ended = true;
        if (Pending.Length > 0)
        {
            Source?.Credit(Pending.Length - Math.Min(Pending.Length, _creditedEarly));
            Pending.Clear();
        }
    }

    public void Reset()
    {
        Pending.Clear();
        Source = null;
        Sink = null;
        _uncredited = 0;
        _creditedEarly = 0;
        ResetAfter = null;
        _endsPending = false;
        _trailers = null;
        SourceEnded = false;
        Ended = false;
        ReceiveWindow = Http2Connection.StreamWindow;
    }
}
