using System.Threading.Channels;
using CriShim.Protocol.Containerd.Events;
using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Containerd.Events;

/// <summary>
/// Container exits, as they happen, from containerd's own event service: it is the same in 1.6 to 2.x, and each subscriber has its own
/// copy of each event.
/// </summary>
/// <remarks>
/// What the reader may rely on:
/// <list type="number">
/// <item>After a <see cref="Connected"/> and until the next <see cref="Gap"/> every exit is in the stream once, in containerd's order.</item>
/// <item>A <see cref="Connected"/> comes after the subscription stands, so a list that is asked for on it, together with the exits
/// behind it, leaves nothing out. The two overlap: an exit may be in both.</item>
/// <item>It never ends by itself, whatever containerd does, and never holds containerd up.</item>
/// </list>
/// What it may not: that a hung containerd is noticed at once (it takes <see cref="ContainerdEventsOptions.ProofInterval"/> and
/// <see cref="ContainerdEventsOptions.ProofTimeout"/>), and that events of containerd's shims are never lost within containerd.
/// The periodic list covers both.
/// </remarks>
public sealed class ContainerdEvents
{
    internal const string ExitTopic = "/tasks/exit";
    internal const string OomTopic = "/tasks/oom";

    private readonly ContainerdEventsOptions _options;
    private readonly TimeProvider _time;
    private readonly ContainerdLog _log;
    private readonly EventQueue _queue;
    private readonly OomMarks _ooms;
    private volatile bool _connected;
    private bool _malformedSeen;

    /// <summary>Does nothing before <see cref="RunAsync"/>.</summary>
    public ContainerdEvents(ContainerdEventsOptions options, ILogger logger, TimeProvider? time = null)
    {
        _options = options;
        _time = time ?? TimeProvider.System;
        _log = new ContainerdLog(logger);
        _queue = new EventQueue(options.Capacity, _log);
        _ooms = new OomMarks(options.OomWindow, _time);
    }

    /// <summary>The ordered stream, for one reader; completes when <see cref="RunAsync"/> has ended.</summary>
    public ChannelReader<BackendEvent> Reader => _queue.Reader;

    /// <summary>A subscription stands now.</summary>
    public bool IsConnected => _connected;

    /// <summary>Follows exits until <paramref name="stop"/> is cancelled; throws nothing.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        var delay = new ReconnectDelay(_options, Random.Shared.NextDouble);
        long lostAt = _time.GetTimestamp();
        bool reported = false;
        while (!stop.IsCancellationRequested)
        {
            (GapReason reason, StatusCode code) = await FollowAsync(stop).ConfigureAwait(false);
            if (stop.IsCancellationRequested)
            {
                break;
            }

            if (_connected)
            {
                _connected = false;
                _queue.Write(new Gap(reason), connected: false);
                lostAt = _time.GetTimestamp();
                delay.Reset();
                reported = false;
            }

            if (reported)
            {
                _log.EventsStillLost(_options.SocketPath, reason, code);
            }
            else
            {
                _log.EventsLost(_options.SocketPath, reason, code);
                reported = true;
            }

            try
            {
                await Task.Delay(delay.Next(_time.GetElapsedTime(lostAt)), _time, stop).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                break;
            }
        }

        _connected = false;
        _queue.Complete();
    }

    private async Task<(GapReason Reason, StatusCode Code)> FollowAsync(CancellationToken stop)
    {
        try
        {
            _malformedSeen = false;
            // A connection of its own each time: after a hang, one that is left over would be tried again first.
            using var subscription = new Subscription(_options, _time, OnStood, OnEnvelope, _log.ProofRefused);
            return await subscription.RunAsync(stop).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _log.EventsFailed(e);
            return (GapReason.Ended, StatusCode.Internal);
        }
    }

    private void OnStood()
    {
        _connected = true;
        _queue.Write(new Connected(), connected: true);
        _log.EventsConnected(_options.SocketPath);
    }

    private void OnEnvelope(Envelope? envelope)
    {
        if (envelope?.Event is null)
        {
            Malformed(envelope?.Topic ?? "");
            return;
        }

        if (envelope.Namespace != _options.Namespace)
        {
            return;
        }

        switch (envelope.Topic)
        {
            case ExitTopic:
                if (TryRead(envelope, TaskExit.Parser, TaskExit.Descriptor.FullName, out TaskExit exit) && exit.ContainerId.Length > 0)
                {
                    OnExit(exit, envelope.Timestamp);
                    return;
                }

                break;
            case OomTopic:
                if (TryRead(envelope, TaskOOM.Parser, TaskOOM.Descriptor.FullName, out TaskOOM oom) && oom.ContainerId.Length > 0)
                {
                    _ooms.Mark(oom.ContainerId);
                    _queue.Write(new ContainerOutOfMemory(oom.ContainerId), connected: true);
                    return;
                }

                break;
            default:
                return;
        }

        Malformed(envelope.Topic);
    }

    private void OnExit(TaskExit exit, Timestamp? published)
    {
        // Every exec'd process, probes included, ends with such an event too.
        if (exit.Id != exit.ContainerId)
        {
            return;
        }

        DateTimeOffset at = ToTime(exit.ExitedAt) ?? ToTime(published) ?? _time.GetUtcNow();
        _queue.Write(new ContainerExited(exit.ContainerId, exit.ExitStatus, at, _ooms.Take(exit.ContainerId)), connected: true);
    }

    private static bool TryRead<T>(Envelope envelope, MessageParser<T> parser, string typeName, out T message)
        where T : IMessage<T>
    {
        message = default!;
        string url = envelope.Event.TypeUrl;
        if (url.AsSpan(url.LastIndexOf('/') + 1) is var name && !name.SequenceEqual(typeName))
        {
            return false;
        }

        try
        {
            message = parser.ParseFrom(envelope.Event.Value);
            return true;
        }
        catch (InvalidProtocolBufferException)
        {
            return false;
        }
    }

    /// <summary>Null when there is none, and for what is no time: the fields are plain numbers on the wire.</summary>
    private static DateTimeOffset? ToTime(Timestamp? timestamp)
    {
        try
        {
            return timestamp is null || timestamp.Seconds <= 0 ? null : timestamp.ToDateTimeOffset();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private void Malformed(string topic)
    {
        // Once for each subscription: whoever writes one such event may write thousands.
        if (!_malformedSeen)
        {
            _malformedSeen = true;
            _log.EventMalformed(topic);
        }
    }
}
