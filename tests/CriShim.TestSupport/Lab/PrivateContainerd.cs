using System.Diagnostics;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.TestSupport.Lab;

/// <summary>
/// A containerd of its own: directories, sockets, images, CNI network and cgroups are this one's, so several versions run beside
/// each other and beside the machine's. Disposing it leaves nothing behind, whatever its tests have left running.
/// </summary>
public sealed class PrivateContainerd : IAsyncDisposable
{
    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(60);
    private readonly LabSlot _slot;
    private Process? _process;

    private PrivateContainerd(ContainerdVersion version, LabSlot slot)
    {
        Version = version;
        _slot = slot;
    }

    public ContainerdVersion Version { get; }

    public string SocketPath => Path.Combine(Folder, "containerd.sock");

    /// <summary>Temporary files that should go with the lab, below here.</summary>
    public string Folder => _slot.Directory;

    /// <summary>Parent cgroup for the pods of this containerd: cleaned up with it.</summary>
    public string CgroupParent => _slot.Cgroup;

    public string LogFile => Path.Combine(Folder, "containerd.log");

    public string LogTail => Lab.LogTail.Of(LogFile);

    public string Ctr => Path.Combine(Version.Binaries, "ctr");

    /// <summary>The running containerd's process id; null while it is stopped.</summary>
    public int? ProcessId => _process?.Id;

    /// <summary>Provides binaries and images, starts containerd and waits until CRI answers with runtime and network ready.</summary>
    public static async Task<PrivateContainerd> StartAsync(ContainerdVersion version)
    {
        var containerd = await PrepareAsync(version).ConfigureAwait(false);
        try
        {
            await containerd.StartAsync().ConfigureAwait(false);
            await LabImages.ImportAsync(containerd.Ctr, containerd.SocketPath, LabImages.PauseArchive, LabImages.Pause).ConfigureAwait(false);
            await LabImages.ImportAsync(containerd.Ctr, containerd.SocketPath, LabImages.BusyboxArchive, LabImages.Busybox).ConfigureAwait(false);
            using var caller = new CriCaller(containerd.SocketPath);
            // CRI learns of imported images by an event, a moment later.
            await containerd.WaitAsync("CRI knows the lab's images", async () =>
            {
                var images = await caller.Images.ListImagesAsync(new ListImagesRequest()).ConfigureAwait(false);
                var names = images.Images.SelectMany(image => image.RepoTags).ToHashSet();
                return names.Contains(LabImages.Busybox) && names.Contains(LabImages.Pause);
            }).ConfigureAwait(false);
            return containerd;
        }
        catch
        {
            await containerd.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>All but starting it: what is needed where crishim is there first.</summary>
    public static async Task<PrivateContainerd> PrepareAsync(ContainerdVersion version)
    {
        await version.ProvideAsync().ConfigureAwait(false);
        await LabImages.ProvideAsync().ConfigureAwait(false);
        var slot = await LabSlot.TakeAsync().ConfigureAwait(false);
        var containerd = new PrivateContainerd(version, slot);
        try
        {
            Directory.CreateDirectory(slot.Directory);
            ContainerdConfig.Write(version, slot);
            return containerd;
        }
        catch
        {
            await containerd.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Starts it (again) and waits until CRI answers. Pods of before are still there.</summary>
    public async Task StartAsync()
    {
        Launch();
        using var caller = new CriCaller(SocketPath);
        await WaitAsync("containerd's CRI is ready", async () =>
        {
            var status = await caller.Runtime.StatusAsync(new StatusRequest()).ConfigureAwait(false);
            return status.Status.Conditions.Count >= 2 && status.Status.Conditions.All(condition => condition.Status);
        }).ConfigureAwait(false);
    }

    /// <summary>Starts the process and does not wait.</summary>
    public void Launch()
    {
        if (_process is not null)
        {
            throw new InvalidOperationException("containerd runs already.");
        }

        // The log goes to a file and not to a pipe of ours: shims inherit it and outlive both. A session of its own keeps the
        // terminal's Ctrl-C away from it: whoever started it ends it, in order.
        var start = new ProcessStartInfo("/bin/sh", ["-c", "exec setsid containerd --config \"$0\" >> \"$1\" 2>&1 < /dev/null", ContainerdConfig.File(_slot), LogFile]);
        start.Environment["PATH"] = $"{Version.Binaries}:{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin";
        // Started from a systemd unit, it would report to that unit's manager.
        start.Environment.Remove("NOTIFY_SOCKET");
        _process = Process.Start(start)!;
    }

    /// <summary>SIGKILL: no goodbye to callers, the socket file stays, pods go on.</summary>
    public async Task KillAsync()
    {
        if (_process is { } process)
        {
            Kernel.Signal(process.Id, Kernel.SigKill);
            await EndAsync(process).ConfigureAwait(false);
        }
    }

    /// <summary>SIGTERM; pods go on.</summary>
    public async Task StopAsync()
    {
        if (_process is { } process)
        {
            Kernel.Signal(process.Id, Kernel.SigTerm);
            await EndAsync(process).ConfigureAwait(false);
        }
    }

    /// <summary>Stop and start.</summary>
    public async Task RestartAsync()
    {
        await StopAsync().ConfigureAwait(false);
        await StartAsync().ConfigureAwait(false);
    }

    /// <summary>Stops and removes every pod, as far as CRI does it.</summary>
    public async Task RemovePodsAsync()
    {
        using var caller = new CriCaller(SocketPath);
        var sandboxes = await caller.Runtime.ListPodSandboxAsync(new ListPodSandboxRequest()).ConfigureAwait(false);
        foreach (var sandbox in sandboxes.Items)
        {
            await caller.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox.Id }).ConfigureAwait(false);
            await caller.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox.Id }).ConfigureAwait(false);
        }
    }

    /// <summary>Gives a failure containerd's own view of it.</summary>
    public LabException Explain(string what, Exception failure) =>
        new($"{what}: {failure.Message}\n--- the last lines of containerd {Version} ---\n{LogTail}", failure);

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_process is { HasExited: false })
            {
                using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
                try
                {
                    // Politely first: CNI's own removal is the one that leaves least.
                    await RemovePodsAsync().WaitAsync(limit.Token).ConfigureAwait(false);
                }
                catch (Exception)
                {
                    // A containerd that a test has left half dead can't; the sweep below does not ask it.
                }

                await StopAsync().ConfigureAwait(false);
            }

            await Leftovers.SweepAsync(_slot).ConfigureAwait(false);
        }
        finally
        {
            _process?.Dispose();
            _slot.Dispose();
        }
    }

    private async Task EndAsync(Process process)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        try
        {
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            Kernel.Signal(process.Id, Kernel.SigKill);
            await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        }

        process.Dispose();
        _process = null;
    }

    private async Task WaitAsync(string what, Func<Task<bool>> holds)
    {
        try
        {
            await Condition.SucceedsAsync(what, s_startTimeout, async () =>
            {
                if (_process is not { HasExited: false })
                {
                    throw new LabException($"containerd {Version} has ended by itself.\n{LogTail}");
                }

                return await holds().ConfigureAwait(false) ? true : throw new InvalidOperationException("not yet");
            }).ConfigureAwait(false);
        }
        catch (TimeoutException failure)
        {
            throw Explain("containerd did not come up", failure);
        }
    }
}
