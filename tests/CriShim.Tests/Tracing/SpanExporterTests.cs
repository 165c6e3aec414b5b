using System.Collections.Concurrent;
using System.Net;
using CriShim.Metrics;
using CriShim.Node.Journal;
using CriShim.Protocol.Tracing;
using CriShim.Proxy;
using CriShim.Tests.Serving;
using CriShim.TestSupport;
using CriShim.TestSupport.Lab;
using CriShim.Tracing;
using Grpc.Core;

namespace CriShim.Tests.Tracing;

/// <summary>Spans as a collector gets them.</summary>
public sealed class SpanExporterTests : IAsyncLifetime, IAsyncDisposable
{
    private static readonly DateTimeOffset Start = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private static readonly TraceParent Parent = new(0x0af7651916cd43dd, 0x8448eb211c80319c, 0xb7ad6b7169203331);

    private readonly ConcurrentQueue<(string Path, string? Type, ExportTraceServiceRequest Request)> _got = new();
    private readonly MeterFactory _meters = new();
    private readonly MetricsCollector _metrics;
    private readonly RecordedLog _log = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly HttpListener _collector = new();
    private volatile int _status = 200;
    private volatile string _node = "node-1";
    private TaskCompletionSource? _answers;
    private readonly SpanExporter _exporter;
    private Task _running = Task.CompletedTask;

    public SpanExporterTests()
    {
        _metrics = new MetricsCollector(_meters);
        string address = $"http://127.0.0.1:{FreePort.Take()}/";
        _collector.Prefixes.Add(address);
        _collector.Start();
        _ = CollectAsync();
        _exporter = new SpanExporter(new Uri(address), () => _node, _meters, _log, TimeProvider.System);
    }

    Task IAsyncLifetime.InitializeAsync() => Task.CompletedTask;

    /// <summary>xunit knows no other way to end a test that takes its time for it.</summary>
    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _exporter.Dispose();
        _collector.Close();
        _metrics.Dispose();
        _meters.Dispose();
        _stop.Dispose();
    }

    [Fact]
    public async Task Call_OfARecordedTrace_IsASpanBelowItsCallersWithTheBackendsBelowIt()
    {
        new CallTracer(_exporter.Export).OnCall(new TracedCall
        {
            Parent = Parent,
            Path = "/runtime.v1.RuntimeService/StopContainer",
            Code = StatusCode.Unavailable,
            Subject = "container=c1",
            StartedAt = Start,
            EndedAt = Start.AddMilliseconds(30),
            Backend = (Start.AddMilliseconds(10), Start.AddMilliseconds(20)),
        });
        Run();
        await GotAsync(1);

        (string path, string? type, ExportTraceServiceRequest request) = _got.Single();
        Assert.Equal(("/v1/traces", "application/x-protobuf"), (path, type));
        ResourceSpans all = Assert.Single(request.ResourceSpans);
        Assert.Contains(SpanExporter.Attribute("service.name", "crishim"), all.Resource.Attributes);
        Assert.Contains(SpanExporter.Attribute("k8s.node.name", "node-1"), all.Resource.Attributes);
        Span[] spans = [.. Assert.Single(all.ScopeSpans).Spans];
        Assert.Equal(2, spans.Length);
        Assert.All(spans, span => Assert.Equal("0af7651916cd43dd8448eb211c80319c", Convert.ToHexStringLower(span.TraceId.Span)));
        Assert.All(spans, span => Assert.Equal("runtime.v1.RuntimeService/StopContainer", span.Name));
        Assert.Equal("b7ad6b7169203331", Convert.ToHexStringLower(spans[0].ParentSpanId.Span));
        Assert.Equal(spans[0].SpanId, spans[1].ParentSpanId);
        Assert.Equal((Span.Types.SpanKind.Server, Span.Types.SpanKind.Client), (spans[0].Kind, spans[1].Kind));
        Assert.Equal(30_000_000UL, spans[0].EndTimeUnixNano - spans[0].StartTimeUnixNano);
        Assert.Equal(10_000_000UL, spans[1].EndTimeUnixNano - spans[1].StartTimeUnixNano);
        Assert.Equal(SpanExporter.Nanoseconds(Start), spans[0].StartTimeUnixNano);
        Assert.Contains(SpanExporter.Attribute("rpc.grpc.status_code", 14), spans[0].Attributes);
        Assert.Contains(SpanExporter.Attribute("crishim.subject", "container=c1"), spans[0].Attributes);
        Assert.Equal(SpanStatus.Types.StatusCode.Error, spans[0].Status.Code);
    }

    [Fact]
    public async Task Restart_OfASidecar_IsATraceOfItsOwn()
    {
        new SupervisionTracer(_exporter.Export).Happened(new SidecarRestored(3, TimeSpan.FromMilliseconds(120))
        {
            At = Start, Pod = new PodName("shop", "web-1", "u1", "s1"), Container = "proxy",
        });
        Run();
        await GotAsync(1);

        Span span = _got.Single().Request.ResourceSpans[0].ScopeSpans[0].Spans.Single();
        Assert.Equal("sidecar restart", span.Name);
        Assert.True(span.ParentSpanId.IsEmpty);
        Assert.Equal((16, 8), (span.TraceId.Length, span.SpanId.Length));
        Assert.Equal(120_000_000UL, span.EndTimeUnixNano - span.StartTimeUnixNano);
        Assert.Contains(SpanExporter.Attribute("k8s.pod.name", "web-1"), span.Attributes);
        Assert.Contains(SpanExporter.Attribute("k8s.container.restart_count", 3), span.Attributes);
    }

    [Fact]
    public async Task Export_CollectorIsBusy_IsTriedAgainAndSent()
    {
        _status = 503;
        _exporter.Export(new Span { Name = "a" });
        Run();
        await GotAsync(1);
        _status = 200;
        await CountsAsync("crishim_trace_spans_total{outcome=\"sent\"} 1\n");

        Assert.Contains("crishim_trace_spans_total{outcome=\"dropped\"} 0\n", Scrape(), StringComparison.Ordinal);
        Assert.Single(_log.Lines);
    }

    [Fact]
    public async Task Export_CollectorRefuses_IsDroppedAndCounted()
    {
        _status = 400;
        _exporter.Export(new Span { Name = "a" });
        Run();

        await CountsAsync("crishim_trace_spans_total{outcome=\"dropped\"} 1\n");
    }

    [Fact]
    public async Task Export_NodeHasJoinedMeanwhile_GoesByItsNewName()
    {
        Run();
        _exporter.Export(new Span { Name = "a" });
        await GotAsync(1);
        _node = "joined";
        _exporter.Export(new Span { Name = "b" });
        await GotAsync(2);

        Assert.Equal(
            ["node-1", "joined"],
            _got.Select(one => one.Request.ResourceSpans[0].Resource.Attributes.Single(attribute => attribute.Key == "k8s.node.name").Value.StringValue));
    }

    [Fact]
    public void Export_MoreThanMayWait_DropsTheRestWithoutWaiting()
    {
        for (int i = 0; i < 5000; i++)
        {
            _exporter.Export(new Span { Name = "a" });
        }

        Assert.Contains("crishim_trace_spans_total{outcome=\"dropped\"} 904\n", Scrape(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_Stopped_SendsWhatIsLeft()
    {
        Run();
        _exporter.Export(new Span { Name = "last words" });
        await _stop.CancelAsync();
        await _running;

        Assert.Equal("last words", Assert.Single(_got).Request.ResourceSpans[0].ScopeSpans[0].Spans.Single().Name);
    }

    [Fact]
    public async Task Run_StoppedWhileTheCollectorHangs_EndsWithoutAnExceptionAndCountsWhatIsLost()
    {
        _answers = new TaskCompletionSource();
        Run();
        _exporter.Export(new Span { Name = "last words" });
        await _stop.CancelAsync();
        await _running;

        Assert.Contains("crishim_trace_spans_total{outcome=\"dropped\"} 1\n", Scrape(), StringComparison.Ordinal);
        _answers.SetResult();
    }

    private void Run() => _running = Task.Run(() => _exporter.RunAsync(_stop.Token));

    private Task GotAsync(int requests) =>
        Condition.BecomesTrueAsync($"the collector got {requests}", Bounds.Failure, () => _got.Count >= requests);

    private Task CountsAsync(string line) => Condition.BecomesTrueAsync(
        $"the metrics have '{line.Trim()}'", Bounds.Failure, () => Scrape().Contains(line, StringComparison.Ordinal));


    private string Scrape()
    {
        string text = "";
        _metrics.Collect(families => text = PrometheusText.Write(families, isOpenMetrics: false));
        return text;
    }

    private async Task CollectAsync()
    {
        while (true)
        {
            HttpListenerContext context;
            try
            {
                context = await _collector.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            using var body = new MemoryStream();
            await context.Request.InputStream.CopyToAsync(body);
            context.Response.StatusCode = _status;
            var request = ExportTraceServiceRequest.Parser.ParseFrom(body.ToArray());
            if (_answers is not null)
            {
                await _answers.Task;
            }

            _got.Enqueue((context.Request.Url!.AbsolutePath, context.Request.ContentType, request));
            context.Response.Close();
        }
    }
}
