using System.Collections.Concurrent;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.RawHttp2;
using Grpc.Core;

namespace CriShim.TestSupport.Backends;

/// <summary>
/// Stands between crishim and a real containerd, and can hold a call at one of its two ends: what happens to crishim meanwhile happens
/// exactly between two steps.
/// </summary>
/// <remarks>Calls go on as bytes, with their metadata, errors with their text.</remarks>
public sealed class HoldingRelay : IAsyncDisposable
{
    private static readonly Marshaller<byte[]> s_bytes = Marshallers.Create<byte[]>(value => value, value => value);
    private static readonly string[] s_ownHeaders = ["host", "te", "content-type", "user-agent", "grpc-timeout", "grpc-accept-encoding"];

    private readonly string _backendPath;
    private readonly Lock _lock = new();
    private readonly List<RelayHold> _holds = [];
    private readonly ConcurrentQueue<string> _methods = new();
    private FakeContainerd _front = null!;
    private CriCaller _backend;

    private HoldingRelay(string backendPath)
    {
        _backendPath = backendPath;
        _backend = new CriCaller(backendPath);
    }

    public string SocketPath => _front.SocketPath;

    /// <summary>Names of the methods that came, in their order.</summary>
    public IReadOnlyList<string> Methods => [.. _methods];

    public static async Task<HoldingRelay> StartAsync(string socketPath, string backendPath)
    {
        var relay = new HoldingRelay(backendPath);
        relay._front = FakeContainerd.Create(socketPath);
        relay._front.Otherwise = relay.RelayAsync;
        await relay._front.AppearAsync();
        return relay;
    }

    /// <summary>Holds the next call of a method, once; or one that comes after some others.</summary>
    public RelayHold Hold(string method, HoldPoint point, int after = 0)
    {
        var hold = new RelayHold(method, point) { After = after };
        lock (_lock)
        {
            _holds.Add(hold);
        }

        return hold;
    }

    /// <summary>The backend was killed: so are the connections to it, and the one to crishim, as it would be.</summary>
    public void Cut()
    {
        CriCaller before = _backend;
        _backend = new CriCaller(_backendPath);
        before.Dispose();
        _front.CutConnections();
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            _holds.ForEach(hold => hold.Drop());
        }

        await _front.DisposeAsync();
        _backend.Dispose();
    }

    private async Task RelayAsync(FakeCall call)
    {
        string method = call.Path[(call.Path.LastIndexOf('/') + 1)..];
        byte[] body = await call.ReadBodyAsync();
        _methods.Enqueue(method);
        if (Take(method, HoldPoint.Received) is { } held && !await held.ArriveAsync())
        {
            call.Context.Abort();
            return;
        }

        // A caller that is gone does not stop a call that the backend has: it may well be carried out (and here it always is).
        var options = new CallOptions(Metadata(call), cancellationToken: CancellationToken.None);
        byte[] request = body.Length > 5 ? body[5..] : [];
        try
        {
            if (method is "Subscribe" or "GetContainerEvents")
            {
                await StreamAsync(call, method, options, request);
                return;
            }

            byte[] answer = await _backend.Invoker.AsyncUnaryCall(Method(call.Path, MethodType.Unary), null, options, request);
            if (Take(method, HoldPoint.Answered) is { } kept && !await kept.ArriveAsync())
            {
                call.Context.Abort();
                return;
            }

            await call.SendAsync(GrpcWire.Message(answer));
            await call.EndAsync();
        }
        catch (RpcException failure) when (!call.Context.Response.HasStarted)
        {
            await call.TrailersOnlyAsync((int)failure.StatusCode, new HeaderField("grpc-message", Uri.EscapeDataString(failure.Status.Detail)));
        }
        catch (RpcException failure)
        {
            await call.EndAsync((int)failure.StatusCode);
        }
    }

    private async Task StreamAsync(FakeCall call, string method, CallOptions options, byte[] request)
    {
        using var gone = new CancellationTokenSource();
        _ = call.Cancelled.ContinueWith(_ => gone.Cancel(), TaskScheduler.Default);
        using AsyncServerStreamingCall<byte[]> stream = _backend.Invoker.AsyncServerStreamingCall(
            Method(call.Path, MethodType.ServerStreaming), null, options.WithCancellationToken(gone.Token), request);
        while (await stream.ResponseStream.MoveNext(gone.Token))
        {
            if (Take(method, HoldPoint.Answered) is { } held && !await held.ArriveAsync())
            {
                call.Context.Abort();
                return;
            }

            await call.SendAsync(GrpcWire.Message(stream.ResponseStream.Current));
        }

        await call.EndAsync();
    }

    private static Method<byte[], byte[]> Method(string path, MethodType type)
    {
        string[] parts = path.Trim('/').Split('/');
        return new Method<byte[], byte[]>(type, parts[0], parts[1], s_bytes, s_bytes);
    }

    private static Metadata Metadata(FakeCall call)
    {
        var metadata = new Metadata();
        foreach (HeaderField header in call.RequestHeaders)
        {
            if (!header.Name.StartsWith(':') && !s_ownHeaders.Contains(header.Name) && !header.Name.EndsWith("-bin", StringComparison.Ordinal))
            {
                metadata.Add(header.Name, header.Value);
            }
        }

        return metadata;
    }

    private RelayHold? Take(string method, HoldPoint point)
    {
        lock (_lock)
        {
            RelayHold? hold = _holds.Find(one => one.Method == method && one.Point == point);
            if (hold is { After: > 0 })
            {
                hold.After--;
                return null;
            }

            if (hold is not null)
            {
                _ = _holds.Remove(hold);
            }

            return hold;
        }
    }
}

/// <summary>Where a call is held.</summary>
public enum HoldPoint
{
    /// <summary>crishim has sent it, the backend does not have it.</summary>
    Received,

    /// <summary>The backend has carried it out, crishim does not know.</summary>
    Answered,
}

/// <summary>One held call.</summary>
public sealed class RelayHold(string method, HoldPoint point)
{
    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<bool> _goesOn = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Method => method;

    public HoldPoint Point => point;

    /// <summary>How many calls pass before it.</summary>
    internal int After { get; set; }

    /// <summary>The call is here.</summary>
    public Task ReachedAsync() => _reached.Task.Bounded($"{method} is {point}");

    /// <summary>The call is here, or was.</summary>
    public bool IsReached => _reached.Task.IsCompleted;

    /// <summary>It goes on.</summary>
    public void Release() => _goesOn.TrySetResult(true);

    /// <summary>It is lost, as with its connection.</summary>
    public void Drop() => _goesOn.TrySetResult(false);

    /// <summary>For the side that holds: true when the call is to go on.</summary>
    public Task<bool> ArriveAsync()
    {
        _reached.TrySetResult();
        return _goesOn.Task;
    }
}
