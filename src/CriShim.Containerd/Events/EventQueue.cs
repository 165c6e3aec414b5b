using System.Threading.Channels;

namespace CriShim.Containerd.Events;

/// <summary>
/// Entries between the subscription and its reader. Writing never waits: what a subscriber does not take, containerd keeps in
/// its own memory without bound. So the subscription is always drained, and the bound is here.
/// </summary>
internal sealed class EventQueue
{
    private readonly Channel<BackendEvent> _channel;
    private readonly ContainerdLog _log;
    private readonly Lock _writing = new();

    public EventQueue(int capacity, ContainerdLog log)
    {
        // At least room for the Gap and the Connected that replace everything else.
        _channel = Channel.CreateBounded<BackendEvent>(Math.Max(capacity, 2));
        _log = log;
    }

    public ChannelReader<BackendEvent> Reader => _channel.Reader;

    /// <summary>Appends; when full, leaves only a gap instead: the list that follows it tells all that the entries told.</summary>
    /// <param name="entry">What happened.</param>
    /// <param name="connected">A subscription stands after this entry.</param>
    public void Write(BackendEvent entry, bool connected)
    {
        lock (_writing)
        {
            if (_channel.Writer.TryWrite(entry))
            {
                return;
            }

            int dropped = 1;
            while (_channel.Reader.TryRead(out _))
            {
                dropped++;
            }

            _log.EventsOverflowed(dropped);
            _ = _channel.Writer.TryWrite(new Gap(GapReason.Overflow));
            if (connected)
            {
                _ = _channel.Writer.TryWrite(new Connected());
            }
        }
    }

    public void Complete() => _channel.Writer.TryComplete();
}
