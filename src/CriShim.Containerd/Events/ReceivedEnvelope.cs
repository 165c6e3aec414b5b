using CriShim.Protocol.Containerd.Services.Events.V1;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.Containerd.Events;

/// <summary>A message of the subscription; <see cref="Value"/> is null when it is no envelope.</summary>
internal sealed class ReceivedEnvelope
{
    private static readonly ReceivedEnvelope s_malformed = new(null);

    private ReceivedEnvelope(Envelope? value) => Value = value;

    public Envelope? Value { get; }

    public static ReceivedEnvelope Read(DeserializationContext context)
    {
        try
        {
            return new ReceivedEnvelope(Envelope.Parser.ParseFrom(context.PayloadAsReadOnlySequence()));
        }
        catch (InvalidProtocolBufferException)
        {
            return s_malformed;
        }
    }
}
