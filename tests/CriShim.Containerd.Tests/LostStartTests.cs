using CriShim.Containerd.Runtime;
using CriShim.Protocol.Containerd.Services.Tasks.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace CriShim.Containerd.Tests;

/// <summary>Starts whose caller goes away, at any moment of them: about one in a hundred leaves a task behind that CRI does not remove.</summary>
public sealed class LostStartTests(Containerd21 fixture) : IClassFixture<Containerd21>
{
    private const uint Starts = 90;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Start_ThatLostItsCaller_LeavesNothingThatCannotBeRemoved()
    {
        PrivateContainerd containerd = fixture.Containerd;
        using var caller = new CriCaller(containerd.SocketPath);
        using var adapter = new RuntimeAdapter(new RuntimeAdapterOptions { SocketPath = containerd.SocketPath }, NullLogger.Instance);
        var recipe = new PodRecipe("lost-starts", Path.Combine(containerd.Folder, "lost-starts"), containerd.CgroupParent) { HostNetwork = true };
        await using RunningPod pod = await RunningPod.StartAsync(caller, recipe);
        var random = new Random(7);
        var removals = new List<Task>();
        for (uint attempt = 0; attempt < Starts; attempt++)
        {
            CreateContainerRequest create = recipe.Create(pod.SandboxId, recipe.Container("main", "sleep 1000", attempt));
            string id = (await caller.Runtime.CreateContainerAsync(create)).ContainerId;
            using var leaves = new CancellationTokenSource(TimeSpan.FromMilliseconds(random.Next(0, 160)));
            try
            {
                await caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = id }, cancellationToken: leaves.Token);
            }
            catch (RpcException left) when (left.StatusCode == StatusCode.Cancelled)
            {
                // As meant.
            }

            removals.Add(Condition.BecomesTrueAsync($"attempt {attempt} is removed", Patience, () => RemoveAsync(adapter, id)));
        }

        await Task.WhenAll(removals);
    }

    private static async Task<bool> RemoveAsync(RuntimeAdapter adapter, string id)
    {
        CallResult<RemoveContainerResponse> removed = await adapter.RemoveContainerAsync(id, CancellationToken.None);
        if (removed.Failure is { Kind: FailureKind.TaskLeftBehind })
        {
            CallResult<DeleteResponse> discarded = await adapter.DiscardTaskAsync(id, CancellationToken.None);
            Assert.True(discarded.IsOk, $"{discarded.Failure}");
            removed = await adapter.RemoveContainerAsync(id, CancellationToken.None);
        }

        return removed.IsOk;
    }
}
