using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace CriShim.Containerd.Events;

/// <summary>One subscription on one connection, from its first byte to its end.</summary>
/// <remarks>
/// <list type="number">
/// <item>containerd answers a subscription with nothing, not even headers, before the first event that matches. That it stands is
/// therefore proved by an event of our own, published again and again until something comes back. From then on no exit is
/// missed.</item>
/// <item>The same event is the proof of life later on: a containerd that hangs neither closes its connections nor answers, and
/// HTTP/2 pings often enough to be of use make grpc-go cut the connection.</item>
/// <item>It is published in a namespace of its own, so that nobody who follows the containers' events sees it, under a topic that no
/// other process uses, and holds a type that every reader of events knows.</item>
/// </list>
/// </remarks>
internal sealed class Subscription : IDisposable
{
    private const string ProofNamespace = "crishim";
    private const string ServiceName = "containerd.services.events.v1.Events";
    private static readonly TimeSpan s_firstProofDelay = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_maxProofDelay = TimeSpan.FromSeconds(1);

    private static readonly Method<SubscribeRequest, ReceivedEnvelope> s_subscribe = new(
        MethodType.ServerStreaming,
        ServiceName,
        "Subscribe",
        Marshallers.Create(request => request.ToByteArray(), SubscribeRequest.Parser.ParseFrom),
        // Reading never throws: one message that cannot be read must not end the stream for all that follow it.
        Marshallers.Create<ReceivedEnvelope>((_, _) => throw new NotSupportedException(), ReceivedEnvelope.Read));

    private readonly ContainerdEventsOptions _options;
    private readonly TimeProvider _time;
    private readonly ContainerdChannel _channel;
    private readonly string _proofTopic;
    private readonly Action _stood;
    private readonly Action<Envelope?> _received;
    private readonly Action<StatusCode> _proofRefused;
    private volatile TaskCompletionSource _heard = NewSignal();
    private int _standing;

    /// <param name="options">Where and how.</param>
    /// <param name="time">The clock.</param>
    /// <param name="stood">Called once, before any envelope is given, when the subscription stands.</param>
    /// <param name="received">Called for each envelope in order; with null for one that cannot be read.</param>
    /// <param name="proofRefused">Called when containerd does not let us publish: the subscription then counts as standing.</param>
    public Subscription(
        ContainerdEventsOptions options, TimeProvider time, Action stood, Action<Envelope?> received, Action<StatusCode> proofRefused)
    {
        _options = options;
        _time = time;
        _stood = stood;
        _received = received;
        _proofRefused = proofRefused;
        // No secret, only unlike any other; a Guid needs no OpenSSL, which would be 4 MB of memory for this line alone.
        _proofTopic = $"/crishim/{Guid.NewGuid():N}";
        _channel = new ContainerdChannel(options.SocketPath);
    }

    /// <summary>Reads until the subscription ends, is silent for too long, or <paramref name="stop"/> is cancelled.</summary>
    /// <returns>Why it ended, and with which status.</returns>
    public async Task<(GapReason Reason, StatusCode Code)> RunAsync(CancellationToken stop)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var options = new CallOptions(Namespace(_options.Namespace), cancellationToken: end.Token);
        using AsyncServerStreamingCall<ReceivedEnvelope> call = _channel.Invoker.AsyncServerStreamingCall(s_subscribe, null, options, Request());
        Task<StatusCode> reading = ReadAsync(call.ResponseStream, end.Token);
        Task proving = ProveAsync(end.Token);
        bool silent = await Task.WhenAny(reading, proving).ConfigureAwait(false) == proving;
        await end.CancelAsync().ConfigureAwait(false);
        await proving.ConfigureAwait(false);
        StatusCode code = await reading.ConfigureAwait(false);
        return silent ? (GapReason.Silent, StatusCode.DeadlineExceeded)
            : (Volatile.Read(ref _standing) == 1 ? GapReason.Ended : GapReason.Unreachable, code);
    }

    public void Dispose() => _channel.Dispose();

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static Metadata Namespace(string name) => new() { { "containerd-namespace", name } };

    private SubscribeRequest Request() => new()
    {
        Filters =
        {
            $"namespace==\"{_options.Namespace}\",topic==\"{ContainerdEvents.ExitTopic}\"",
            $"namespace==\"{_options.Namespace}\",topic==\"{ContainerdEvents.OomTopic}\"",
            $"namespace==\"{ProofNamespace}\",topic==\"{_proofTopic}\"",
        },
    };

    private async Task<StatusCode> ReadAsync(IAsyncStreamReader<ReceivedEnvelope> stream, CancellationToken end)
    {
        try
        {
            while (await stream.MoveNext(end).ConfigureAwait(false))
            {
                _heard.TrySetResult();
                Stand();
                Envelope? envelope = stream.Current.Value;
                if (envelope?.Topic != _proofTopic)
                {
                    _received(envelope);
                }
            }

            return StatusCode.OK;
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
        catch (OperationCanceledException)
        {
            return StatusCode.Cancelled;
        }
    }

    private void Stand()
    {
        if (Interlocked.Exchange(ref _standing, 1) == 0)
        {
            _stood();
        }
    }

    /// <summary>Ends when a proof failed, or at <paramref name="end"/>.</summary>
    private async Task ProveAsync(CancellationToken end)
    {
        try
        {
            while (await ProveOnceAsync(end).ConfigureAwait(false))
            {
                // Events of containers are as good a proof as our own.
                do
                {
                    _heard = NewSignal();
                    await Task.Delay(_options.ProofInterval, _time, end).ConfigureAwait(false);
                }
                while (_heard.Task.IsCompleted);
            }
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
        }
    }

    private async Task<bool> ProveOnceAsync(CancellationToken end)
    {
        Task heard = _heard.Task;
        using var limit = new CancellationTokenSource(_options.ProofTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(end, limit.Token);
        TimeSpan delay = s_firstProofDelay;
        while (!heard.IsCompleted)
        {
            // The very first may come before the subscription is entered, and is then lost.
            StatusCode code = await PublishAsync(either.Token).ConfigureAwait(false);
            if (IsRefusal(code))
            {
                _proofRefused(code);
                Stand();
                await Task.Delay(Timeout.InfiniteTimeSpan, _time, end).ConfigureAwait(false);
            }

            try
            {
                await heard.WaitAsync(delay, _time, either.Token).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                delay = delay * 2 < s_maxProofDelay ? delay * 2 : s_maxProofDelay;
            }
            catch (OperationCanceledException) when (!end.IsCancellationRequested)
            {
                return heard.IsCompleted;
            }
        }

        return true;
    }

    /// <summary>These say that trying again is of no use; others that containerd is away or slow.</summary>
    private static bool IsRefusal(StatusCode code) =>
        code is StatusCode.Unimplemented or StatusCode.PermissionDenied or StatusCode.Unauthenticated or StatusCode.InvalidArgument
            or StatusCode.FailedPrecondition;

    private async Task<StatusCode> PublishAsync(CancellationToken cancellationToken)
    {
        var request = new PublishRequest
        {
            Topic = _proofTopic,
            // The bare name, as containerd writes them: a reader that looks types up by it finds this one.
            Event = new Any { TypeUrl = Empty.Descriptor.FullName },
        };
        try
        {
            var events = new Protocol.Containerd.Services.Events.V1.Events.EventsClient(_channel.Invoker);
            var options = new CallOptions(Namespace(ProofNamespace), cancellationToken: cancellationToken);
            await events.PublishAsync(request, options).ResponseAsync.ConfigureAwait(false);
            return StatusCode.OK;
        }
        catch (RpcException e)
        {
            return e.StatusCode;
        }
        catch (OperationCanceledException)
        {
            return StatusCode.Cancelled;
        }
    }
}
