using System.Buffers.Binary;
using Google.Protobuf;

namespace CriShim.Proxy.Services;

/// <summary>
/// What stands between a stream of messages and its caller. One message or signal at a time, in order, on the pool;
/// <see cref="PassesUnseen"/> alone is asked on the loop's thread.
/// </summary>
/// <remarks>Messages are given and put out framed: with the five octets that gRPC puts before each.</remarks>
internal abstract class StreamRewriter
{
    /// <summary>Length and flag.</summary>
    protected const int PrefixLength = 5;

    /// <summary>Something is kept back, or a message may be older than what callers were shown since: the loop lets none pass unseen.</summary>
    public abstract bool IsAttentive { get; }

    /// <summary>Loop: it may go to the caller without being given to the rewriter, if nothing is before it.</summary>
    public abstract bool PassesUnseen(ReadOnlySpan<byte> framed);

    /// <summary>The next message, whole.</summary>
    public abstract void OnMessage(byte[] framed, StreamOutput output);

    /// <summary>Something that it waits for may have come: a view that changed, or the time it asked for.</summary>
    public virtual void OnSignal(StreamOutput output)
    {
    }

    /// <summary>The last message has come: what is kept must go now, or never.</summary>
    public virtual void OnEnd(StreamOutput output)
    {
    }

    /// <summary>Has <paramref name="signal"/> called, on any thread, when <see cref="OnSignal"/> is to be.</summary>
    public virtual void Begin(Action signal)
    {
    }

    /// <summary>The stream is over.</summary>
    public virtual void Close()
    {
    }

    protected static byte[] Frame(IMessage message)
    {
        byte[] framed = new byte[PrefixLength + message.CalculateSize()];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), framed.Length - PrefixLength);
        message.WriteTo(framed.AsSpan(PrefixLength));
        return framed;
    }
}

/// <summary>What a rewriter puts out in one step.</summary>
internal sealed class StreamOutput
{
    /// <summary>In order: what goes to the caller, null for nothing, and how many bytes of the backend's it stands for.</summary>
    public List<(byte[]? Bytes, int Received)> Pieces { get; } = [];

    /// <summary>When a signal is wanted.</summary>
    public TimeSpan? WakeAfter { get; private set; }

    /// <summary>It goes on as it came.</summary>
    public void Pass(byte[] framed) => Pieces.Add((framed, framed.Length));

    /// <summary>It goes on in place of a message of another length.</summary>
    public void Replace(byte[] framed, int received) => Pieces.Add((framed, received));

    /// <summary>It goes no further.</summary>
    public void Drop(int received) => Pieces.Add((null, received));

    /// <summary>Asks for a signal after this time, or sooner.</summary>
    public void Wake(TimeSpan after) => WakeAfter = WakeAfter < after ? WakeAfter : after;
}
