using CriShim.Protocol.Tracing;
using CriShim.Proxy;
using Grpc.Core;

namespace CriShim.Tracing;

/// <summary>
/// Spans of calls: one for the call, below its caller's, and below that one for the backend's part. What is forwarded is not touched, so
/// that containerd's own spans are below the caller's, too.
/// </summary>
/// <param name="export">Takes a span without waiting.</param>
internal sealed class CallTracer(Action<Span> export) : ICallTracer
{
    /// <inheritdoc/>
    public void OnCall(in TracedCall call)
    {
        ulong id = SpanExporter.NewId();
        export(NewSpan(call, id, call.Parent.SpanId, Span.Types.SpanKind.Server, call.StartedAt, call.EndedAt));
        if (call.Backend is { } backend)
        {
            export(NewSpan(call, SpanExporter.NewId(), id, Span.Types.SpanKind.Client, backend.From, backend.To));
        }
    }

    private static Span NewSpan(
        in TracedCall call, ulong id, ulong parentId, Span.Types.SpanKind kind, DateTimeOffset from, DateTimeOffset to)
    {
        // gRPC's names of services and methods, by OpenTelemetry's conventions.
        string path = call.Path.TrimStart('/');
        int slash = path.IndexOf('/', StringComparison.Ordinal);
        var span = new Span
        {
            TraceId = SpanExporter.TraceId(call.Parent),
            SpanId = SpanExporter.SpanId(id),
            ParentSpanId = SpanExporter.SpanId(parentId),
            Name = path,
            Kind = kind,
            StartTimeUnixNano = SpanExporter.Nanoseconds(from),
            EndTimeUnixNano = SpanExporter.Nanoseconds(to),
            Attributes =
            {
                SpanExporter.Attribute("rpc.system", "grpc"),
                SpanExporter.Attribute("rpc.service", slash < 0 ? "" : path[..slash]),
                SpanExporter.Attribute("rpc.method", path[(slash + 1)..]),
                SpanExporter.Attribute("rpc.grpc.status_code", (long)call.Code),
            },
        };
        if (kind == Span.Types.SpanKind.Server && call.Subject.Length > 0)
        {
            span.Attributes.Add(SpanExporter.Attribute("crishim.subject", call.Subject));
        }

        if (call.Code is StatusCode.Unknown or StatusCode.DeadlineExceeded or StatusCode.Unimplemented or StatusCode.Internal
            or StatusCode.Unavailable or StatusCode.DataLoss)
        {
            // A server's errors, by the same conventions; others are its callers'.
            span.Status = new SpanStatus { Code = SpanStatus.Types.StatusCode.Error };
        }

        return span;
    }
}
