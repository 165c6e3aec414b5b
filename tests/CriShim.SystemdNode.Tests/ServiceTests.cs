using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>A node whose kubelet is pointed at crishim, and a pod on it.</summary>
public sealed class ServiceFixture : IAsyncLifetime
{
    public InstalledNode Installed { get; private set; } = null!;

    public string Running { get; private set; } = null!;

    /// <summary>When what happened during the boot: microseconds after the node's start.</summary>
    public IReadOnlyDictionary<string, long> Boot { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Installed = await InstalledNode.BootAsync();
        var boot = new Dictionary<string, long>();
        foreach (string unit in new[] { "containerd.service", "crishim.socket", "crishim.service", "kubelet.service" })
        {
            boot[$"{unit} started"] = await TimeOfAsync(unit, "InactiveExitTimestampMonotonic");
            boot[$"{unit} ready"] = await TimeOfAsync(unit, "ActiveEnterTimestampMonotonic");
        }

        Boot = boot;
        await Installed.StartPodAsync("lasting");
        Running = await Installed.RunningAsync();
    }

    public async Task DisposeAsync() => await Installed.DisposeAsync();

    private async Task<long> TimeOfAsync(string unit, string property) =>
        long.Parse(await Installed.Node.PropertyAsync(unit, property), CultureInfo.InvariantCulture);
}

/// <summary>crishim as a service of a real systemd: starts, restarts, upgrades. The same container runs through all of it.</summary>
public sealed class ServiceTests(ServiceFixture fixture) : IClassFixture<ServiceFixture>, IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private InstalledNode Installed => fixture.Installed;

    private TestSupport.Lab.SystemdNode Node => fixture.Installed.Node;

    public Task InitializeAsync() => Task.CompletedTask;

    /// <summary>Whatever happened to crishim, the container did not notice, and the node is as it was.</summary>
    public async Task DisposeAsync()
    {
        Assert.StartsWith("main ", fixture.Running, StringComparison.Ordinal);
        Assert.Equal(fixture.Running, await Installed.RunningAsync());
        Assert.Equal("", await Node.RunAsync("systemctl", "--failed", "--no-legend"));
    }

    [Fact]
    public async Task Boot_InstalledBefore_StartsContainerdSocketCrishimKubeletInOrder()
    {
        Assert.Equal("active", await Node.PropertyAsync("crishim-drain.service", "ActiveState"));
        string times = string.Join('\n', fixture.Boot);
        Assert.True(fixture.Boot["containerd.service ready"] <= fixture.Boot["crishim.service started"], times);
        Assert.True(fixture.Boot["crishim.socket ready"] <= fixture.Boot["crishim.service started"], times);
        Assert.True(fixture.Boot["crishim.service ready"] <= fixture.Boot["kubelet.service started"], times);
        await Condition.BecomesTrueAsync(
            "the kubelet has come to its socket", Patience, () => File.Exists(Path.Combine(Node.Shared, "lines")));
        Assert.StartsWith("kubelet-connected ", await File.ReadAllTextAsync(Path.Combine(Node.Shared, "lines")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Unit_AsInstalled_IsHardened()
    {
        string report = await Node.RunAsync("systemd-analyze", "security", "--no-pager", "crishim.service");

        string exposure = report.Split('\n').Single(line => line.Contains("Overall exposure level", StringComparison.Ordinal));
        double level = double.Parse(exposure.Split(':')[1].Trim().Split(' ')[0], CultureInfo.InvariantCulture);
        Assert.InRange(level, 0.1, 2.0);
        Assert.Equal("-999", await Node.PropertyAsync("crishim.service", "OOMScoreAdjust"));
        Assert.Equal("0", await Node.PropertyAsync("crishim.service", "StartLimitIntervalUSec"));
        Assert.Equal("0", await Node.PropertyAsync("crishim.socket", "StartLimitIntervalUSec"));
    }

    [Fact]
    public async Task Restart_TwentyTimesUnderLoad_FailsNoCall()
    {
        await using Load load = Load.On(Installed.Caller.SocketPath);
        var processes = new HashSet<int>();
        for (int i = 0; i < 20; i++)
        {
            int before = load.Calls;
            await Condition.BecomesTrueAsync("calls are answered", Patience, () => load.Calls > before);
            await Node.RunAsync("systemctl", "restart", "crishim.service");
            processes.Add(await Installed.MainProcessAsync());
        }

        await load.StopAsync();
        load.CheckThatNoCallFailed();
        Assert.Equal(20, processes.Count);
    }

    [Fact]
    public async Task Stop_CallersMeanwhile_QueueUntilTheStart()
    {
        int before = await Installed.MainProcessAsync();
        await Node.RunAsync("systemctl", "kill", "--signal=SIGKILL", "crishim.service");
        // systemctl does not wait for the signal's effect: until then the old process may still answer.
        await Condition.BecomesTrueAsync("it is dead", Patience, async () => await Installed.MainProcessAsync() != before);
        using var caller = new CriCaller(Installed.Caller.SocketPath);

        VersionResponse version = await caller.Runtime.VersionAsync(
            new VersionRequest(), deadline: TimeProvider.System.GetUtcNow().UtcDateTime + Patience);

        Assert.Equal("containerd", version.RuntimeName);
        Assert.DoesNotContain(await Installed.MainProcessAsync(), new[] { 0, before });
    }

    [Fact]
    public async Task Upgrade_NewerPackageUnderLoad_FailsNoCallAndKeepsTheSocket()
    {
        string deb = await InstalledNode.BuildDebAsync(Node.Shared, "1.1");
        int before = await Installed.MainProcessAsync();
        long socket = await ActiveSinceAsync("crishim.socket");
        string drained = await Node.PropertyAsync("crishim-drain.service", "ActiveEnterTimestampMonotonic");
        await using Load load = Load.On(Installed.Caller.SocketPath);

        await Node.RunAsync("dpkg", "--install", deb);

        int answered = load.Calls;
        await Condition.BecomesTrueAsync("calls are answered", Patience, () => load.Calls > answered + 100);
        await load.StopAsync();
        load.CheckThatNoCallFailed();
        Assert.Equal("1.1", (await Node.RunAsync("dpkg-query", "-W", "-f=${Version}", "crishim")).Trim());
        Assert.NotEqual(before, await Installed.MainProcessAsync());
        Assert.Equal(socket, await ActiveSinceAsync("crishim.socket"));
        Assert.Equal(drained, await Node.PropertyAsync("crishim-drain.service", "ActiveEnterTimestampMonotonic"));
    }

    [Fact]
    public async Task Hang_ProcessStopped_WatchdogStartsItAnew()
    {
        const string dropIn = "/run/systemd/system/crishim.service.d";
        await Node.RunAsync("mkdir", "-p", dropIn);
        try
        {
            await Node.RunAsync("sh", "-c", $"printf '[Service]\\nWatchdogSec=2s\\n' > {dropIn}/watchdog.conf && systemctl daemon-reload && systemctl restart crishim");
            int hung = await Installed.MainProcessAsync();
            using var caller = new CriCaller(Installed.Caller.SocketPath);

            await Node.RunAsync("kill", "-STOP", $"{hung}");
            VersionResponse version = await caller.Runtime.VersionAsync(
                new VersionRequest(), deadline: TimeProvider.System.GetUtcNow().UtcDateTime + Patience);

            Assert.Equal("containerd", version.RuntimeName);
            Assert.NotEqual(hung, await Installed.MainProcessAsync());
            // The journal may be behind.
            await Condition.BecomesTrueAsync("the journal tells of it", Patience, async () =>
                (await Node.RunAsync("journalctl", "--no-pager", "-u", "crishim.service")).Contains("atchdog timeout", StringComparison.Ordinal));
        }
        finally
        {
            // The other tests' crishim has no reason to be in a hurry.
            await Node.RunAsync("sh", "-c", $"rm -r {dropIn} && systemctl daemon-reload && systemctl restart crishim");
        }
    }

    [Fact]
    public async Task Doctor_NodeInOrder_FindsNoProblem()
    {
        using var json = System.Text.Json.JsonDocument.Parse(await Node.TryRunAsync("crishim", "doctor", "-o", "json"));

        string[] problems = [.. json.RootElement.GetProperty("findings").EnumerateArray()
            .Where(finding => finding.GetProperty("severity").GetString() is "problem")
            .Select(finding => finding.GetProperty("text").GetString()!)];
        string[] good = [.. json.RootElement.GetProperty("findings").EnumerateArray()
            .Where(finding => finding.GetProperty("severity").GetString() is "ok")
            .Select(finding => finding.GetProperty("area").GetString()!)];
        Assert.Empty(problems);
        Assert.Superset(new HashSet<string> { "socket", "crishim", "containerd", "kubelet", "state" }, good.ToHashSet());
    }

    private async Task<long> ActiveSinceAsync(string unit) =>
        long.Parse(await Node.PropertyAsync(unit, "ActiveEnterTimestampMonotonic"), CultureInfo.InvariantCulture);
}
