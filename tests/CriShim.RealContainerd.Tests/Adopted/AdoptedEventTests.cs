using System.Collections.Concurrent;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>
/// What a subscriber of GetContainerEvents is told of an adopted sidecar's end. containerd has one stream for each subscriber from 2.0 on
/// only.
/// </summary>
[Collection(SidecarsOn21.Name)]
public sealed class AdoptedEventTests(Sidecars21 lab)
{
    [Fact]
    public async Task MainCompletes_StatusesInEventsShowTheSidecarCompletedAsWell()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab);
        await using Subscriber subscriber = await Subscriber.StartAsync(run, lab);
        await using SidecarWatch watch = SidecarWatch.Start(run);

        run.EndMain();

        ContainerStatus shown = await run.IsShownCompletedAsync(143);
        ContainerEventResponse[] told = await subscriber.IsToldEndAsync(shown.Id);
        await watch.CheckAsync();
        ContainerStatus[] ends = [.. told.SelectMany(one => one.ContainersStatuses)
            .Where(status => status.Metadata.Name == AdoptedPod.Proxy && status.State == ContainerState.ContainerExited)];
        Assert.NotEmpty(ends);
        Assert.All(ends, end => Assert.Equal(
            (0, "Completed", shown.FinishedAt, shown.Message), (end.ExitCode, end.Reason, end.FinishedAt, end.Message)));
    }

    [Fact]
    public async Task SidecarDies_WhileTheMainRuns_NoEventShowsItFailedBeforeItsSuccessorRuns()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab);
        await using Subscriber subscriber = await Subscriber.StartAsync(run, lab);
        await using SidecarWatch watch = SidecarWatch.Start(run);

        string dead = await run.KillProxyAsync();

        await run.IsShownAsync(ContainerState.ContainerRunning, 1);
        ContainerEventResponse[] told = await subscriber.IsToldEndAsync(dead);
        await watch.CheckAsync();
        foreach (ContainerEventResponse one in told)
        {
            ContainerStatus[] statuses = [.. one.ContainersStatuses.Where(status => status.Metadata.Name == AdoptedPod.Proxy)];
            Assert.True(
                statuses.All(status => status.State != ContainerState.ContainerExited)
                || statuses.Any(status => status.State == ContainerState.ContainerRunning), one.ToString());
        }
    }

    /// <summary>Reads the stream.</summary>
    private sealed class Subscriber : IAsyncDisposable
    {
        private readonly AdoptedRun _run;
        private readonly AsyncServerStreamingCall<ContainerEventResponse> _call;
        private readonly ConcurrentQueue<ContainerEventResponse> _told = new();
        private readonly Task _reading;

        private Subscriber(AdoptedRun run)
        {
            _run = run;
            _call = run.Caller.Runtime.GetContainerEvents(new GetEventsRequest());
            _reading = Task.Run(ReadAsync);
        }

        /// <summary>A subscriber whom containerd serves already: of what is done before that nobody is told.</summary>
        public static async Task<Subscriber> StartAsync(AdoptedRun run, SidecarLab lab)
        {
            var subscriber = new Subscriber(run);
            string logs = Path.Combine(lab.Containerd.Folder, "probes");
            var recipe = new PodRecipe($"{run.Pod.Name}-probes", logs, run.Pod.CgroupParent) { HostNetwork = true };
            await using RunningPod probes = await RunningPod.StartAsync(run.Bare, recipe);
            uint attempt = 0;
            await run.BecomesTrueAsync("the stream tells something", async () =>
            {
                ContainerConfig probe = recipe.Container("probe", "true", attempt++);
                _ = await run.Bare.Runtime.CreateContainerAsync(recipe.Create(probes.SandboxId, probe));
                return !subscriber._told.IsEmpty;
            });
            return subscriber;
        }

        /// <summary>Waits until this container's end was told; gives all that was told of its pod.</summary>
        public async Task<ContainerEventResponse[]> IsToldEndAsync(string id)
        {
            await _run.BecomesTrueAsync("the end is told", () => Task.FromResult(_told.Any(
                one => one.ContainerId == id && one.ContainerEventType == ContainerEventType.ContainerStoppedEvent)));
            return [.. _told.Where(one => one.PodSandboxStatus?.Id == _run.Sandbox)];
        }

        public async ValueTask DisposeAsync()
        {
            _call.Dispose();
            await _reading;
        }

        private async Task ReadAsync()
        {
            try
            {
                await foreach (ContainerEventResponse told in _call.ResponseStream.ReadAllAsync())
                {
                    _told.Enqueue(told);
                }
            }
            catch (RpcException end) when (end.StatusCode == StatusCode.Cancelled)
            {
                // By the test's own end.
            }
        }
    }
}
