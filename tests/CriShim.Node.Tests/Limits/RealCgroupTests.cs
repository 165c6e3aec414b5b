using CriShim.Linux.Cgroups;
using CriShim.Node.Limits;
using CriShim.Node.Tests.Logs;
using CriShim.Node.Tests.Support;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.TestSupport.Lab;

namespace CriShim.Node.Tests.Limits;

/// <summary>On the kernel's own cgroups, in whichever hierarchy this machine has, with a pod that runs in them.</summary>
public sealed class RealCgroupTests(Containerd21 fixture) : IClassFixture<Containerd21>, IAsyncLifetime, IDisposable
{
    private const long Mi = 1 << 20;
    private readonly CriCaller _caller = new(fixture.Containerd.SocketPath);
    private readonly PodRecipe _recipe = new($"p{Guid.NewGuid():N}"[..12], Path.Combine(fixture.Containerd.Folder, "logs"), fixture.Containerd.CgroupParent);
    private readonly RecordedLog _log = new();
    private RunningPod? _pod;

    public async Task InitializeAsync()
    {
        _pod = await RunningPod.StartAsync(_caller, _recipe);
        _ = await _pod.RunAsync(_recipe.Container("app", "sleep 1000"));
        // What the kubelet does before: it counts the app alone.
        Cgroup.Write(new CgroupLimits(500, 64 * Mi));
    }

    public async Task DisposeAsync()
    {
        await _pod!.DisposeAsync();

        // As the kubelet does: what is left of it would bound the next test's parent.
        foreach (string hierarchy in Directory.EnumerateDirectories("/sys/fs/cgroup").Append("/sys/fs/cgroup"))
        {
            if (Directory.Exists(hierarchy + Parent))
            {
                Directory.Delete(hierarchy + Parent);
            }
        }
    }

    public void Dispose() => _caller.Dispose();

    private string Parent => _recipe.Sandbox().Linux.CgroupParent;

    private PodCgroup Cgroup => PodCgroup.Find(Parent, _recipe.Uid)!;

    [Fact]
    public async Task RaiseAll_RunningPod_HasTheSumUntilItIsRemoved()
    {
        PodLimits limits = Limits(200, 32 * Mi);

        await limits.RaiseAllAsync(default);
        Assert.Equal(new CgroupLimits(700, 96 * Mi), Cgroup.Read());

        // A resize: the kubelet writes its own again.
        Cgroup.Write(new CgroupLimits(500, 64 * Mi));
        await limits.RaiseAllAsync(default);
        Assert.Equal(new CgroupLimits(700, 96 * Mi), Cgroup.Read());
        Assert.Equal(2, _log.All.Count(line => line.Contains("are raised for its emulated sidecars: CPU 500 to 700 millis", StringComparison.Ordinal)));
        Assert.Equal(2, _log.All.Count);
    }

    [Fact]
    public async Task RaiseAll_OddAmount_IsWrittenOnce()
    {
        PodLimits limits = Limits(33, (32 * Mi) + 1);
        await limits.RaiseAllAsync(default);
        await limits.RaiseAllAsync(default);
        Assert.Equal(new CgroupLimits(533, 96 * Mi), Cgroup.Read());
        _ = Assert.Single(_log.All);
    }

    [Fact]
    public async Task RaiseAll_ParentAllowsLess_GivesWhatItAllows()
    {
        // The lab's own cgroup stands for the kubelet's; no pod of another test runs meanwhile.
        PodCgroup above = PodCgroup.Find(fixture.Containerd.CgroupParent + $"/pod{_recipe.Uid}", _recipe.Uid)!;
        Assert.Equal(default, above.ReadAbove());
        string quota = QuotaFile(fixture.Containerd.CgroupParent);
        string before = File.ReadAllText(quota).Trim();
        File.WriteAllText(quota, before.EndsWith(" 100000", StringComparison.Ordinal) ? "60000 100000" : "60000");
        try
        {
            await Limits(200, 32 * Mi).RaiseAllAsync(default);
            Assert.Equal(new CgroupLimits(600, 96 * Mi), Cgroup.Read());
        }
        finally
        {
            File.WriteAllText(quota, before);
        }
    }

    private static string QuotaFile(string parent) => File.Exists("/sys/fs/cgroup/cgroup.controllers")
        ? $"/sys/fs/cgroup{parent}/cpu.max"
        : $"/sys/fs/cgroup/cpu{parent}/cpu.cfs_quota_us";

    private PodLimits Limits(long sidecarCpu, long sidecarMemory) => new(
        () =>
        [
            new LimitedPod(
                new PodIdentity(_pod!.SandboxId, _recipe.Uid, "default", _recipe.Name, null),
                new PodFacts
                {
                    Uid = _recipe.Uid, Namespace = "default", Name = _recipe.Name,
                    Containers =
                    [
                        new ContainerFacts("proxy", ContainerRole.Init, Limits: new ResourceAmounts(sidecarCpu, sidecarMemory)),
                        new ContainerFacts("app", ContainerRole.Plain, Limits: new ResourceAmounts(500, 64 * Mi)),
                    ],
                },
                new HashSet<string> { "proxy" }, Parent),
        ],
        _log.CreateLogger("limits"), TimeProvider.System);
}
