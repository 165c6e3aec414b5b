using CriShim.Node.Journal;
using CriShim.Protocol.Tracing;
using CriShim.Proxy;

namespace CriShim.Tracing;

/// <summary>
/// Spans of what no caller asked for: a sidecar's restart, from its end until it ran again, and a pod's end. Each is a trace of its own.
/// </summary>
/// <param name="export">Takes a span without waiting.</param>
internal sealed class SupervisionTracer(Action<Span> export) : IHappeningListener
{
    /// <inheritdoc/>
    public void Happened(Happening happening)
    {
        (string Name, TimeSpan Length, bool IsError)? told = happening switch
        {
            SidecarRestored { Elapsed: { } elapsed } => ("sidecar restart", elapsed, false),
            TeardownEnded ended => ("pod teardown", ended.Duration, ended.Overrun > TimeSpan.Zero),
            _ => null,
        };
        if (told is not var (name, length, isError))
        {
            return;
        }

        var span = new Span
        {
            TraceId = SpanExporter.TraceId(new TraceParent(SpanExporter.NewId(), SpanExporter.NewId(), 0)),
            SpanId = SpanExporter.SpanId(SpanExporter.NewId()),
            Name = name,
            Kind = Span.Types.SpanKind.Internal,
            StartTimeUnixNano = SpanExporter.Nanoseconds(happening.At - length),
            EndTimeUnixNano = SpanExporter.Nanoseconds(happening.At),
            Attributes =
            {
                SpanExporter.Attribute("k8s.namespace.name", happening.Pod.Namespace),
                SpanExporter.Attribute("k8s.pod.name", happening.Pod.Name),
                SpanExporter.Attribute("k8s.pod.uid", happening.Pod.Uid),
            },
        };
        if (happening.Container is { } container)
        {
            span.Attributes.Add(SpanExporter.Attribute("k8s.container.name", container));
        }

        if (happening is SidecarRestored restored)
        {
            span.Attributes.Add(SpanExporter.Attribute("k8s.container.restart_count", restored.Attempt));
        }

        if (isError)
        {
            span.Status = new SpanStatus { Code = SpanStatus.Types.StatusCode.Error };
        }

        export(span);
    }
}
