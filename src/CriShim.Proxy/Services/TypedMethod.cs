using System.Buffers;
using Grpc.Core;

namespace CriShim.Proxy.Services;

/// <summary>Whether a call with this request's message is to be looked at.</summary>
internal delegate bool RequestQuestion(ReadOnlySpan<byte> message);

/// <summary>A handler of the gRPC service class, bound to one path.</summary>
/// <param name="wantsToLook">
/// Asked for every call: false sends it past the handler, unparsed. It runs on the loop's thread, so it only reads a flag.
/// </param>
internal abstract class TypedMethod(Func<bool> wantsToLook)
{
    public Func<bool> WantsToLook { get; } = wantsToLook;

    /// <summary>
    /// Asked for every call that <see cref="WantsToLook"/> lets in, with its request's message: false sends it on, unparsed from there. Runs
    /// on the loop's thread.
    /// </summary>
    public RequestQuestion? WantsRequest { get; init; }

    /// <summary>Runs the handler, and hands its answer to the call.</summary>
    public abstract Task InvokeAsync(TypedCall call);

    /// <summary>Serializes what a handler answers with.</summary>
    protected static byte[] Serialize<T>(Marshaller<T> marshaller, T message)
    {
        var context = new BufferSerialization();
        marshaller.ContextualSerializer(message, context);
        return context.Bytes;
    }

    private sealed class BufferSerialization : SerializationContext
    {
        private readonly ArrayBufferWriter<byte> _writer = new();
        private byte[]? _payload;

        public byte[] Bytes => _payload ?? _writer.WrittenSpan.ToArray();

        public override void Complete(byte[] payload) => _payload = payload;

        public override IBufferWriter<byte> GetBufferWriter() => _writer;

        public override void SetPayloadLength(int payloadLength)
        {
        }

        public override void Complete()
        {
        }
    }
}

/// <summary>A unary handler.</summary>
internal sealed class UnaryMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse> handler, Func<bool> wantsToLook)
    : TypedMethod(wantsToLook)
    where TRequest : class
    where TResponse : class
{
    public override async Task InvokeAsync(TypedCall call)
    {
        TResponse response = await handler(call.ReadRequest(method.RequestMarshaller), call).ConfigureAwait(false);
        call.Complete(ReferenceEquals(response, call.ForwardedResponse) ? null : Serialize(method.ResponseMarshaller, response));
    }
}

/// <summary>A handler that answers with a stream: it observes what passes.</summary>
internal sealed class StreamMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse> handler, Func<bool> wantsToLook)
    : TypedMethod(wantsToLook)
    where TRequest : class
    where TResponse : class
{
    public override Task InvokeAsync(TypedCall call) =>
        handler(call.ReadRequest(method.RequestMarshaller), UnusedStream.Instance, call);

    /// <summary>Streams are forwarded as bytes and watched from beside: nothing is written by a handler.</summary>
    private sealed class UnusedStream : IServerStreamWriter<TResponse>
    {
        public static readonly UnusedStream Instance = new();

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(TResponse message) =>
            throw new InvalidOperationException("a forwarded stream is not written by its handler");
    }
}
