using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>A GetContainerEvents stream that is open while something else happens.</summary>
internal sealed class EventWatch : IDisposable
{
    private readonly AsyncServerStreamingCall<ContainerEventResponse> _call;
    private readonly ConcurrentQueue<ContainerEventResponse> _seen = new();
    private readonly Task<RpcException?> _reading;

    public EventWatch(CriCaller caller)
    {
        _call = caller.Runtime.GetContainerEvents(new GetEventsRequest());
        _reading = ReadAsync();
    }

    /// <summary>The kinds of a container's events in order, up to its deletion; or why there are none.</summary>
    public async Task<string> OfAsync(string container, bool expected)
    {
        if (!expected)
        {
            var failure = await _reading.WaitAsync(TimeSpan.FromSeconds(10));
            return failure is null ? "ended" : $"{failure.StatusCode}: {failure.Status.Detail}";
        }

        string[] Kinds() => [.. _seen.Where(one => one.ContainerId == container).Select(one => one.ContainerEventType.ToString())];
        await Condition.BecomesTrueAsync("the stream of events has told of the container's deletion", TimeSpan.FromSeconds(20), () =>
            _reading.IsCompleted || Kinds().Contains(nameof(ContainerEventType.ContainerDeletedEvent)));
        return string.Join(", ", Kinds());
    }

    public void Dispose() => _call.Dispose();

    private async Task<RpcException?> ReadAsync()
    {
        try
        {
            await foreach (var one in _call.ResponseStream.ReadAllAsync())
            {
                _seen.Enqueue(one);
            }

            return null;
        }
        catch (RpcException failure)
        {
            return failure;
        }
    }
}
