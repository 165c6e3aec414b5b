using System.Text;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>
/// Pods under a polling kubelet, crishim on containerd's own socket with its state on a small tmpfs and a wall clock that can be set, and the watches. What it
/// checks comes from containerd's own socket, from /proc and from what the processes wrote; never from crishim's word alone.
/// </summary>
internal sealed class ChaosRun : IAsyncDisposable
{
    /// <summary>What is to come to rest after faults, comes to rest in a few seconds, or it never does.</summary>
    private static readonly TimeSpan Patience = Proof.Pick(TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(5));

    /// <summary>What containerd notes late, it notes within milliseconds.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(5);

    private static readonly string[] s_faultsInLog = ["Supervision of sandbox", "Unhandled exception", "goes through without it"];

    private readonly SidecarLab _lab;
    private readonly string _folder;
    private readonly string _clock;
    private readonly StringBuilder _logs = new();
    private readonly List<string> _trail = [];
    private readonly CriCaller _bare;
    private readonly ProcessWatch _processes = new();
    private readonly BackendWatch _backend;
    private CrishimProcess _crishim = null!;
    private int _numbers;
    private int _mended;
    private int _descriptors;
    private bool _wasContainerdKilled;

    private ChaosRun(SidecarLab lab, string folder)
    {
        _lab = lab;
        _folder = folder;
        _clock = Path.Combine(folder, "clock");
        _bare = new CriCaller(lab.Containerd.SocketPath);
        _backend = new BackendWatch(lab.Containerd.SocketPath);
        Kubelet = new ChaosKubelet(Path.Combine(folder, "crishim.sock"), endsInOrder: lab.Version.IsAtLeast2);
    }

    public ChaosKubelet Kubelet { get; }

    public PrivateContainerd Containerd => _lab.Containerd;

    public ProcessWatch Processes => _processes;

    public string StateFolder => Path.Combine(_folder, "state");

    private string ConfigFile => Path.Combine(_folder, "crishim.yaml");

    public int CrishimId => _crishim.ProcessId;

    /// <summary>How often containerd 1.6 had lost an exit and was started once more.</summary>
    public int Mended => _mended;

    public IReadOnlyList<ChaosKubelet.PodWorker> Live => [.. Kubelet.Pods.Where(pod => !pod.IsDeleted)];

    public static async Task<ChaosRun> StartAsync(SidecarLab lab, int pods)
    {
        string folder = Directory.CreateDirectory(Path.Combine(lab.Containerd.Folder, lab.NextPodName())).FullName;
        var run = new ChaosRun(lab, folder);
        try
        {
            _ = Directory.CreateDirectory(Path.Combine(folder, "manifests"));
            _ = Directory.CreateDirectory(run.StateFolder);
            Kernel.MountTmpfs(run.StateFolder, "size=4m,mode=0700");
            // A kubelet's stops come within milliseconds of each other, but not those of a double on a machine that is busy with all this.
            await File.WriteAllTextAsync(run.ConfigFile, (await File.ReadAllTextAsync(lab.ConfigFile)).Replace(
                "supervision:\n", "supervision:\n  teardown:\n    unprovenHold: 5s\n", StringComparison.Ordinal));
            await File.WriteAllBytesAsync(run._clock, new byte[sizeof(long)]);
            _ = await Command.RunAsync("gcc", ["-shared", "-fPIC", "-o", run._clock + ".so", ClockSource]);
            await run.StartCrishimAsync();
            run.Kubelet.Start();
            await run.BecomesTrueAsync("a relist is answered", () => Task.FromResult(run.Kubelet.Relists > 0));
            run._descriptors = ProcessFigures.Descriptors(run.CrishimId);
            for (int i = 0; i < pods; i++)
            {
                await run.AddPodAsync();
            }

            await run.SettlesAsync();
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    private static string ClockSource => Path.Combine(Repository.Root, "tests", "CriShim.RealContainerd.Tests", "Chaos", "ChaosClock.c");

    /// <summary>What was done, for the message of a failure.</summary>
    public void Trail(string what)
    {
        lock (_trail)
        {
            _trail.Add($"{WrittenLine.Uptime().TotalSeconds:0.00} {what}");
        }
    }

    // ---- What is done to them ----------------------------------------------------------------------------------------

    public async Task StartCrishimAsync()
    {
        _logs.Append(_crishim?.Log);
        var environment = new Dictionary<string, string> { ["LD_PRELOAD"] = _clock + ".so", ["CHAOS_CLOCK"] = _clock };
        _crishim = await CrishimProcess.ServeAsync(
            environment, Path.Combine(_folder, "crishim.sock"), _lab.Containerd.SocketPath, _folder,
            "--config", ConfigFile, "--pod-manifests", Path.Combine(_folder, "manifests"), "--node-name", ChaosPod.NodeName);
    }

    /// <summary>kill -9.</summary>
    public async Task KillCrishimAsync()
    {
        if (_crishim.HasExited)
        {
            throw Explain("crishim had ended by itself");
        }

        await _crishim.KillAsync();
        await _crishim.DisposeAsync();
    }

    /// <summary>kill -9.</summary>
    public Task KillContainerdAsync()
    {
        _wasContainerdKilled = true;
        return Containerd.KillAsync();
    }

    /// <summary>Sets the wall clock of this crishim and of those that follow it; nobody else's.</summary>
    public void SetClock(TimeSpan shift)
    {
        // In place: it is mapped.
        using FileStream file = new(_clock, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Write(BitConverter.GetBytes((long)shift.TotalSeconds));
    }

    public async Task<ChaosKubelet.PodWorker> AddPodAsync()
    {
        int number = _numbers++;
        // Told from the pods of other labs, which run beside this one: what is looked for in /proc is looked for by name.
        string name = $"lab{Containerd.Folder.Split('-')[^1]}-{number}";
        string folder = Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;
        var pod = new ChaosPod(name, folder, _lab.Kubelet, Containerd.CgroupParent, ChaosPod.Shape(number));
        await File.WriteAllTextAsync(Path.Combine(_folder, "manifests", $"{name}.yaml"), pod.Manifest());
        return Kubelet.Add(pod);
    }

    // ---- What is checked ---------------------------------------------------------------------------------------------

    /// <summary>
    /// Waits until every pod that is there is whole and every deleted one is gone: by containerd and by /proc each container runs exactly once, and what callers
    /// are shown is the same, but for what is masked. Then nothing of what may never be seen was seen meanwhile, and nothing superfluous is kept.
    /// </summary>
    public async Task SettlesAsync()
    {
        string[] faults = ["not looked at yet"];
        await BecomesTrueAsync(
            "all pods are at rest",
            async () =>
            {
                await MendLostExitsAsync();
                faults = await FaultsAsync();
                return faults.Length == 0;
            },
            () => string.Join("\n", faults));
        Check();
    }

    /// <summary>Nothing that may not be was ever seen.</summary>
    public void Check()
    {
        if (_crishim.HasExited)
        {
            throw Explain("crishim has ended by itself");
        }

        HashSet<string> ours = [.. Kubelet.Pods.SelectMany(pod => pod.Sandboxes.Keys)];
        string[] violations =
        [
            .. _processes.Violations.Distinct(),
            .. _backend.Violations.Distinct(),
            .. Kubelet.Violations.Distinct(),
            .. _backend.Faults(ours.Contains),
            .. Kubelet.Pods.Where(pod => pod.IsGone).SelectMany(OrderFaults),
            .. s_faultsInLog.Where(fault => Log.Contains(fault, StringComparison.Ordinal)).Select(fault => $"crishim logged '{fault}'"),
        ];
        if (violations.Length > 0)
        {
            throw Explain(string.Join("\n", violations.Take(20)));
        }
    }

    /// <summary>All pods are deleted, and nothing of them is left, anywhere.</summary>
    public async Task EndAsync()
    {
        foreach (ChaosKubelet.PodWorker pod in Live)
        {
            pod.Delete();
        }

        await SettlesAsync();
        HashSet<string> ids = [.. _backend.Seen.Select(one => one.Id), .. Kubelet.Pods.SelectMany(pod => pod.Sandboxes.Keys)];
        string[] left = [];
        await BecomesTrueAsync(
            "nothing is left",
            async () =>
            {
                left = await LeftAsync(ids);
                return left.Length == 0;
            },
            () => string.Join("\n", left));
    }

    public string Log => _logs + _crishim?.Log;

    public Xunit.Sdk.XunitException Explain(string what, Exception? failure = null)
    {
        string kept = Keep();
        return new(
            $"{what}\n--- seed {Proof.Seed}, containerd {Containerd.Version}; the trail of faults ---\n{TrailText}\n"
            + $"--- calls that failed last ---\n{string.Join('\n', Kubelet.Failures.TakeLast(10).Select(one => $"{one.Call}: {one.Code} {one.Detail}"))}\n"
            + $"--- containerd ---\n{Containerd.LogTail}\n--- crishim (all of it: {kept}) ---\n{string.Join('\n', Log.Split('\n').TakeLast(60))}",
            failure);
    }

    /// <summary>Keeps the whole log, and the whole trail before it, in a file.</summary>
    public string Keep()
    {
        string kept = Path.Combine(Repository.Root, "out", $"chaos-{Containerd.Version}.log");
        File.WriteAllText(kept, $"seed {Proof.Seed}\n{TrailText}\n\n{Log}");
        return kept;
    }

    private string TrailText
    {
        get
        {
            lock (_trail)
            {
                return string.Join('\n', _trail);
            }
        }
    }

    public async Task BecomesTrueAsync(string what, Func<Task<bool>> holds, Func<string>? instead = null)
    {
        try
        {
            await Condition.BecomesTrueAsync(what, Patience, async () =>
            {
                if (await holds())
                {
                    return true;
                }

                await Task.Delay(100);
                return false;
            });
        }
        catch (TimeoutException failure)
        {
            throw Explain($"{failure.Message}\n{instead?.Invoke()}", failure);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Kubelet.DisposeAsync();
        if (_crishim is { } crishim)
        {
            await crishim.DisposeAsync();
        }

        if (Containerd.ProcessId is { } id)
        {
            _ = Kernel.Signal(id, Kernel.SigContinue);
        }
        else
        {
            await Containerd.StartAsync();
        }

        await _backend.DisposeAsync();
        await _processes.DisposeAsync();
        Kernel.Detach(StateFolder);
        foreach (string sandbox in Kubelet.Pods.Where(pod => !pod.IsGone).SelectMany(pod => pod.Sandboxes.Keys))
        {
            try
            {
                await RunningPod.StopSandboxAsync(_bare, sandbox);
                _ = await _bare.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox });
            }
            catch (RpcException)
            {
                // It is gone, or goes with the lab.
            }
        }

        _bare.Dispose();
    }

    // ---- How it is checked -------------------------------------------------------------------------------------------

    private async Task<string[]> FaultsAsync()
    {
        try
        {
            long rounds = _processes.Rounds;
            DateTime deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(60);
            ListContainersResponse bare = await _bare.Runtime.ListContainersAsync(new ListContainersRequest(), deadline: deadline);
            using var caller = new CriCaller(Path.Combine(_folder, "crishim.sock"));
            ListContainersResponse shown = await caller.Runtime.ListContainersAsync(new ListContainersRequest(), deadline: deadline);
            var running = new ListContainersRequest
            {
                Filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
            };
            ListContainersResponse filtered = await caller.Runtime.ListContainersAsync(running, deadline: deadline);
            while (_processes.Rounds < rounds + 2)
            {
                await Task.Delay(20);
            }

            var faults = new List<string>();
            foreach (ChaosKubelet.PodWorker pod in Kubelet.Pods)
            {
                if (pod.IsDeleted)
                {
                    if (!pod.IsGone)
                    {
                        faults.Add($"{pod.Pod.Name} is deleted and still there");
                    }

                    continue;
                }

                Container[] own = [.. bare.Containers.Where(one => one.PodSandboxId == pod.SandboxId)];
                Container[] seen = [.. shown.Containers.Where(one => one.PodSandboxId == pod.SandboxId)];
                Container[] seenRunning = [.. filtered.Containers.Where(one => one.PodSandboxId == pod.SandboxId)];
                foreach (ChaosContainer container in pod.Pod.Containers)
                {
                    faults.AddRange(FaultsOf(
                        pod, container,
                        [.. own.Where(one => one.Metadata.Name == container.Name).OrderBy(one => one.CreatedAt)],
                        [.. seen.Where(one => one.Metadata.Name == container.Name).OrderBy(one => one.CreatedAt)],
                        [.. seenRunning.Where(one => one.Metadata.Name == container.Name)]));
                }

                foreach (Container one in seen)
                {
                    ContainerStatus status =
                        (await caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = one.Id }, deadline: deadline)).Status;
                    if (status.State != one.State)
                    {
                        faults.Add($"{pod.Pod.MarkOf(one.Metadata.Name)} is {one.State} in the list and {status.State} in its status");
                    }
                }
            }

            return [.. faults];
        }
        catch (RpcException failure)
        {
            return [$"{failure.StatusCode} {failure.Status.Detail}"];
        }
    }

    private IEnumerable<string> FaultsOf(ChaosKubelet.PodWorker pod, ChaosContainer container, Container[] bare, Container[] shown, Container[] running)
    {
        string mark = pod.Pod.MarkOf(container.Name);
        string what = $"{mark}: containerd has {Describe(bare)}; shown {Describe(shown)}; of them running {Describe(running)}";
        int[] processes = _processes.Running.GetValueOrDefault(mark) ?? [];
        if (processes.Length != 1)
        {
            yield return $"{mark}: {processes.Length} processes";
        }

        if (bare.Length == 0 || bare[^1].State != ContainerState.ContainerRunning || bare.Count(one => one.State == ContainerState.ContainerRunning) != 1)
        {
            yield return what;
            yield break;
        }

        // What is dead and was a sidecar's: at most one (rule 12), and an emulated one's first instance, which is the one that is shown.
        string? completed = container.Form == SidecarForm.Emulated ? pod.CompletedAs(container.Name) : null;
        Container[] dead = [.. bare[..^1].Where(one => one.Id != completed)];
        if (container.Form is not null && (dead.Length > 1 || bare.Any(one => one.State is ContainerState.ContainerCreated or ContainerState.ContainerUnknown)))
        {
            yield return $"too many are kept: {what}";
        }

        bool isAsIs = shown.Select(one => (one.Id, one.State)).SequenceEqual(bare.Select(one => (one.Id, one.State)))
            && running.Select(one => one.Id).SequenceEqual([bare[^1].Id]);
        bool isMasked = shown is [{ State: ContainerState.ContainerExited } only] && (completed is null || only.Id == completed) && running.Length == 0;
        if (!(container.Form == SidecarForm.Emulated ? isMasked : isAsIs))
        {
            yield return $"shown otherwise: {what}";
        }

        if (container.Form is not null)
        {
            string[] logs = [.. Directory.GetFiles(pod.Pod.LogFolder(container.Name)).Select(file => Path.GetFileName(file))];
            if (logs.FirstOrDefault(log => bare.All(one => !log.StartsWith($"{one.Metadata.Attempt}.log", StringComparison.Ordinal))) is { } superfluous)
            {
                yield return $"the log {superfluous} is left: {what}";
            }

            string links = Path.GetDirectoryName(pod.Pod.LinkOf(container.Name, "x"))!;
            string prefix = Path.GetFileName(pod.Pod.LinkOf(container.Name, ""))[..^".log".Length];
            foreach (string link in Directory.GetFiles(links, prefix + "*").Select(link => Path.GetFileName(link)[prefix.Length..^".log".Length]))
            {
                if (bare.All(one => one.Id != link))
                {
                    yield return $"a link to the log of {link[..12]} is left: {what}";
                }
            }
        }
    }

    /// <summary>By what the processes wrote: nothing of a container after the first SIGTERM of one that ends later.</summary>
    private static IEnumerable<string> OrderFaults(ChaosKubelet.PodWorker pod)
    {
        WrittenLine[] lines = [.. pod.Pod.Lines()];
        IReadOnlyList<string> order = pod.Pod.EndOrder;
        for (int later = 1; later < order.Count; later++)
        {
            int turn = Array.FindIndex(lines, line => line.Name == order[later] && line.What == "TERM");
            if (turn < 0)
            {
                continue;
            }

            WrittenLine early = lines.Skip(turn).FirstOrDefault(line => order.Take(later).Contains(line.Name));
            // When the grace is used up, whoever is left is stopped.
            if (early.Name is not null && lines[turn].At - pod.DeletedAt < TimeSpan.FromSeconds(ChaosPod.Grace - 5))
            {
                yield return $"{pod.Pod.Name} (deleted {pod.DeletedAt.TotalSeconds:0.00}) did not end in order: "
                    + string.Join(", ", lines.Where(line => line.At > pod.DeletedAt).Select(line => $"{line.Name} {line.What} {line.At.TotalSeconds:0.00}"));
                yield break;
            }
        }
    }

    private async Task<string[]> LeftAsync(HashSet<string> ids)
    {
        var left = new List<string>();
        foreach (string[] things in new[] { new[] { "containers", "ls", "-q" }, ["tasks", "ls", "-q"], ["snapshots", "ls"], ["leases", "ls", "-q"] })
        {
            string told = await Command.RunAsync(Containerd.Ctr, ["--address", Containerd.SocketPath, "--namespace", "k8s.io", .. things]);
            left.AddRange(told.Split('\n').Where(line => ids.Any(id => line.Contains(id, StringComparison.Ordinal))).Select(line => $"{things[0]}: {line}"));
        }

        left.AddRange(File.ReadAllLines("/proc/self/mountinfo").Where(line => ids.Any(id => line.Contains(id, StringComparison.Ordinal))).Select(line => $"mount: {line}"));
        left.AddRange(Directory.EnumerateFileSystemEntries(StateFolder).Select(entry => $"state: {entry}"));
        // A containerd that is killed while it ends a task leaves that one's bundle folder, with nothing in its own lists.
        string[] folders = _wasContainerdKilled ? [] : [Path.Combine(Containerd.Folder, "root"), Path.Combine(Containerd.Folder, "state")];
        foreach (string folder in folders)
        {
            left.AddRange(Directory.EnumerateDirectories(folder, "*", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 4 })
                .Where(entry => ids.Contains(Path.GetFileName(entry))).Select(entry => $"containerd: {entry}"));
        }

        HashSet<string> names = [.. Kubelet.Pods.Select(pod => pod.Pod.Name)];
        left.AddRange(_processes.Running.Keys.Where(mark => names.Contains(mark[..mark.IndexOf('/', StringComparison.Ordinal)])).Select(mark => $"process: {mark}"));
        // The kubelet's connection, and containerd's, may be new.
        int descriptors = ProcessFigures.Descriptors(CrishimId);
        if (descriptors > _descriptors + 4)
        {
            left.Add($"descriptors: {descriptors}, and {_descriptors} at the beginning: {string.Join(' ', ProcessFigures.Open(CrishimId))}");
        }

        return [.. left];
    }

    /// <summary>
    /// containerd 1.6 that was killed can lose the exit that falls into its own start: for its CRI the container runs for ever, and no stop of anybody returns. Only
    /// another start mends that. The condition: it was killed, it says RUNNING, and the process is gone, for seconds.
    /// </summary>
    private async Task MendLostExitsAsync()
    {
        if (!_wasContainerdKilled)
        {
            return;
        }

        string[] before = await LostAsync();
        if (before.Length == 0)
        {
            return;
        }

        await Task.Delay(LostAfter);
        if ((await LostAsync()).Intersect(before).ToArray() is { Length: > 0 } lost)
        {
            Trail($"containerd has lost the exits of {string.Join(' ', lost.Select(id => id[..12]))} and is started once more");
            _mended++;
            await KillContainerdAsync();
            await Containerd.StartAsync();
        }
    }

    private async Task<string[]> LostAsync()
    {
        var lost = new List<string>();
        try
        {
            DateTime deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(30);
            ListContainersResponse list = await _bare.Runtime.ListContainersAsync(
                new ListContainersRequest
                {
                    Filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } },
                },
                deadline: deadline);
            foreach (Container container in list.Containers)
            {
                string mark = $"{container.Labels.GetValueOrDefault("io.kubernetes.pod.name")}/{container.Metadata.Name}";
                if (_processes.Running.ContainsKey(mark))
                {
                    continue;
                }

                ContainerStatusResponse status = await _bare.Runtime.ContainerStatusAsync(
                    new ContainerStatusRequest { ContainerId = container.Id, Verbose = true }, deadline: deadline);
                using var info = System.Text.Json.JsonDocument.Parse(status.Info["info"]);
                if (status.Status.State == ContainerState.ContainerRunning && !Directory.Exists($"/proc/{info.RootElement.GetProperty("pid").GetInt32()}"))
                {
                    lost.Add(container.Id);
                }
            }
        }
        catch (RpcException)
        {
            // It is being started again.
        }

        return [.. lost];
    }

    private static string Describe(Container[] containers) =>
        containers.Length == 0 ? "none" : string.Join(", ", containers.Select(one => $"{one.Metadata.Attempt} {one.Id[..12]} {one.State}"));
}
