using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using CriShim.TestSupport.RawHttp2;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace CriShim.TestSupport.Backends;

/// <summary>One call as the fake containerd sees it, and the means to answer it.</summary>
public sealed class FakeCall
{
    private readonly TaskCompletionSource _cancelled = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly ArrayBufferWriter<byte> _body = new();

    internal FakeCall(IFeatureCollection features)
    {
        Context = new DefaultHttpContext(features);
        Path = features.GetRequiredFeature<IHttpRequestFeature>().RawTarget;
        ConnectionId = features.GetRequiredFeature<IHttpConnectionFeature>().ConnectionId;
        RequestHeaders =
        [
            .. Context.Request.Headers.SelectMany(header =>
                header.Value.Select(value => new HeaderField(header.Key.ToLowerInvariant(), value ?? ""))),
        ];
        Context.RequestAborted.Register(() => _cancelled.TrySetResult());
    }

    public HttpContext Context { get; }

    /// <summary>The <c>:path</c> exactly as it came.</summary>
    public string Path { get; }

    public string ConnectionId { get; }

    /// <summary>All fields but the pseudo ones; <c>:authority</c> shows as <c>host</c>. Order holds among equal names only.</summary>
    public IReadOnlyList<HeaderField> RequestHeaders { get; }

    /// <summary>The body as far as it was read.</summary>
    public byte[] Body
    {
        get
        {
            lock (_body)
            {
                return _body.WrittenSpan.ToArray();
            }
        }
    }

    public IReadOnlyList<HeaderField> RequestTrailers =>
    [
        .. Context.Features.GetRequiredFeature<IHttpRequestTrailersFeature>().Trailers.SelectMany(header =>
            header.Value.Select(value => new HeaderField(header.Key.ToLowerInvariant(), value ?? ""))),
    ];

    /// <summary>Completes when the caller cancels the call, or its connection ends.</summary>
    public Task Cancelled => _cancelled.Task;

    /// <summary>Completes when the script for this call has run to its end.</summary>
    public Task Finished => _finished.Task;

    public string? Header(string name) =>
        RequestHeaders.ValueOf(name);

    /// <summary>Everything up to the caller's END_STREAM.</summary>
    public async Task<byte[]> ReadBodyAsync()
    {
        PipeReader reader = Context.Request.BodyReader;
        while (true)
        {
            ReadResult read = await reader.ReadAsync();
            Keep(read.Buffer);
            reader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                return Body;
            }
        }
    }

    /// <summary>Reads until at least this much of the body is here.</summary>
    public async Task<byte[]> ReadAtLeastAsync(int length)
    {
        PipeReader reader = Context.Request.BodyReader;
        while (_body.WrittenCount < length)
        {
            ReadResult read = await reader.ReadAsync();
            Keep(read.Buffer);
            reader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                break;
            }
        }

        return Body;
    }

    /// <summary>The next message with its five octets of prefix; null at the end of the body.</summary>
    public async Task<byte[]?> ReadMessageAsync()
    {
        PipeReader reader = Context.Request.BodyReader;
        while (true)
        {
            ReadResult read = await reader.ReadAsync();
            ReadOnlySequence<byte> buffer = read.Buffer;
            if (buffer.Length >= 5)
            {
                long length = 5L + BinaryPrimitives.ReadUInt32BigEndian(buffer.Slice(1, 4).ToArray());
                if (buffer.Length >= length)
                {
                    ReadOnlySequence<byte> message = buffer.Slice(0, length);
                    byte[] copy = message.ToArray();
                    Keep(message);
                    reader.AdvanceTo(message.End);
                    return copy;
                }
            }

            reader.AdvanceTo(buffer.Start, buffer.End);
            if (read.IsCompleted)
            {
                return null;
            }
        }
    }

    /// <summary>Sends the head at once.</summary>
    public async Task SendHeadersAsync(params IEnumerable<HeaderField> extra)
    {
        SetHead(extra);
        await Context.Response.StartAsync();
        await Context.Response.Body.FlushAsync();
    }

    /// <summary>Sends body octets at once; the head goes first where it has not gone yet.</summary>
    public async Task SendAsync(ReadOnlyMemory<byte> octets)
    {
        if (!Context.Response.HasStarted)
        {
            SetHead([]);
        }

        await Context.Response.Body.WriteAsync(octets);
        await Context.Response.Body.FlushAsync();
    }

    /// <summary>Ends a call with trailers behind its head.</summary>
    public async Task EndAsync(int status = GrpcWire.Ok, params IEnumerable<HeaderField> trailers)
    {
        if (!Context.Response.HasStarted)
        {
            await SendHeadersAsync();
        }

        IHeaderDictionary fields = Context.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers;
        Append(fields, [("grpc-status", $"{status}"), .. trailers]);
    }

    /// <summary>Answers with one header block that is head and trailers at once.</summary>
    public Task TrailersOnlyAsync(int status, params IEnumerable<HeaderField> extra)
    {
        SetHead([("grpc-status", $"{status}"), .. extra]);
        return Task.CompletedTask;
    }

    /// <summary>The whole body back, and OK.</summary>
    public async Task EchoAsync()
    {
        byte[] body = await ReadBodyAsync();
        await SendHeadersAsync();
        if (body.Length > 0)
        {
            await SendAsync(body);
        }

        await EndAsync();
    }

    public void Reset(Http2Code code) => Context.Features.GetRequiredFeature<IHttpResetFeature>().Reset((int)code);

    internal void Finish() => _finished.TrySetResult();

    private static void Append(IHeaderDictionary fields, IEnumerable<HeaderField> added)
    {
        foreach (IGrouping<string, HeaderField> same in added.GroupBy(field => field.Name))
        {
            fields[same.Key] = new StringValues([.. same.Select(field => field.Value)]);
        }
    }

    private void SetHead(IEnumerable<HeaderField> extra)
    {
        IHeaderDictionary fields = Context.Response.Headers;
        fields.ContentType = "application/grpc";
        List<HeaderField> all = [.. extra];
        if (all.Find(field => field.Name == ":status") is { Value: { } status })
        {
            Context.Response.StatusCode = int.Parse(status, System.Globalization.CultureInfo.InvariantCulture);
        }

        Append(fields, all.Where(field => field.Name != ":status"));
    }

    private void Keep(ReadOnlySequence<byte> octets)
    {
        lock (_body)
        {
            foreach (ReadOnlyMemory<byte> part in octets)
            {
                _body.Write(part.Span);
            }
        }
    }
}
