using Grpc.Core;

namespace CriShim.Proxy.Services;

/// <summary>Binds the methods of a generated gRPC service to paths of the proxy.</summary>
/// <param name="wantsToLook">Gives, for a method's path, the question whether its handler looks at calls now; null: it never does.</param>
/// <param name="wantsRequest">Gives, for a method's path, the question whether it looks at a call with this request; null: at any.</param>
internal sealed class ServiceBinder(Func<string, Func<bool>?> wantsToLook, Func<string, RequestQuestion?>? wantsRequest = null) : ServiceBinderBase
{
    public Dictionary<string, TypedMethod> Methods { get; } = [];

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler)
    {
        if (handler is not null && wantsToLook(method.FullName) is { } question)
        {
            Methods.Add(method.FullName, new UnaryMethod<TRequest, TResponse>(method, handler, question)
            {
                WantsRequest = wantsRequest?.Invoke(method.FullName),
            });
        }
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler)
    {
        if (handler is not null && wantsToLook(method.FullName) is { } question)
        {
            Methods.Add(method.FullName, new StreamMethod<TRequest, TResponse>(method, handler, question));
        }
    }
}
