using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Emulated;

/// <summary>
/// What a subscriber of GetContainerEvents is told of an emulated sidecar. containerd has one stream for each subscriber from 2.0 on only.
/// </summary>
[Collection(SidecarsOn21.Name)]
public sealed class EmulatedEventTests(Sidecars21 lab)
{
    [Fact]
    public async Task Started_AndReplaced_TellsOfOneStartAndOneEnd()
    {
        await using EmulatedRun run = await EmulatedRun.BeginAsync(lab);
        var told = new ConcurrentQueue<ContainerEventResponse>();
        using AsyncServerStreamingCall<ContainerEventResponse> call = run.Caller.Runtime.GetContainerEvents(new GetEventsRequest());
        Task reading = ReadAsync(call, told);
        await run.BecomesTrueAsync("the stream tells something", async () =>
        {
            // Of what is done before containerd serves the stream nobody is told.
            CreateContainerRequest probe = run.Pod.Recipe().Create(run.Sandbox, run.Pod.Recipe().Container("probe", "true", (uint)told.Count));
            string id = (await run.Bare.Runtime.CreateContainerAsync(probe)).ContainerId;
            _ = await run.Bare.Runtime.RemoveContainerAsync(new RemoveContainerRequest { ContainerId = id });
            return !told.IsEmpty;
        });

        await run.StartProxyAsync();
        ContainerStatus shown = await run.IsShownCompletedAsync();
        await run.StartAppAsync();
        _ = await run.KillProxyAsync();
        _ = await run.RunsAsync(1);
        run.Open("go");
        await run.BecomesTrueAsync("the app's end is told", () => Task.FromResult(told.Any(
            one => one.ContainerId == run.App && one.ContainerEventType == ContainerEventType.ContainerStoppedEvent)));
        call.Dispose();
        await reading;

        string[] names = [.. told.Where(one => one.ContainerId == run.Proxy).Select(one => one.ContainerEventType.ToString())];
        Assert.Equal(["ContainerCreatedEvent", "ContainerStartedEvent", "ContainerStoppedEvent"], names);
        HashSet<string> hidden = [.. (await run.ListAsync(run.Bare)).Select(one => one.Id).Where(id => id != run.Proxy)];
        Assert.NotEmpty(hidden);
        Assert.DoesNotContain(told, one => hidden.Contains(one.ContainerId) || one.ContainersStatuses.Any(status => hidden.Contains(status.Id)));
        bool hasEnded = false;
        foreach (ContainerEventResponse one in told)
        {
            hasEnded |= one.ContainerId == run.Proxy && one.ContainerEventType == ContainerEventType.ContainerStoppedEvent;
            foreach (ContainerStatus status in one.ContainersStatuses.Where(status => hasEnded && status.Id == run.Proxy))
            {
                Assert.Equal(
                    (ContainerState.ContainerExited, 0, "Completed", shown.FinishedAt), (status.State, status.ExitCode, status.Reason, status.FinishedAt));
            }
        }
    }

    private static async Task ReadAsync(AsyncServerStreamingCall<ContainerEventResponse> call, ConcurrentQueue<ContainerEventResponse> told)
    {
        try
        {
            await foreach (ContainerEventResponse one in call.ResponseStream.ReadAllAsync())
            {
                told.Enqueue(one);
            }
        }
        catch (RpcException end) when (end.StatusCode == StatusCode.Cancelled)
        {
            // By the test's own end.
        }
    }
}
