using System.Buffers;

namespace CriShim.TestSupport.RawHttp2;

/// <summary>What one end has seen of a stream so far. Read it under <see cref="RawConnection.UntilAsync"/>, or once it is closed.</summary>
public sealed class RawStream
{
    private readonly ArrayBufferWriter<byte> _body = new();

    internal RawStream(RawConnection connection, int id, long sendWindow, long receiveWindow)
    {
        Connection = connection;
        Id = id;
        SendWindow = sendWindow;
        ReceiveWindow = receiveWindow;
    }

    public RawConnection Connection { get; }

    public int Id { get; }

    /// <summary>Header blocks in the order of arrival: the head, then trailers.</summary>
    public List<IReadOnlyList<HeaderField>> Blocks { get; } = [];

    /// <summary>The DATA frames' lengths without padding.</summary>
    public List<int> DataLengths { get; } = [];

    public bool EndStream { get; internal set; }

    public bool EndStreamOnData { get; internal set; }

    public Http2Code? ResetCode { get; internal set; }

    public long SendWindow { get; internal set; }

    public long ReceiveWindow { get; internal set; }

    /// <summary>Give this stream's window back as its DATA arrives (where the connection does).</summary>
    public bool GrantWindow { get; set; } = true;

    /// <summary>Count octets only.</summary>
    public bool DiscardBody { get; set; }

    public long BodyLength { get; private set; }

    /// <summary>Closed from both ends: it no longer counts as concurrent.</summary>
    internal bool Finished => (EndStream && EndStreamSent) || ResetCode is not null || ResetSent;

    internal bool EndStreamSent { get; set; }

    internal bool ResetSent { get; set; }

    public bool Closed => EndStream || ResetCode is not null;

    public IReadOnlyList<HeaderField> Head => Blocks[0];

    /// <summary>The last block, when it ended the stream: trailers, or the head of a trailers-only answer.</summary>
    public IReadOnlyList<HeaderField> Trailers => EndStream && !EndStreamOnData ? Blocks[^1] : [];

    public bool TrailersOnly => EndStream && Blocks.Count == 1 && BodyLength == 0;

    public string? Status => Trailers.ValueOf("grpc-status");

    public byte[] Body => _body.WrittenSpan.ToArray();

    public string? this[string name] => Head.ValueOf(name);

    public Task SendHeadersAsync(IEnumerable<HeaderField> fields, bool endStream = false) =>
        Connection.SendHeadersAsync(Id, fields, endStream);

    public Task SendBodyAsync(ReadOnlyMemory<byte> body, bool endStream = false) =>
        Connection.SendBodyAsync(this, body, endStream);

    public Task ResetAsync(Http2Code code) => Connection.WriteAsync(Frame.RstStream(Id, code));

    /// <summary>Answers a unary call.</summary>
    public async Task RespondAsync(byte[] body, int status = GrpcWire.Ok)
    {
        await SendHeadersAsync(GrpcWire.ResponseHead());
        await SendBodyAsync(body);
        await SendHeadersAsync(GrpcWire.Trailers(status), endStream: true);
    }

    public Task HeadAsync() => Connection.UntilAsync(() => Blocks.Count > 0, $"a head on stream {Id}");

    public Task BodyLengthAsync(long length) =>
        Connection.UntilAsync(() => BodyLength >= length, $"{length} octets of body on stream {Id}");

    public Task EndedAsync() => Connection.UntilAsync(() => EndStream, $"END_STREAM on stream {Id}");

    public Task ClosedAsync() => Connection.UntilAsync(() => Closed, $"END_STREAM or RST_STREAM on stream {Id}");

    public Task ResetReceivedAsync() => Connection.UntilAsync(() => ResetCode is not null, $"RST_STREAM on stream {Id}");

    internal void Append(ReadOnlySpan<byte> data)
    {
        DataLengths.Add(data.Length);
        BodyLength += data.Length;
        if (!DiscardBody)
        {
            _body.Write(data);
        }
    }
}
