using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using CriShim.Discovery.Events;
using CriShim.Discovery.Tests.Support;
using CriShim.TestSupport;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;

namespace CriShim.Discovery.Tests.Events;

/// <summary>Events as an API server gets them from a kubelet's credentials.</summary>
public sealed class PodEventRecorderTests : IAsyncLifetime
{
    private readonly ScratchDirectory _scratch = new();
    private readonly RecordedLogs _logs = new();
    private readonly RecordedMeters _meters = new();
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
    private readonly ConcurrentQueue<(string Method, string Path, string? Type, JsonNode Body)> _got = new();
    private readonly CancellationTokenSource _stop = new();
    private FakeApiServer _api = null!;
    private readonly ConcurrentQueue<DateTimeOffset> _calledAt = new();
    private volatile int _status;
    private volatile string? _retryAfter;
    private volatile int _patchStatus = 200;
    private Task _running = Task.CompletedTask;

    public async Task InitializeAsync()
    {
        _api = await FakeApiServer.StartAsync();
        _api.AcceptedTokens["token-1"] = true;
        _api.Instead = AnswerAsync;
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        await _api.DisposeAsync();
        _scratch.Dispose();
        _stop.Dispose();
        _meters.Dispose();
        _logs.AssertNoErrors();
        Assert.DoesNotContain(_logs.Texts, text => text.Contains("token-1", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Record_OfASidecar_IsAnEventOnItsPodFromThisNode()
    {
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarRestarted", "Sidecar proxy runs again") with { Container = "proxy", IsWarning = true });
        await GotAsync(1);

        (string method, string path, string? type, JsonNode body) = _got.Single();
        Assert.Equal(("POST", "/api/v1/namespaces/shop/events", "application/json"), (method, path, type));
        Assert.StartsWith("web-1.", (string?)body["metadata"]!["name"], StringComparison.Ordinal);
        Assert.Equal("shop", (string?)body["metadata"]!["namespace"]);
        body["metadata"] = null;
        Assert.True(
            JsonNode.DeepEquals(
                JsonNode.Parse("""
                    {
                      "kind": "Event", "apiVersion": "v1", "metadata": null,
                      "involvedObject": {
                        "kind": "Pod", "apiVersion": "v1", "namespace": "shop", "name": "web-1", "uid": "u1",
                        "fieldPath": "spec.containers{proxy}"
                      },
                      "reason": "SidecarRestarted", "message": "Sidecar proxy runs again", "type": "Warning",
                      "source": {"component": "crishim", "host": "node-a"},
                      "firstTimestamp": "2026-01-02T03:04:05Z", "lastTimestamp": "2026-01-02T03:04:05Z", "count": 1,
                      "reportingComponent": "crishim", "reportingInstance": "node-a"
                    }
                    """),
                body),
            body.ToJsonString());
    }

    [Fact]
    public async Task Record_TheSameAgain_CountsTheEventThatIsThere()
    {
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarRestarted", "first"));
        await WrittenAsync(1);
        string name = (string)_got.First().Body["metadata"]!["name"]!;
        _clock.Advance(TimeSpan.FromMinutes(1));
        recorder.Record(Event("SidecarRestarted", "second"));
        await GotAsync(2);

        (string method, string path, string? type, JsonNode body) = _got.Last();
        Assert.Equal(("PATCH", $"/api/v1/namespaces/shop/events/{name}", "application/strategic-merge-patch+json"), (method, path, type));
        Assert.Equal("""{"count":2,"lastTimestamp":"2026-01-02T03:05:05Z","message":"second"}""", body.ToJsonString());
    }

    [Fact]
    public async Task Record_WhatCountsByMessage_IsAnEventForEach()
    {
        PodEventRecorder recorder = Start();
        foreach (string fault in (ReadOnlySpan<string>)["sidecars[0] is wrong", "supervise is wrong", "sidecars[0] is wrong"])
        {
            recorder.Record(Event("BadAnnotation", fault) with { CountsByMessage = true });
        }

        await GotAsync(2);

        Assert.Equal(
            [("sidecars[0] is wrong", 2), ("supervise is wrong", 1)],
            _got.Select(call => ((string)call.Body["message"]!, (int)call.Body["count"]!)));
    }

    [Fact]
    public async Task Record_TheSameAfterTheWindow_IsANewEvent()
    {
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarRestarted", "first"));
        await WrittenAsync(1);
        _clock.Advance(TimeSpan.FromMinutes(11));
        recorder.Record(Event("SidecarRestarted", "later"));
        await GotAsync(2);

        Assert.All(_got, call => Assert.Equal("POST", call.Method));
    }

    [Fact]
    public async Task Record_EventThatTheServerHasForgotten_IsMadeAnew()
    {
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarRestarted", "first"));
        await GotAsync(1);
        _patchStatus = 404;
        recorder.Record(Event("SidecarRestarted", "second"));
        await GotAsync(3);

        Assert.Equal(["POST", "PATCH", "POST"], _got.Select(call => call.Method));
        Assert.Equal("second", (string?)_got.Last().Body["message"]);
    }

    [Fact]
    public async Task Record_ServerAway_WaitsCountsAndIsWrittenOnceItIsBack()
    {
        _status = 503;
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarBackOff", "1"));
        await GotAsync(1);
        recorder.Record(Event("SidecarBackOff", "2"));
        recorder.Record(Event("SidecarBackOff", "3"));
        _got.Clear();
        _status = 0;
        await WrittenAsync(1, TimeSpan.FromSeconds(1));

        JsonNode body = Assert.Single(_got).Body;
        Assert.Equal((3, "3"), ((int)body["count"]!, (string)body["message"]!));
        Assert.Single(_logs.Of("EventsNotWritten"));
    }

    [Theory]
    [InlineData(429, "40")]
    [InlineData(503, "40")]
    [InlineData(503, "Fri, 02 Jan 2026 03:04:45 GMT")]
    public async Task Record_ServerThatAsksToBeLeftAlone_IsCalledAgainWhenItSays(int status, string retryAfter)
    {
        _status = status;
        _retryAfter = retryAfter;
        PodEventRecorder recorder = Start();
        recorder.Record(Event("SidecarBackOff", "1"));
        await GotAsync(1);
        _status = 0;
        await WrittenAsync(1, TimeSpan.FromSeconds(1));

        DateTimeOffset[] calls = [.. _calledAt];
        Assert.Equal(2, calls.Length);
        Assert.True(calls[1] - calls[0] >= TimeSpan.FromSeconds(40), $"called again after {calls[1] - calls[0]}");
    }

    [Fact]
    public async Task Record_ServerThatAsksToBeLeftAloneForADay_IsCalledAgainWithinTheLongestDelay()
    {
        _status = 429;
        _retryAfter = "86400";
        PodEventRecorder recorder = Start(options => options with { MaxRetryDelay = TimeSpan.FromSeconds(20) });
        recorder.Record(Event("SidecarBackOff", "1"));
        await GotAsync(1);
        _status = 0;

        // A day of these steps would take longer than the test may.
        await WrittenAsync(1, TimeSpan.FromSeconds(1));
        Assert.Equal(2, _calledAt.Count);
    }

    [Fact]
    public async Task Record_MoreThanMayWait_DropsTheRestWithoutWaiting()
    {
        PodEventRecorder recorder = Start(options => options with { MaxWaiting = 2 }, run: false);
        recorder.Record(Event("A", "a"));
        recorder.Record(Event("B", "b"));
        recorder.Record(Event("C", "c"));
        recorder.Record(Event("A", "a again"));
        Assert.Equal(2, recorder.Waiting);

        _running = recorder.RunAsync(_stop.Token);
        await Eventually.TrueAsync(() => recorder.Waiting == 0 && _got.Count == 2, "both");
        Assert.Equal([("A", 2), ("B", 1)], _got.Select(call => ((string)call.Body["reason"]!, (int)call.Body["count"]!)));
    }

    [Fact]
    public async Task Record_MoreThanAPodsBudget_WaitsAndKeepsNoOtherPodBack()
    {
        PodEventRecorder recorder = Start(options => options with { PodBurst = 2, PodInterval = TimeSpan.FromSeconds(30) }, run: false);
        recorder.Record(Event("A", "a"));
        recorder.Record(Event("B", "b"));
        recorder.Record(Event("C", "c"));
        recorder.Record(Event("D", "d") with { Pod = "other", Uid = "u2" });
        _running = recorder.RunAsync(_stop.Token);
        await GotAsync(3);

        Assert.Equal(["A", "B", "D"], _got.Select(call => (string)call.Body["reason"]!));
        await WrittenAsync(4, TimeSpan.FromSeconds(5));
        Assert.Equal(["A", "B", "D", "C"], _got.Select(call => (string)call.Body["reason"]!));
    }

    [Fact]
    public async Task Record_MoreThanTheNodesBudget_IsWrittenInTime()
    {
        PodEventRecorder recorder = Start(options => options with { NodeBurst = 3, NodeInterval = TimeSpan.FromSeconds(10) }, run: false);
        for (int i = 0; i < 5; i++)
        {
            recorder.Record(Event("A", "a") with { Pod = $"p{i}", Uid = $"u{i}" });
        }

        _running = recorder.RunAsync(_stop.Token);
        await GotAsync(3);
        Assert.Equal(2, recorder.Waiting);
        await WrittenAsync(5, TimeSpan.FromSeconds(5));
        Assert.Equal(5, _got.Count);
    }

    [Fact]
    public async Task Record_NamespaceIsGone_IsNotTriedAgain()
    {
        _status = 404;
        PodEventRecorder recorder = Start();
        recorder.Record(Event("A", "a"));
        await GotAsync(1);
        _status = 0;
        recorder.Record(Event("B", "b"));
        await GotAsync(2);

        Assert.Equal(["A", "B"], _got.Select(call => (string)call.Body["reason"]!));
        Assert.Equal(0, recorder.Waiting);
    }

    [Theory]
    [InlineData("../../pods", "web-1")]
    [InlineData("shop", "web 1")]
    [InlineData("", "web-1")]
    [InlineData("shop", "Web\n")]
    public void Record_PodThatNoApiServerCanHave_IsLeftOut(string space, string pod)
    {
        PodEventRecorder recorder = Start(run: false);
        recorder.Record(Event("A", "a") with { Namespace = space, Pod = pod });

        Assert.Equal(0, recorder.Waiting);
    }

    [Fact]
    public async Task Record_LongMessage_IsCutToWhatTheApiAllows()
    {
        PodEventRecorder recorder = Start();
        recorder.Record(Event("A", new string('x', 5000)));
        await GotAsync(1);

        Assert.Equal(1024, ((string)_got.Single().Body["message"]!).Length);
    }

    /// <summary>Waits until the server has had so many calls: their answers may be on their way still.</summary>
    private Task GotAsync(int calls) => Eventually.TrueAsync(() => _got.Count == calls, $"call {calls}");

    /// <summary>Waits until so many Events are written, answers included.</summary>
    /// <param name="events">How many.</param>
    /// <param name="step">By which the clock is moved meanwhile; null: it stands.</param>
    private Task WrittenAsync(int events, TimeSpan? step = null) => Eventually.TrueAsync(
        () => _meters.Of("crishim.kubernetes_events", "outcome=written").Sum() == events, $"Event {events} is written",
        step is null ? null : _clock, step ?? TimeSpan.Zero);

    private PodEvent Event(string reason, string message) => new()
    {
        At = _clock.GetUtcNow(), Namespace = "shop", Pod = "web-1", Uid = "u1", Reason = reason, Message = message,
    };

    private PodEventRecorder Start(Func<PodEventOptions, PodEventOptions>? with = null, bool run = true)
    {
        string kubeconfig = _scratch.Write("kubeconfig", _api.Kubeconfig("token: token-1"));
        // The clock moves in steps of the test's, with calls under way: none of these tests is about a call that is never answered.
        var options = new PodEventOptions { KubeconfigPath = kubeconfig, NodeName = "node-a", CallTimeout = TimeSpan.FromDays(1) };
        var recorder = new PodEventRecorder(with?.Invoke(options) ?? options, _clock, _logs, _meters);
        if (run)
        {
            _running = recorder.RunAsync(_stop.Token);
        }

        return recorder;
    }

    private async Task<bool> AnswerAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        string body = await reader.ReadToEndAsync();
        context.Response.StatusCode = _status != 0 ? _status : context.Request.Method == "PATCH" ? _patchStatus : 201;
        context.Response.ContentType = "application/json";
        context.Response.Headers.RetryAfter = _retryAfter;
        context.Response.Headers.Date = _clock.GetUtcNow().ToString("R");
        _calledAt.Enqueue(_clock.GetUtcNow());
        await context.Response.WriteAsync("{}");
        _got.Enqueue((context.Request.Method, context.Request.Path.Value!, context.Request.ContentType, JsonNode.Parse(body)!));
        return true;
    }
}
