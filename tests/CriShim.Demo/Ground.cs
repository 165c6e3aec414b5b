using CriShim.TestSupport.Lab;

namespace CriShim.Demo;

/// <summary>The containerd that the demo's pod runs on, with what it needs there: images, network, a place for logs.</summary>
internal abstract class Ground : IAsyncDisposable
{
    /// <summary>How it is told to the reader.</summary>
    public abstract string Description { get; }

    public abstract string SocketPath { get; }

    /// <summary>For the demo's own files; gone with the ground.</summary>
    public abstract string Folder { get; }

    /// <summary>Things the reader should know about this ground, in whole sentences.</summary>
    public IList<string> Notes { get; } = [];

    public abstract PodRecipe Pod(string name);

    public abstract string BusyboxImage { get; }

    public abstract ValueTask DisposeAsync();

    /// <summary>The machine's containerd when there is one that can run a pod, else a private one.</summary>
    public static async Task<Ground> FindAsync(CancellationToken cancellationToken)
    {
        var (running, refusal) = await RunningContainerd.TryAsync(cancellationToken);
        if (running is not null)
        {
            return running;
        }

        var ground = await PrivateGround.StartAsync();
        if (refusal is not null)
        {
            ground.Notes.Add(refusal);
        }

        return ground;
    }
}

/// <summary>A containerd that was started for the demo.</summary>
internal sealed class PrivateGround(PrivateContainerd containerd) : Ground
{
    public override string Description => $"a private containerd {containerd.Version}, started for this demo";

    public override string SocketPath => containerd.SocketPath;

    public override string Folder => containerd.Folder;

    public override string BusyboxImage => LabImages.Busybox;

    public static async Task<Ground> StartAsync() => new PrivateGround(await PrivateContainerd.StartAsync(ContainerdVersion.V21));

    public override PodRecipe Pod(string name) => new(name, Path.Combine(Folder, "logs"), containerd.CgroupParent);

    public override ValueTask DisposeAsync() => containerd.DisposeAsync();
}
