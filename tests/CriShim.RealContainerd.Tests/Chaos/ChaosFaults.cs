using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using CriShim.TestSupport.Proofs;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>What is done to a <see cref="ChaosRun"/>, each time with what the seed says.</summary>
internal sealed class ChaosFaults(ChaosRun run, Random random, TimeSpan longestPause) : IDisposable
{
    private readonly SemaphoreSlim _crishim = new(1), _containerd = new(1);
    private readonly Lock _dice = new();

    /// <summary>Of the fault that is at work: what one does must not depend on how far another one is.</summary>
    private readonly AsyncLocal<Random?> _own = new();
    private readonly Dictionary<string, int> _counts = new(StringComparer.Ordinal);

    /// <summary>How often each was done.</summary>
    public IReadOnlyDictionary<string, int> Counts => _counts;

    public int Total => _counts.Values.Sum();

    public void Dispose()
    {
        _crishim.Dispose();
        _containerd.Dispose();
    }

    /// <summary>One to three of them, within half a second; now and then pods end and come meanwhile.</summary>
    public async Task RoundAsync()
    {
        var faults = new List<Task>();
        if (Dice(5) < 2)
        {
            IReadOnlyList<ChaosKubelet.PodWorker> live = run.Live;
            ChaosKubelet.PodWorker[] ended = [.. Enumerable.Range(0, 1 + Dice(2)).Select(_ => live[Dice(live.Count)]).Distinct()];
            foreach (ChaosKubelet.PodWorker pod in ended)
            {
                run.Trail($"{pod.Pod.Name} is deleted, and another one comes");
                pod.Delete();
                _ = await run.AddPodAsync();
            }
        }

        for (int i = 1 + Dice(3); i > 0; i--)
        {
            faults.Add(OneAsync(Dice(18), TimeSpan.FromMilliseconds(Dice(500))));
        }

        await Task.WhenAll(faults);
    }

    private Task OneAsync(int which, TimeSpan after) => which switch
    {
        < 3 => DoAsync("crishim killed", after, () => AloneAsync(_crishim, () => KillCrishimAsync(() => Task.CompletedTask))),
        > 16 when run.Kubelet.Pods.Any(pod => pod.IsDeleted && !pod.IsGone) => DoAsync("callers vanished", after, VanishAsync),
        3 or 4 => DoAsync("containerd killed", after, () => AloneAsync(_containerd, KillContainerdAsync)),
        5 => DoAsync("both killed", after, () => AloneAsync(_containerd, () => AloneAsync(_crishim, KillBothAsync))),
        6 or 7 or 8 => DoAsync("sidecars killed", after, () => KillProcessesAsync(isMain: false)),
        9 or 10 => DoAsync("mains killed", after, () => KillProcessesAsync(isMain: true)),
        11 => DoAsync("containerd paused", after, () => AloneAsync(_containerd, PauseContainerdAsync)),
        12 or 13 => DoAsync("callers vanished", after, VanishAsync),
        14 => DoAsync("disk full", after, () => AloneAsync(_crishim, () => WithoutStateAsync(FillAsync, Empty))),
        15 => DoAsync("state read-only", after, () => AloneAsync(_crishim, () => WithoutStateAsync(LockAsync, () => Kernel.MakeReadOnly(run.StateFolder, false)))),
        16 => DoAsync("state files spoilt", after, () => AloneAsync(_crishim, () => KillCrishimAsync(SpoilAsync))),
        _ => DoAsync("clock set", after, SetClockAsync),
    };

    private async Task DoAsync(string name, TimeSpan after, Func<Task> fault)
    {
        _own.Value = new Random(Dice(int.MaxValue));
        lock (_dice)
        {
            _counts[name] = _counts.GetValueOrDefault(name) + 1;
        }

        await Task.Delay(after);
        run.Trail(name);
        await fault();
    }

    private async Task KillCrishimAsync(Func<Task> meanwhile)
    {
        await run.KillCrishimAsync();
        await Task.Delay(Dice(3) == 0 ? Dice(1500) : 0);
        await meanwhile();
        await run.StartCrishimAsync();
        run.Trail("crishim serves again");
    }

    private async Task KillContainerdAsync()
    {
        await run.KillContainerdAsync();
        await Task.Delay(Dice(3) == 0 ? Dice(2000) : 0);
        await run.Containerd.StartAsync();
        run.Trail("containerd is ready again");
    }

    private async Task KillBothAsync()
    {
        await Task.WhenAll(run.KillCrishimAsync(), run.KillContainerdAsync());
        await Task.WhenAll(run.StartCrishimAsync(), run.Containerd.StartAsync());
        run.Trail("both are ready again");
    }

    /// <summary>Some, or all of a kind.</summary>
    private Task KillProcessesAsync(bool isMain)
    {
        HashSet<string> ours = [.. run.Kubelet.Pods.Where(pod => !pod.IsGone).Select(pod => pod.Pod.Name)];
        KeyValuePair<string, int[]>[] all =
        [
            .. run.Processes.Running.Where(one => one.Key.EndsWith($"/{ChaosPod.Main}", StringComparison.Ordinal) == isMain
                && ours.Contains(one.Key[..one.Key.IndexOf('/', StringComparison.Ordinal)])).OrderBy(one => one.Key, StringComparer.Ordinal),
        ];
        int count = Dice(6) == 0 ? all.Length : Math.Min(all.Length, 1 + Dice(3));
        int first = Dice(Math.Max(1, all.Length));
        foreach ((string mark, int[] pids) in Enumerable.Range(first, count).Select(i => all[i % all.Length]))
        {
            run.Trail($"  {mark} ({string.Join(' ', pids)})");
            foreach (int pid in pids)
            {
                _ = Kernel.Signal(pid, Kernel.SigKill);
            }
        }

        return Task.CompletedTask;
    }

    private async Task PauseContainerdAsync()
    {
        // Mostly short; in the long form up to a minute.
        TimeSpan pause = Dice(4) == 0 ? longestPause : TimeSpan.FromMilliseconds(500 + Dice(2500));
        int id = run.Containerd.ProcessId!.Value;
        _ = Kernel.Signal(id, Kernel.SigStop);
        try
        {
            await Task.Delay(pause);
        }
        finally
        {
            _ = Kernel.Signal(id, Kernel.SigContinue);
            run.Trail($"containerd goes on after {pause.TotalSeconds:0.0} s");
        }
    }

    /// <summary>The kubelet, with whatever it asked for; and others in the middle of a call.</summary>
    private async Task VanishAsync()
    {
        for (int i = Dice(4); i >= 0; i--)
        {
            using var caller = new CriCaller(Path.Combine(Path.GetDirectoryName(run.StateFolder)!, "crishim.sock"));
            using var gone = new CancellationTokenSource(TimeSpan.FromMilliseconds(Dice(60)));
            try
            {
                _ = Dice(3) switch
                {
                    0 => (object)await caller.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: gone.Token),
                    1 => await caller.Runtime.ListPodSandboxStatsAsync(new ListPodSandboxStatsRequest(), cancellationToken: gone.Token),
                    _ => await caller.Runtime.ExecSyncAsync(
                        new ExecSyncRequest
                        {
                            ContainerId = (await caller.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: gone.Token)).Containers[0].Id,
                            Cmd = { "sleep", "1" },
                        },
                        cancellationToken: gone.Token),
                };
            }
            catch (Exception vanished) when (vanished is RpcException or ArgumentOutOfRangeException)
            {
                // So it was meant.
            }
        }

        run.Kubelet.Vanish();
    }

    // ---- State -------------------------------------------------------------------------------------------------------

    private async Task WithoutStateAsync(Func<Task> take, Action giveBack)
    {
        await take();
        try
        {
            await KillProcessesAsync(isMain: false);
            await Task.Delay(Dice(1000));
            if (Dice(2) == 0)
            {
                run.Trail("  crishim killed");
                await KillCrishimAsync(() => Task.CompletedTask);
            }

            await Task.Delay(Dice(1000));
        }
        finally
        {
            giveBack();
            run.Trail("state can be written again");
        }
    }

    private async Task FillAsync()
    {
        string file = Path.Combine(run.StateFolder, "full");
        try
        {
            await using FileStream full = new(file, FileMode.Create, FileAccess.Write);
            while (true)
            {
                await full.WriteAsync(new byte[4096]);
                await full.FlushAsync();
            }
        }
        catch (IOException)
        {
            // It is full.
        }
    }

    private void Empty() => File.Delete(Path.Combine(run.StateFolder, "full"));

    private Task LockAsync() => run.BecomesTrueAsync("the state can be made read-only", () => Task.FromResult(Kernel.MakeReadOnly(run.StateFolder, true)));

    private Task SpoilAsync()
    {
        string[] files = [.. Directory.GetFiles(run.StateFolder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        string[] folders = [.. Directory.GetDirectories(run.StateFolder).Order(StringComparer.Ordinal)];
        if (files.Length == 0)
        {
            return Task.CompletedTask;
        }

        for (int i = Dice(4); i >= 0; i--)
        {
            string file = files[Dice(files.Length)], other = files[Dice(files.Length)];
            int how = Dice(9);
            run.Trail($"  {Path.GetRelativePath(run.StateFolder, file)}: {how}");
            Spoil(file, other, folders, how);
        }

        return Task.CompletedTask;
    }

    private void Spoil(string file, string other, string[] folders, int how)
    {
        if (!File.Exists(file) || !File.Exists(other))
        {
            // It was this one before.
            return;
        }

        switch (how)
        {
            case 0:
                byte[] all = File.ReadAllBytes(file);
                File.WriteAllBytes(file, all[..Dice(Math.Max(1, all.Length))]);
                break;
            case 1:
                byte[] bytes = File.ReadAllBytes(file);
                for (int i = 0; i < 8 && bytes.Length > 0; i++)
                {
                    bytes[Dice(bytes.Length)] = (byte)Dice(256);
                }

                File.WriteAllBytes(file, bytes);
                break;
            case 2:
                File.Copy(other, file, overwrite: true);
                break;
            case 3:
                File.Copy(file, Path.Combine(folders[Dice(folders.Length)], Path.GetFileName(file)), overwrite: true);
                break;
            case 4:
                File.WriteAllText(file, new[] { "", "{}", "[]", "null", "0", "{\"instances\":[null]}", "\0\0\0\0" }[Dice(7)]);
                break;
            case 5:
                File.Delete(file);
                _ = Directory.CreateDirectory(file);
                break;
            case 6:
                File.Delete(file);
                break;
            case 7:
                string unknown = Directory.CreateDirectory(Path.Combine(run.StateFolder, $"foreign{Dice(1000).ToString(CultureInfo.InvariantCulture)}")).FullName;
                File.Copy(file, Path.Combine(unknown, Path.GetFileName(file)), overwrite: true);
                break;
            default:
                File.Copy(file, Path.Combine(Path.GetDirectoryName(file)!, "ghost.json"), overwrite: true);
                File.Copy(file, file + ".new", overwrite: true);
                break;
        }
    }

    // ---- Clock -------------------------------------------------------------------------------------------------------

    /// <summary>
    /// Back or forth, by seconds to weeks; something dies right before or after it. Not while pods end: deadlines are recorded by the wall's clock, and
    /// a crishim that is started anew after it was set forth finds them over (mains are killed at once, sidecars get their 2 s together).
    /// </summary>
    private async Task SetClockAsync()
    {
        TimeSpan shift = TimeSpan.FromSeconds((Dice(2) == 0 ? -1 : 1) * Math.Pow(10, 1 + Dice(6)));
        bool isAfter = Dice(2) == 0;
        if (!isAfter)
        {
            await KillProcessesAsync(isMain: false);
        }

        run.Trail($"  to {shift.TotalSeconds:0} s off");
        run.SetClock(shift);
        if (isAfter)
        {
            await KillProcessesAsync(isMain: false);
        }
    }

    private static async Task AloneAsync(SemaphoreSlim turn, Func<Task> fault)
    {
        await turn.WaitAsync();
        try
        {
            await fault();
        }
        finally
        {
            _ = turn.Release();
        }
    }

    private int Dice(int sides)
    {
        lock (_dice)
        {
            return (_own.Value ?? random).Next(sides);
        }
    }
}
