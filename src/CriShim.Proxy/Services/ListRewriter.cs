using Google.Protobuf;

namespace CriShim.Proxy.Services;

/// <summary>A list that comes as a stream: each message is rewritten as the list would be, and none waits.</summary>
/// <param name="parser">Of a message.</param>
/// <param name="apply">Gives what is shown of a message; the same object where that is the message itself.</param>
internal sealed class ListRewriter<T>(MessageParser<T> parser, Func<T, T> apply) : StreamRewriter
    where T : class, IMessage<T>
{
    public override bool IsAttentive => false;

    public override bool PassesUnseen(ReadOnlySpan<byte> framed) => false;

    public override void OnMessage(byte[] framed, StreamOutput output)
    {
        T? message = framed[0] == 0 ? parser.ParseFrom(framed.AsSpan(PrefixLength)) : null;
        if (message is null || apply(message) is not { } shown || ReferenceEquals(shown, message))
        {
            output.Pass(framed);
            return;
        }

        output.Replace(Frame(shown), framed.Length);
    }
}
