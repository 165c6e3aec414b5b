using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using CriShim.Discovery.Access;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.Events;

/// <summary>
/// Writes Events about pods to the API server, with the kubelet's credentials. Whoever records one never waits: it is put beside the
/// others that wait, or counted in one of them that says the same.
/// </summary>
/// <remarks>
/// <code>
///   Record ──▶ waiting (bounded; the same pod, container and reason: one entry that counts) ──▶ budget of the node, of the pod
///                 ▲                                                                                    │
///                 └────────────── API server away: back-off ◀── POST, or PATCH of one within the window ◀┘
/// </code>
/// Like client-go's recorder, but that what exceeds a budget waits and is counted instead of being dropped.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "RunAsync disposes of the connection at its end.")]
public sealed partial class PodEventRecorder
{
    public const string MeterName = "CriShim.Events";

    private const string Component = "crishim";
    private const int MaxMessage = 1024;
    private const int MaxKept = 1024;
    private const int MaxBudgets = 1024;

    private readonly PodEventOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly NodeNameResolver _nodeName;
    private readonly Counter<long>? _outcomes;
    private readonly Lock _lock = new();
    private readonly RetryBackoff _backoff;
    private readonly WriteBudget _nodeBudget;

    // In the order in which they came.
    private readonly OrderedDictionary<Key, Entry> _waiting = [];

    // Of the one task that writes.
    private readonly Dictionary<Key, Written> _written = [];
    private readonly Dictionary<string, WriteBudget> _podBudgets = new(StringComparer.Ordinal);
    private readonly KeptConnection _connection = new();
    private string? _told;

    /// <summary>Completes when one more waits.</summary>
    private TaskCompletionSource _news = NewSignal();

    /// <summary>Writes nothing before <see cref="RunAsync"/>.</summary>
    /// <param name="options">Validated.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logs">Where it logs.</param>
    /// <param name="meters">Where outcomes are counted; null: nowhere.</param>
    /// <param name="node">Tells the node's name, also to others; null: one of its own does.</param>
    public PodEventRecorder(PodEventOptions options, TimeProvider time, ILoggerFactory logs, IMeterFactory? meters = null, NodeNameResolver? node = null)
    {
        _options = options;
        _time = time;
        _log = logs.CreateLogger<PodEventRecorder>();
        _nodeName = node ?? new NodeNameResolver(options.NodeName, options.KubeconfigPath, logs.CreateLogger<NodeNameResolver>());
        _backoff = new RetryBackoff(TimeSpan.FromSeconds(1), options.MaxRetryDelay, Random.Shared);
        _nodeBudget = new WriteBudget(options.NodeBurst, options.NodeInterval, Now);
        if (meters?.Create(MeterName) is { } meter)
        {
            _outcomes = meter.CreateCounter<long>(
                "crishim.kubernetes_events",
                description: "What became of Events for pods: written (each once, however often it is counted), dropped for want of room, refused.");
            _ = meter.CreateObservableGauge("crishim.kubernetes_events_waiting", () => Waiting, description: "Events that wait to be written.");
            foreach (string outcome in (ReadOnlySpan<string>)["written", "dropped", "refused"])
            {
                Count(outcome, 0);
            }
        }
    }

    /// <summary>How many different Events wait to be written.</summary>
    public int Waiting
    {
        get
        {
            lock (_lock)
            {
                return _waiting.Count;
            }
        }
    }

    private DateTimeOffset Now => _time.GetUtcNow();

    /// <summary>Takes an Event, from any thread; never waits, never throws.</summary>
    public void Record(PodEvent happened)
    {
        // Pods of crictl can be called anything; what no API server can know is told to none.
        if (!IsDnsName(happened.Namespace) || !IsDnsName(happened.Pod))
        {
            return;
        }

        var key = new Key(happened.Namespace, happened.Pod, happened.Uid, happened.Container, happened.Reason, happened.CountsByMessage ? happened.Message : null);
        lock (_lock)
        {
            if (_waiting.TryGetValue(key, out Entry? same))
            {
                same.Add(happened);
                return;
            }

            if (_waiting.Count >= _options.MaxWaiting)
            {
                Count("dropped", 1);
                return;
            }

            _waiting.Add(key, new Entry(happened));
            _ = _news.TrySetResult();
        }
    }

    /// <summary>Writes until cancelled, and then ends without an exception. What waits then is lost: it is told by nobody else.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                (Key key, Entry entry, TimeSpan wait) = Next();
                if (wait == TimeSpan.Zero)
                {
                    await WriteAsync(key, entry, cancellationToken).ConfigureAwait(false);
                }
                else
                {
                    await WaitAsync(wait, cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
        }
        finally
        {
            _connection.Dispose();
        }
    }

    private async Task WaitAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        using var timeout = new CallDeadline(wait, _time, cancellationToken);
        try
        {
            await Volatile.Read(ref _news).Task.WaitAsync(timeout.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (timeout.IsOver)
        {
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Takes the first that its pod's budget allows; or says how long to wait.</summary>
    private (Key Key, Entry Entry, TimeSpan Wait) Next()
    {
        DateTimeOffset now = Now;
        TimeSpan least = _nodeBudget.Wait(now);
        lock (_lock)
        {
            if (_news.Task.IsCompleted)
            {
                _news = NewSignal();
            }

            if (_waiting.Count == 0)
            {
                return (default, null!, TimeSpan.FromHours(1));
            }

            if (least > TimeSpan.Zero)
            {
                return (default, null!, least);
            }

            least = TimeSpan.MaxValue;
            foreach ((Key key, Entry entry) in _waiting)
            {
                TimeSpan wait = BudgetOf(key.Uid, now).Wait(now);
                if (wait == TimeSpan.Zero)
                {
                    _ = _waiting.Remove(key);
                    return (key, entry, TimeSpan.Zero);
                }

                least = wait < least ? wait : least;
            }
        }

        return (default, null!, least);
    }

    private WriteBudget BudgetOf(string uid, DateTimeOffset now)
    {
        if (!_podBudgets.TryGetValue(uid, out WriteBudget? budget))
        {
            if (_podBudgets.Count >= MaxBudgets)
            {
                foreach (string idle in _podBudgets.Where(one => one.Value.IsFull(now)).Select(one => one.Key).ToArray())
                {
                    _ = _podBudgets.Remove(idle);
                }
            }

            _podBudgets.Add(uid, budget = new WriteBudget(_options.PodBurst, _options.PodInterval, now));
        }

        return budget;
    }

    private async Task WriteAsync(Key key, Entry entry, CancellationToken cancellationToken)
    {
        DateTimeOffset now = Now;
        _nodeBudget.Spend(now);
        BudgetOf(key.Uid, now).Spend(now);
        (HttpStatusCode? status, string reason, TimeSpan? retryAfter) = await TryWriteAsync(key, entry, cancellationToken).ConfigureAwait(false);
        switch (status)
        {
            case HttpStatusCode.OK or HttpStatusCode.Created:
                _backoff.Reset();
                _told = null;
                Count("written", 1);
                return;
            case null or HttpStatusCode.Unauthorized or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError:
                Tell(reason);
                if (status == HttpStatusCode.Unauthorized)
                {
                    _connection.Drop();
                }

                PutBack(key, entry);
                TimeSpan delay = _backoff.Next();
                TimeSpan asked = retryAfter ?? TimeSpan.Zero;
                asked = asked < _options.MaxRetryDelay ? asked : _options.MaxRetryDelay;
                await Task.Delay(asked > delay ? asked : delay, _time, cancellationToken).ConfigureAwait(false);
                return;
            default:
                // The namespace or the right is not there: another try would end as this one.
                Tell(reason);
                Count("refused", 1);
                return;
        }
    }

    private async Task<(HttpStatusCode? Status, string Reason, TimeSpan? RetryAfter)> TryWriteAsync(
        Key key, Entry entry, CancellationToken cancellationToken)
    {
        using var deadline = new CallDeadline(_options.CallTimeout, _time, cancellationToken);
        try
        {
            ApiAccess access = Connect();
            Written? there = FindWritten(key);
            if (there is not null)
            {
                using HttpResponseMessage patched = await _connection.Current!.WriteAsync(
                    HttpMethod.Patch, $"{PathOf(key)}/{there.Name}", "application/strategic-merge-patch+json",
                    Patch(entry, there.Count + entry.Count), access.BearerToken, deadline.Token).ConfigureAwait(false);
                if (patched.StatusCode == HttpStatusCode.OK)
                {
                    _written[key] = there with { Count = there.Count + entry.Count, At = entry.Last.At };
                }

                if (patched.StatusCode != HttpStatusCode.NotFound)
                {
                    return Outcome(patched);
                }

                // Its time is up over there.
                _ = _written.Remove(key);
            }

            var fresh = new Written(NameOf(key), entry.Count, entry.Last.At);
            using HttpResponseMessage created = await _connection.Current!.WriteAsync(
                HttpMethod.Post, PathOf(key), "application/json", Create(key, entry, fresh.Name), access.BearerToken, deadline.Token)
                .ConfigureAwait(false);
            if (created.StatusCode is HttpStatusCode.OK or HttpStatusCode.Created)
            {
                _written[key] = fresh;
            }

            return Outcome(created);
        }
        catch (SpecSourceException e)
        {
            return (null, e.Message, e.RetryAfter);
        }
        catch (OperationCanceledException) when (deadline.IsOver)
        {
            return (null, $"no answer within {_options.CallTimeout.TotalSeconds:0.###} s", null);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Whatever it is: it ends neither this task nor the process.
            return (null, ApiConnection.FindReason(e) ?? $"it failed unexpectedly ({e.GetType().Name})", null);
        }
    }

    private (HttpStatusCode? Status, string Reason, TimeSpan? RetryAfter) Outcome(HttpResponseMessage response) => (
        response.StatusCode, $"{_connection.Current!.Address.GetLeftPart(UriPartial.Authority)} answered with status {(int)response.StatusCode}",
        ApiConnection.RetryAfterOf(response));

    /// <summary>One that is to be counted up; null: a new one is to be made.</summary>
    private Written? FindWritten(Key key)
    {
        DateTimeOffset oldest = Now - _options.Window;
        if (_written.TryGetValue(key, out Written? there) && there.At >= oldest)
        {
            return there;
        }

        _ = _written.Remove(key);
        if (_written.Count >= MaxKept)
        {
            foreach (Key old in _written.OrderBy(one => one.Value.At).Take(MaxKept / 4).Select(one => one.Key).ToArray())
            {
                _ = _written.Remove(old);
            }
        }

        return null;
    }

    private void PutBack(Key key, Entry entry)
    {
        lock (_lock)
        {
            if (_waiting.TryGetValue(key, out Entry? newer))
            {
                newer.AddBefore(entry);
            }
            else if (_waiting.Count < _options.MaxWaiting)
            {
                _waiting.Insert(0, key, entry);
            }
            else
            {
                Count("dropped", 1);
            }
        }
    }

    /// <summary>The kubeconfig is read anew each time: the kubelet replaces its certificate.</summary>
    private ApiAccess Connect()
    {
        ApiAccess access = KubeconfigReader.Read(_options.KubeconfigPath);
        _ = _connection.Use(access);
        return access;
    }

    private void Count(string outcome, long times) => _outcomes?.Add(times, new KeyValuePair<string, object?>("outcome", outcome));

    /// <summary>Once for each reason, until it works again.</summary>
    private void Tell(string reason)
    {
        if (_told != reason)
        {
            _told = reason;
            _log.EventsNotWritten(reason, Waiting);
        }
    }

    private static string PathOf(Key key) => $"/api/v1/namespaces/{Uri.EscapeDataString(key.Namespace)}/events";

    /// <summary>As client-go makes it: the pod's name and a time.</summary>
    private string NameOf(Key key)
    {
        string time = Now.UtcTicks.ToString("x", CultureInfo.InvariantCulture);
        string pod = key.Pod.Length > 200 ? key.Pod[..200].TrimEnd('.', '-') : key.Pod;
        return $"{pod}.{time}";
    }

    private byte[] Create(Key key, Entry entry, string name)
    {
        string node = _nodeName.Resolve();
        return Write(json =>
        {
            json.WriteString("kind", "Event");
            json.WriteString("apiVersion", "v1");
            json.WriteStartObject("metadata");
            json.WriteString("name", name);
            json.WriteString("namespace", key.Namespace);
            json.WriteEndObject();
            json.WriteStartObject("involvedObject");
            json.WriteString("kind", "Pod");
            json.WriteString("apiVersion", "v1");
            json.WriteString("namespace", key.Namespace);
            json.WriteString("name", key.Pod);
            json.WriteString("uid", key.Uid);
            if (key.Container is { } container)
            {
                json.WriteString("fieldPath", $"spec.containers{{{container}}}");
            }

            json.WriteEndObject();
            json.WriteString("reason", key.Reason);
            json.WriteString("message", Cut(entry.Last.Message));
            json.WriteString("type", entry.Last.IsWarning ? "Warning" : "Normal");
            json.WriteStartObject("source");
            json.WriteString("component", Component);
            json.WriteString("host", node);
            json.WriteEndObject();
            json.WriteString("firstTimestamp", TimeOf(entry.First));
            json.WriteString("lastTimestamp", TimeOf(entry.Last.At));
            json.WriteNumber("count", entry.Count);
            json.WriteString("reportingComponent", Component);
            json.WriteString("reportingInstance", node);
        });
    }

    private static byte[] Patch(Entry entry, int count) => Write(json =>
    {
        json.WriteNumber("count", count);
        json.WriteString("lastTimestamp", TimeOf(entry.Last.At));
        json.WriteString("message", Cut(entry.Last.Message));
    });

    private static byte[] Write(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            write(json);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static string Cut(string message)
    {
        int length = message.Length <= MaxMessage ? message.Length : char.IsHighSurrogate(message[MaxMessage - 1]) ? MaxMessage - 1 : MaxMessage;
        return message[..length];
    }

    private static string TimeOf(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static bool IsDnsName(string name) => name.Length is > 0 and <= 253 && DnsName().IsMatch(name);

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z", RegexOptions.CultureInvariant)]
    private static partial Regex DnsName();

    private readonly record struct Key(string Namespace, string Pod, string Uid, string? Container, string Reason, string? Message);

    private sealed record Written(string Name, int Count, DateTimeOffset At);

    /// <summary>What waits: the last of its kind, and how many there were.</summary>
    private sealed class Entry(PodEvent happened)
    {
        public PodEvent Last { get; private set; } = happened;

        public DateTimeOffset First { get; private set; } = happened.At;

        public int Count { get; private set; } = 1;

        public void Add(PodEvent next)
        {
            Last = next;
            Count++;
        }

        public void AddBefore(Entry older)
        {
            First = older.First;
            Count += older.Count;
        }
    }
}
