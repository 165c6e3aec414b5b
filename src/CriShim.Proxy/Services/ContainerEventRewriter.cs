using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.Proxy.Services;

/// <summary>
/// GetContainerEvents as lists and statuses tell the story (rule 1): nothing of a replacement that is not shown, no end of an instance
/// that is shown RUNNING, and all of it in order once it is shown.
/// </summary>
/// <remarks>
/// <para>
/// A sandbox's messages form a line. One that must not go yet stops the line: the end of an instance that is shown RUNNING, until it no
/// longer is; and, once a replacement is shown, what tells of it or of its predecessor, until a message has come whose statuses say the
/// same as lists do by then. Whatever has waited goes out with the newest statuses, so that a caller that takes each message for the
/// whole truth of its pod, as the kubelet does, never goes back to an older one. What tells of a replacement that is not shown steps out
/// of the line, and back in, or is dropped when that is removed.
/// </para>
/// <para>
/// Of a container that is shown completed while it runs the backend sends no STOPPED then; supervision makes it, and it goes out behind
/// the container's own STARTED. What the backend tells later of its true end, and of what runs in its place, goes no further.
/// </para>
/// <para>All that waits is bounded: in number, in bytes, and in time. Beyond that it goes as lists tell it at that moment.</para>
/// </remarks>
/// <param name="supervision">Says what is shown.</param>
/// <param name="time">The clock.</param>
/// <param name="watch">Gets every event; null: nobody wants to know.</param>
internal sealed class ContainerEventRewriter(ISupervision supervision, TimeProvider time, Action<ContainerEventResponse>? watch) : StreamRewriter
{
    /// <summary>How long the backend may take to send what it has done: milliseconds are usual.</summary>
    public static readonly TimeSpan SettlingTime = TimeSpan.FromSeconds(1);

    /// <summary>Longer than any instance is shown RUNNING after its end: supervision says before that that it no longer is.</summary>
    public static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(15);

    /// <summary>So many messages wait at most: a node's worth of sidecars that die at once.</summary>
    public const int MaxWaiting = 2048;

    private readonly Dictionary<string, Line> _lines = new(StringComparer.Ordinal);

    /// <summary>Containers whose STOPPED has gone out, and whose DELETED has not.</summary>
    private readonly HashSet<string> _endsTold = new(StringComparer.Ordinal);

    /// <summary>Containers whose STARTED has gone out, as far as it was looked at.</summary>
    private readonly HashSet<string> _startsTold = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<ContainerEventResponse> _made = new();
    private Action<ContainerEventResponse>? _onEndMade;
    private Action<string>? _onViewChanged;
    private long _attentiveUntil;
    private volatile bool _isWaiting;
    private int _waiting;
    private int _waitingBytes;

    private enum Decision
    {
        Pass,
        Wait,
        StepAside,
        Drop,
    }

    public override bool IsAttentive => _isWaiting || time.GetTimestamp() < Volatile.Read(ref _attentiveUntil);

    private bool IsFull => _waiting > MaxWaiting || _waitingBytes > RewrittenStream.MaxKept;

    /// <summary>An end may be news to supervision, and what is deleted may never have been shown; all else is as the backend says.</summary>
    public override bool PassesUnseen(ReadOnlySpan<byte> framed) =>
        watch is null && !supervision.RewritesViews && TypeOf(framed[PrefixLength..])
            is ContainerEventType.ContainerCreatedEvent or ContainerEventType.ContainerStartedEvent;

    public override void Begin(Action signal)
    {
        _onViewChanged = _ =>
        {
            // Messages that are under way may be older than this change, also when nothing is rewritten any more.
            Volatile.Write(ref _attentiveUntil, time.GetTimestamp() + Ticks(SettlingTime));
            signal();
        };
        _onEndMade = change =>
        {
            _made.Enqueue(change);
            signal();
        };
        supervision.ViewChanged += _onViewChanged;
        supervision.EndMade += _onEndMade;
    }

    public override void Close()
    {
        supervision.ViewChanged -= _onViewChanged;
        supervision.EndMade -= _onEndMade;
    }

    public override void OnMessage(byte[] framed, StreamOutput output)
    {
        TakeMade(output);
        if (framed[0] != 0)
        {
            // Compressed: nobody asked for that, and nobody here can read it.
            output.Pass(framed);
            return;
        }

        Take(new Waiting(framed, ContainerEventResponse.Parser.ParseFrom(framed.AsSpan(PrefixLength))), output);
    }

    private void TakeMade(StreamOutput output)
    {
        while (_made.TryDequeue(out ContainerEventResponse? change))
        {
            Take(new Waiting([], change), output);
        }
    }

    private void Take(Waiting waiting, StreamOutput output)
    {
        ContainerEventResponse change = waiting.Event;
        watch?.Invoke(change);
        string sandboxId = change.PodSandboxStatus is { Id.Length: > 0 } sandbox
            ? sandbox.Id
            : supervision.SandboxOf(change.ContainerId) ?? change.ContainerId;
        Line line = _lines.TryGetValue(sandboxId, out Line? known) ? known : new Line(sandboxId);
        if (change.PodSandboxStatus is not null)
        {
            line.Newest = change;
        }

        _waiting++;
        _waitingBytes += waiting.Framed.Length;
        line.Queue.Insert(change.ContainerEventType == ContainerEventType.ContainerStoppedEvent ? PlaceOfEnd(line, change) : PlaceOf(line, change), waiting);
        Advance(line, output, isLast: false);
    }

    public override void OnSignal(StreamOutput output)
    {
        TakeMade(output);
        foreach (Line line in _lines.Values.ToArray())
        {
            Advance(line, output, isLast: false);
        }
    }

    public override void OnEnd(StreamOutput output)
    {
        // Whoever asks again lists first.
        foreach (Line line in _lines.Values.ToArray())
        {
            Advance(line, output, isLast: true);
        }
    }

    /// <summary>The type of a message that is not parsed otherwise; null where it can't be read.</summary>
    internal static ContainerEventType? TypeOf(ReadOnlySpan<byte> message)
    {
        const int typeField = ContainerEventResponse.ContainerEventTypeFieldNumber;
        var type = default(ContainerEventType);
        while (!message.IsEmpty)
        {
            if (!TryTakeVarint(ref message, out ulong tag))
            {
                return null;
            }

            ulong length = 0;
            switch ((WireFormat.WireType)(tag & 7))
            {
                case WireFormat.WireType.Varint when TryTakeVarint(ref message, out ulong value):
                    type = tag >> 3 == typeField ? (ContainerEventType)value : type;
                    break;
                case WireFormat.WireType.LengthDelimited when TryTakeVarint(ref message, out length):
                    break;
                case WireFormat.WireType.Fixed64:
                    length = sizeof(ulong);
                    break;
                case WireFormat.WireType.Fixed32:
                    length = sizeof(uint);
                    break;
                default:
                    return null;
            }

            if (length > (ulong)message.Length)
            {
                return null;
            }

            message = message[(int)length..];
        }

        return type;
    }

    private static bool TryTakeVarint(ref ReadOnlySpan<byte> bytes, out ulong value)
    {
        value = 0;
        for (int i = 0; i < bytes.Length && i < 10; i++)
        {
            value |= (ulong)(bytes[i] & 0x7f) << (7 * i);
            if (bytes[i] < 0x80)
            {
                bytes = bytes[(i + 1)..];
                return true;
            }
        }

        return false;
    }

    private long Ticks(TimeSpan span) => (long)(span.TotalSeconds * time.TimestampFrequency);

    /// <summary>Lets go what may go, in order.</summary>
    private void Advance(Line line, StreamOutput output, bool isLast)
    {
        StepBackIn(line);
        while (line.Queue.Count > 0)
        {
            Waiting first = line.Queue[0];
            Decision decision = Decide(line, first, output, isLast);
            if (decision == Decision.Wait)
            {
                break;
            }

            line.Queue.RemoveAt(0);
            switch (decision)
            {
                case Decision.StepAside:
                    line.Aside.Add(first);
                    break;
                case Decision.Drop:
                    Drop(first, output);
                    foreach (Waiting earlier in line.Aside.FindAll(one => one.Event.ContainerId == first.Event.ContainerId))
                    {
                        _ = line.Aside.Remove(earlier);
                        Drop(earlier, output);
                    }

                    break;
                default:
                    PutOut(line, first, output);
                    break;
            }
        }

        if (isLast)
        {
            line.Queue.Concat(line.Aside).ToList().ForEach(one => Drop(one, output));
            line.Queue.Clear();
            line.Aside.Clear();
        }

        // All that was put into the line or taken from it ends here: what the loop may pass by depends on it.
        if (line.Queue.Count + line.Aside.Count == 0)
        {
            _ = _lines.Remove(line.SandboxId);
        }
        else
        {
            line.Queue.ForEach(one => one.HasWaited = true);
            line.Aside.ForEach(one => one.HasWaited = true);
            _lines[line.SandboxId] = line;
        }

        _isWaiting = _lines.Count > 0;
    }

    private Decision Decide(Line line, Waiting first, StreamOutput output, bool isLast)
    {
        ContainerEventResponse change = first.Event;
        bool isEnd = change.ContainerEventType == ContainerEventType.ContainerStoppedEvent;
        ShownContainer? shown = ShownOf(line, first);
        if (shown?.As == ShownAs.Hidden)
        {
            bool isOver = isLast || IsFull || shown.Value.IsForGood || change.ContainerEventType == ContainerEventType.ContainerDeletedEvent;
            return isOver ? Decision.Drop : Decision.StepAside;
        }

        if (isEnd && shown?.As == ShownAs.Masked)
        {
            return _endsTold.Contains(change.ContainerId) ? Decision.Drop
                : first.IsMade && !isLast && IsStartOnItsWay(change) && MayWait(SettlingTime, ref first.WaitsForNewer, output) ? Decision.Wait
                : Decision.Pass;
        }

        if (isEnd && shown?.As == ShownAs.Running)
        {
            return isLast ? Decision.Drop : MayWait(LongestWait, ref first.WaitsForView, output) ? Decision.Wait : Decision.Pass;
        }

        return !isLast && IsOlderThanViews(line, change) && MayWait(SettlingTime, ref first.WaitsForNewer, output)
            ? Decision.Wait
            : Decision.Pass;
    }

    private bool MayWait(TimeSpan atMost, ref long? since, StreamOutput output)
    {
        if (IsFull)
        {
            return false;
        }

        if (since is { } began)
        {
            return time.GetElapsedTime(began) < atMost;
        }

        since = time.GetTimestamp();
        output.Wake(atMost);
        return true;
    }

    private ShownContainer? ShownOf(Line line, Waiting waiting)
    {
        ContainerEventResponse change = waiting.Event;
        ContainerStatus? status = change.ContainersStatuses.FirstOrDefault(one => one.Id == change.ContainerId);
        (string name, uint attempt) = (status?.Metadata?.Name ?? "", status?.Metadata?.Attempt ?? 0);

        // An end that was made is no word of the backend's: what it is about runs.
        return change.ContainerEventType == ContainerEventType.ContainerStoppedEvent && !waiting.IsMade
            ? supervision.See(change.ContainerId, line.SandboxId, name, attempt, ContainerState.ContainerExited)
            : supervision.Show(change.ContainerId, line.SandboxId, name, attempt);
    }

    /// <summary>
    /// A message is about a replacement that is shown, or about its predecessor, and no statuses have come yet that say what lists say:
    /// they are on their way.
    /// </summary>
    private bool IsOlderThanViews(Line line, ContainerEventResponse change)
    {
        if (line.Newest is not { } newest)
        {
            return false;
        }

        string current = supervision.CurrentInstance(change.ContainerId);
        ContainerStatus? status = newest.ContainersStatuses.FirstOrDefault(one => one.Id == current);
        if (status is null)
        {
            return current != change.ContainerId && change.ContainerEventType == ContainerEventType.ContainerStoppedEvent;
        }

        // Its predecessor's end is to be told before it, however late the backend is with that.
        return (status.State == ContainerState.ContainerCreated && ShownAsOf(line, status) == ShownAs.Running)
            || (current == change.ContainerId && newest.ContainersStatuses.Any(one => one.Metadata?.Name == status.Metadata?.Name
                && (one.State == ContainerState.ContainerRunning ? ShownAsOf(line, one) == ShownAs.Exited : IsEndDue(one, status))));
    }

    /// <summary>It has just started, and its STARTED has not come: before that nobody knows of it.</summary>
    private bool IsStartOnItsWay(ContainerEventResponse end) => !_startsTold.Contains(end.ContainerId)
        && end.ContainersStatuses.FirstOrDefault(one => one.Id == end.ContainerId) is { } status
        && end.CreatedAt - status.StartedAt < SettlingTime.Ticks * TimeSpan.NanosecondsPerTick;

    /// <summary>The instance before this one has ended, by a status, and its STOPPED has not come: a list can have told supervision first.</summary>
    private bool IsEndDue(ContainerStatus before, ContainerStatus status) =>
        before.State == ContainerState.ContainerExited && before.Id != status.Id
        && (before.Metadata?.Attempt ?? 0) + 1 >= (status.Metadata?.Attempt ?? 0) && !_endsTold.Contains(before.Id) && supervision.CurrentInstance(before.Id) == status.Id;

    private ShownAs? ShownAsOf(Line line, ContainerStatus status) =>
        supervision.See(status.Id, line.SandboxId, status.Metadata?.Name ?? "", status.Metadata?.Attempt ?? 0, status.State)?.As;

    /// <summary>Behind all others, but before the container's own end if that was made: it was quicker than the backend's stream.</summary>
    private static int PlaceOf(Line line, ContainerEventResponse change)
    {
        int end = change.ContainerEventType == ContainerEventType.ContainerDeletedEvent ? -1
            : line.Queue.FindIndex(one => one.IsMade && one.Event.ContainerId == change.ContainerId);
        return end < 0 ? line.Queue.Count : end;
    }

    /// <summary>Before what tells of its successor: the backend may be late with an end.</summary>
    private int PlaceOfEnd(Line line, ContainerEventResponse end)
    {
        string current = supervision.CurrentInstance(end.ContainerId);
        int successor = current == end.ContainerId ? -1 : line.Queue.FindIndex(one => one.Event.ContainerId == current);
        return successor < 0 ? line.Queue.Count : successor;
    }

    /// <summary>What tells of a replacement that is shown by now is next, behind its predecessor's end if that waits.</summary>
    private void StepBackIn(Line line)
    {
        int place = 0;
        foreach (Waiting waiting in line.Aside.ToArray())
        {
            if (ShownOf(line, waiting)?.As != ShownAs.Hidden)
            {
                int end = line.Queue.FindLastIndex(one => one.Event.ContainerEventType == ContainerEventType.ContainerStoppedEvent
                    && one.Event.ContainerId != waiting.Event.ContainerId
                    && supervision.CurrentInstance(one.Event.ContainerId) == waiting.Event.ContainerId);
                place = Math.Max(place, end + 1);
                _ = line.Aside.Remove(waiting);
                line.Queue.Insert(place++, waiting);
            }
        }
    }

    private void Note(ContainerEventResponse change)
    {
        if (change.ContainerEventType == ContainerEventType.ContainerDeletedEvent)
        {
            _ = _endsTold.Remove(change.ContainerId);
            _ = _startsTold.Remove(change.ContainerId);
        }
        else if (change.ContainerEventType == ContainerEventType.ContainerStartedEvent)
        {
            if (_startsTold.Count >= MaxWaiting)
            {
                _startsTold.Clear();
            }

            _ = _startsTold.Add(change.ContainerId);
        }
        else if (change.ContainerEventType == ContainerEventType.ContainerStoppedEvent)
        {
            if (_endsTold.Count >= MaxWaiting)
            {
                _endsTold.Clear();
            }

            _ = _startsTold.Remove(change.ContainerId);
            _ = _endsTold.Add(change.ContainerId);
        }
    }

    private void PutOut(Line line, Waiting waiting, StreamOutput output)
    {
        Forget(waiting);
        ContainerEventResponse change = waiting.Event;
        Note(change);
        if (waiting.HasWaited && line.Newest is { } newest && !ReferenceEquals(newest, change))
        {
            change = change.Clone();
            change.PodSandboxStatus = newest.PodSandboxStatus;
            change.ContainersStatuses.Clear();
            change.ContainersStatuses.AddRange(newest.ContainersStatuses);
        }

        change = ContainerViews.Apply(change, line.SandboxId, supervision);
        if (ReferenceEquals(change, waiting.Event) && !waiting.IsMade)
        {
            output.Pass(waiting.Framed);
            return;
        }

        output.Replace(Frame(change), waiting.Framed.Length);
    }

    private void Drop(Waiting waiting, StreamOutput output)
    {
        Forget(waiting);
        output.Drop(waiting.Framed.Length);
    }

    private void Forget(Waiting waiting)
    {
        _waiting--;
        _waitingBytes -= waiting.Framed.Length;
    }

    /// <summary>The messages of one sandbox.</summary>
    private sealed class Line(string sandboxId)
    {
        public string SandboxId => sandboxId;

        public List<Waiting> Queue { get; } = [];

        /// <summary>What tells of replacements that are not shown.</summary>
        public List<Waiting> Aside { get; } = [];

        /// <summary>The last that came with the sandbox's statuses: no older one may be told after it.</summary>
        public ContainerEventResponse? Newest { get; set; }
    }

    private sealed class Waiting(byte[] framed, ContainerEventResponse change)
    {
        public long? WaitsForView;
        public long? WaitsForNewer;

        public byte[] Framed => framed;

        /// <summary>Supervision's, not the backend's.</summary>
        public bool IsMade => framed.Length == 0;

        public ContainerEventResponse Event => change;

        public bool HasWaited { get; set; }
    }
}
