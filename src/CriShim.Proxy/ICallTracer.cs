using Grpc.Core;

namespace CriShim.Proxy;

/// <summary>Gets the calls that are part of a recorded trace, when they have ended.</summary>
public interface ICallTracer
{
    /// <summary>On the forwarding loop's thread: it must not wait, nor throw.</summary>
    public void OnCall(in TracedCall call);
}

/// <summary>One call of a recorded trace.</summary>
public readonly record struct TracedCall
{
    public required TraceParent Parent { get; init; }

    /// <summary>The path, such as <c>/runtime.v1.RuntimeService/Version</c>.</summary>
    public required string Path { get; init; }

    public required StatusCode Code { get; init; }

    /// <summary>Ids in the request, as the log has them; may be empty.</summary>
    public required string Subject { get; init; }

    public required DateTimeOffset StartedAt { get; init; }

    public required DateTimeOffset EndedAt { get; init; }

    /// <summary>When the backend had it; null: it had not.</summary>
    public required (DateTimeOffset From, DateTimeOffset To)? Backend { get; init; }
}
