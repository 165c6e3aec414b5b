using CriShim.Protocol.Runtime.V1;
using Grpc.Core;

namespace CriShim.TestSupport.Lab;

/// <summary>A pod that was started for one purpose and goes when disposed.</summary>
public sealed class RunningPod : IAsyncDisposable
{
    private const int MaxStopTries = 20;

    private static readonly TimeSpan StopRetryDelay = TimeSpan.FromMilliseconds(250);

    private readonly CriCaller _caller;

    private RunningPod(CriCaller caller, PodRecipe recipe, string sandboxId)
    {
        _caller = caller;
        Recipe = recipe;
        SandboxId = sandboxId;
    }

    public PodRecipe Recipe { get; }

    public string SandboxId { get; }

    public static async Task<RunningPod> StartAsync(CriCaller caller, PodRecipe recipe)
    {
        var sandbox = await caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = recipe.Sandbox() }).ConfigureAwait(false);
        return new RunningPod(caller, recipe, sandbox.PodSandboxId);
    }

    /// <summary>Creates and starts a container; gives its id.</summary>
    public async Task<string> RunAsync(ContainerConfig container)
    {
        var created = await _caller.Runtime.CreateContainerAsync(Recipe.Create(SandboxId, container)).ConfigureAwait(false);
        await _caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId }).ConfigureAwait(false);
        return created.ContainerId;
    }

    public async ValueTask DisposeAsync()
    {
        await StopSandboxAsync(_caller, SandboxId).ConfigureAwait(false);
        await _caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = SandboxId }).ConfigureAwait(false);
        if (Directory.Exists(Recipe.LogDirectory))
        {
            Directory.Delete(Recipe.LogDirectory, recursive: true);
        }
    }

    /// <summary>As a kubelet's call: a containerd that never answers must fail a test, and not stop them all.</summary>
    private static readonly TimeSpan StopDeadline = TimeSpan.FromMinutes(2);

    /// <summary>Again while containerd fails, as the kubelet does it: a stop that meets a container's end can be refused ("ttrpc: closed").</summary>
    public static async Task StopSandboxAsync(CriCaller caller, string sandboxId)
    {
        for (int tries = 1; ; tries++)
        {
            try
            {
                await caller.Runtime.StopPodSandboxAsync(
                    new StopPodSandboxRequest { PodSandboxId = sandboxId }, deadline: TimeProvider.System.GetUtcNow().UtcDateTime + StopDeadline)
                    .ConfigureAwait(false);
                return;
            }
            catch (RpcException failure) when (failure.StatusCode is not (StatusCode.NotFound or StatusCode.DeadlineExceeded) && tries < MaxStopTries)
            {
                await Task.Delay(StopRetryDelay).ConfigureAwait(false);
            }
        }
    }
}
