using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Benchmarks.Backend;

/// <summary>
/// containerd's event service as far as a crishim needs it that nothing happens to: a subscription, and the event it publishes to
/// see that the subscription stands. Told apart by what their requests hold, as all calls here are.
/// </summary>
internal static class EventCall
{
    private const int FrameHeader = 5;

    public static byte[] PublishAnswer { get; } = CannedCall.Frame(new Empty());

    public static bool IsSubscribe(ReadOnlySpan<byte> request) => request.IndexOf("namespace==\""u8) >= 0;

    /// <summary>The framed envelope that subscribers get of a Publish; null for any other request.</summary>
    public static byte[]? ReadPublish(ReadOnlySpan<byte> request)
    {
        if (request.Length <= FrameHeader || request.IndexOf("/crishim/"u8) < 0)
        {
            return null;
        }

        var publish = PublishRequest.Parser.ParseFrom(request[FrameHeader..]);
        return CannedCall.Frame(new Envelope { Namespace = "crishim", Topic = publish.Topic, Event = publish.Event });
    }
}
