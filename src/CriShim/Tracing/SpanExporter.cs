using System.Buffers.Binary;
using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Http.Headers;
using System.Threading.Channels;
using CriShim.Commands;
using CriShim.Protocol.Tracing;
using CriShim.Proxy;
using CriShim.Serving;
using CriShim.Supervision;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace CriShim.Tracing;

/// <summary>
/// Sends spans to an OpenTelemetry collector: OTLP over HTTP, in batches. Who makes a span never waits: what there is no room for is
/// dropped, and counted.
/// </summary>
/// <remarks>
/// Of our own: OpenTelemetry's SDK and exporter add three megabytes to the executable and a background thread each, for what is a queue
/// and a POST here.
/// </remarks>
internal sealed class SpanExporter : IDisposable
{
    public const string MeterName = "CriShim.Tracing";

    private const int MaxWaiting = 4096;
    private const int MaxBatch = 512;
    private const int MaxTries = 3;

    private static readonly TimeSpan BatchTime = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LastCallLimit = TimeSpan.FromSeconds(2);

    private readonly Uri _address;
    private readonly Func<string> _node;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Channel<Span> _waiting;
    private readonly HttpMessageInvoker _calls;
    private readonly Counter<long> _outcomes;
    private string? _told;

    /// <param name="endpoint">The collector's; without a path, <c>/v1/traces</c> is meant.</param>
    /// <param name="node">This node's name as far as it is known now: it may become certain only once the node has joined.</param>
    /// <param name="meters">Where outcomes are counted.</param>
    /// <param name="log">Where it logs.</param>
    /// <param name="time">The clock.</param>
    public SpanExporter(Uri endpoint, Func<string> node, IMeterFactory meters, ILogger log, TimeProvider time)
    {
        _address = endpoint.AbsolutePath == "/" ? new Uri(endpoint, "/v1/traces") : endpoint;
        _node = node;
        _time = time;
        _log = log;
        _outcomes = meters.Create(MeterName).CreateCounter<long>(
            "crishim.trace_spans",
            description: "What became of trace spans: sent, or dropped, for want of room or because the collector did not take them.");
        _waiting = Channel.CreateBounded<Span>(
            new BoundedChannelOptions(MaxWaiting) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true }, _ => Count("dropped", 1));
        _calls = new HttpMessageInvoker(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = !endpoint.IsLoopback,
            ActivityHeadersPropagator = null,
            ConnectTimeout = CallLimit,
            MaxConnectionsPerServer = 1,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(60),
        });
        Count("sent", 0);
        Count("dropped", 0);
    }

    /// <summary>Takes a span, from any thread; never waits.</summary>
    public void Export(Span span) => _ = _waiting.Writer.TryWrite(span);

    /// <summary>Sends until cancelled, and then what is left, if the collector takes it at once. Ends without an exception.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var batch = new List<Span>(MaxBatch);
        try
        {
            while (await _waiting.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
            {
                // Calls come in bursts: what belongs together goes together.
                await Task.Delay(BatchTime, _time, cancellationToken).ConfigureAwait(false);
                do
                {
                    Fill(batch);
                    await SendAsync(batch, cancellationToken).ConfigureAwait(false);
                    batch.Clear();
                }
                while (_waiting.Reader.Count >= MaxBatch);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Fill(batch);
            if (batch.Count > 0)
            {
                (bool isTaken, _, _) = await TrySendAsync(batch, LastCallLimit, CancellationToken.None).ConfigureAwait(false);
                Count(isTaken ? "sent" : "dropped", batch.Count);
            }
        }
    }

    public void Dispose() => _calls.Dispose();

    /// <summary>A span's attribute.</summary>
    public static KeyValue Attribute(string key, string value) => new() { Key = key, Value = new AnyValue { StringValue = value } };

    /// <inheritdoc cref="Attribute(string, string)"/>
    public static KeyValue Attribute(string key, long value) => new() { Key = key, Value = new AnyValue { IntValue = value } };

    public static ByteString TraceId(TraceParent parent)
    {
        byte[] bytes = new byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, parent.TraceHigh);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(8), parent.TraceLow);
        return UnsafeByteOperations.UnsafeWrap(bytes);
    }

    public static ByteString SpanId(ulong id)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, id);
        return UnsafeByteOperations.UnsafeWrap(bytes);
    }

    /// <summary>Never zero, which means none.</summary>
    public static ulong NewId() => (ulong)Random.Shared.NextInt64(1, long.MaxValue);

    public static ulong Nanoseconds(DateTimeOffset at) => (ulong)Math.Max(0, (at - DateTimeOffset.UnixEpoch).Ticks) * 100;

    private void Fill(List<Span> batch)
    {
        while (batch.Count < MaxBatch && _waiting.Reader.TryRead(out Span? span))
        {
            batch.Add(span);
        }
    }

    private async Task SendAsync(List<Span> batch, CancellationToken cancellationToken)
    {
        for (int tries = 1; ; tries++)
        {
            (bool isTaken, bool isWorthAnother, string reason) = await TrySendAsync(batch, CallLimit, cancellationToken).ConfigureAwait(false);
            if (isTaken)
            {
                _told = null;
                Count("sent", batch.Count);
                return;
            }

            if (_told != reason)
            {
                _told = reason;
                _log.SpansNotSent(_address, reason);
            }

            if (!isWorthAnother || tries == MaxTries)
            {
                Count("dropped", batch.Count);
                return;
            }

            await Task.Delay(TimeSpan.FromSeconds(tries), _time, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<(bool IsTaken, bool IsWorthAnother, string Reason)> TrySendAsync(
        List<Span> batch, TimeSpan patience, CancellationToken cancellationToken)
    {
        string node = _node();
        var request = new ExportTraceServiceRequest
        {
            ResourceSpans =
            {
                new ResourceSpans
                {
                    Resource = new Resource
                    {
                        Attributes =
                        {
                            Attribute("service.name", "crishim"), Attribute("service.version", VersionCommand.Version),
                            Attribute("k8s.node.name", node), Attribute("host.name", node),
                        },
                    },
                    ScopeSpans = { new ScopeSpans { Scope = new Scope { Name = "crishim" }, Spans = { batch } } },
                },
            },
        };
        using var limit = new CancellationTokenSource(patience, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var message = new HttpRequestMessage(HttpMethod.Post, _address) { Content = new ByteArrayContent(request.ToByteArray()) };
            message.Content.Headers.ContentType = new MediaTypeHeaderValue("application/x-protobuf");
            using HttpResponseMessage response = await _calls.SendAsync(message, either.Token).ConfigureAwait(false);
            bool isBusy = response.StatusCode is HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError;
            return (response.IsSuccessStatusCode, isBusy, $"it answered with status {(int)response.StatusCode}");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return (false, true, (e.InnerException ?? e).Message);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (false, true, $"no answer within {GoDuration.Format(patience)}");
        }
        catch (OperationCanceledException)
        {
            Count("dropped", batch.Count);
            batch.Clear();
            throw;
        }
    }

    private void Count(string outcome, long spans) => _outcomes.Add(spans, new KeyValuePair<string, object?>("outcome", outcome));
}
