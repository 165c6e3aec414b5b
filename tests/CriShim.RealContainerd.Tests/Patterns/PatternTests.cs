using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Patterns;

/// <summary>The patterns that the manifests beside the annotations' documentation show, at work.</summary>
public abstract class PatternTests(SidecarLab lab)
{
    private const string WaitForTerm = "while :; do sleep 60 & wait $!; done";
    private const int Jobs = 20, JobsAtOnce = 4;

    /// <summary>Says "KIND answer" over and over to whoever connects; port 5432.</summary>
    private static PatternPod Database(string name, string folder, string logs, string parent) => new(name, folder, logs, parent)
    {
        Sidecars = "",
        Containers = [new PatternContainer("db", false, "say up\nexec nc -ll -p 5432 -e echo rows")],
    };

    // ---- Log shipper -------------------------------------------------------------------------------------------------

    [Fact]
    public async Task LogShipper_OfTheExample_GetsTheLastLinesOutThatItsAppWritesWhileItEnds()
    {
        string shipper = ScriptOf("log-shipper.yaml").Replace("/logs/", $"{PatternPod.Shared}/", StringComparison.Ordinal);
        await using PatternRun run = await PatternRun.StartAsync(lab, (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            Sidecars = "- name: shipper\n  teardownReserve: 5s",
            Containers =
            [
                new PatternContainer("shipper", true, shipper),
                new PatternContainer(
                    "app", false,
                    $"i=0\nput() {{ i=$((i+1)); echo line $i >> {PatternPod.Shared}/app.log; }}\n"
                    + "trap 'while [ $i -lt 500 ]; do put; done; sleep 1; put; say end; exit 0' TERM\n"
                    + "while [ $i -lt 100 ]; do put; done\nsay up\n" + WaitForTerm),
            ],
        });
        PatternPod pod = run.Pods[0];
        await run.RunPodAsync(pod);
        await run.HappensAsync(pod, "app up");

        await run.DeleteAsync(pod);

        Assert.Equal(Enumerable.Range(1, 501).Select(i => $"line {i}"), await PatternRun.LogOfAsync(pod, "shipper"));
        run.CheckLog();
    }

    // ---- Proxies -----------------------------------------------------------------------------------------------------

    /// <summary>The app connects the moment it starts, and once more while it ends.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Ambassador_EmulatedOrAdopted_ServesItsAppsFirstAndLastConnection(bool isEmulated)
    {
        string address = "";
        await using PatternRun run = await PatternRun.StartAsync(lab, Database, (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            Sidecars = """[{"name": "database", "startupProbe": {"tcpSocket": {"port": 5432}, "periodSeconds": 1}}]""",
            Containers =
            [
                new PatternContainer(
                    "database", isEmulated,
                    $"trap 'say TERM; exit 0' TERM\nsay up\nuntil [ -e {PatternPod.Shared}/listen ]; do sleep 0.05; done\n"
                    + $"nc -ll -p 5432 -e nc $(cat {PatternPod.Shared}/address) 5432 &\n{WaitForTerm}"),
                new PatternContainer(
                    "app", false,
                    $"ask() {{ say \"$1 $(nc 127.0.0.1 5432 < /dev/null)\"; }}\ntrap 'ask last; exit 0' TERM\nask first\n{WaitForTerm}"),
            ],
        });
        (PatternPod database, PatternPod pod) = (run.Pods[0], run.Pods[1]);
        await run.RunPodAsync(database);
        await run.HappensAsync(database, "db up");
        address = (await run.Caller.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = run.SandboxOf(database) })).Status.Network.Ip;
        await File.WriteAllTextAsync(Path.Combine(pod.Folder, "address"), address);

        Task running = run.RunPodAsync(pod);
        await run.HappensAsync(pod, "database up");
        await File.WriteAllTextAsync(Path.Combine(pod.Folder, "listen"), "");
        await running;
        await run.HappensAsync(pod, "app first rows");
        await run.DeleteAsync(pod);

        Assert.Equal(["database up", "app first rows", "app last rows", "database TERM"], pod.Lines);
        run.CheckLog();
    }

    // ---- Metrics adapter ---------------------------------------------------------------------------------------------

    [Fact]
    public async Task MetricsAdapter_StillTakesWhatItsAppSendsWhileItEnds()
    {
        await using PatternRun run = await PatternRun.StartAsync(lab, (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            Sidecars = "- name: adapter\n  startupProbe: {tcpSocket: {port: 9125}, periodSeconds: 1}\n  teardownReserve: 5s",
            Containers =
            [
                new PatternContainer("adapter", true, $"trap 'say TERM; exit 0' TERM\nnc -ll -p 9125 -e cat &\n{WaitForTerm}"),
                new PatternContainer(
                    "app", false,
                    $"send() {{ say \"$1 $(echo $1 | nc -w 5 127.0.0.1 9125)\"; }}\ntrap 'send requests:500; exit 0' TERM\nsend requests:1\n{WaitForTerm}"),
            ],
        });
        PatternPod pod = run.Pods[0];
        await run.RunPodAsync(pod);
        await run.HappensAsync(pod, "app requests:1 requests:1");

        await run.DeleteAsync(pod);

        Assert.Equal(["app requests:1 requests:1", "app requests:500 requests:500", "adapter TERM"], pod.Lines);
    }

    // ---- Jobs --------------------------------------------------------------------------------------------------------

    /// <summary>A bare kubelet never finishes the half of them whose proxy is a plain container, and starts the other half never.</summary>
    [Fact]
    public async Task TwentyJobs_WithInjectedProxies_AllCompleteAndLeaveNothing()
    {
        Func<string, string, string, string, PatternPod> Job(bool isEmulated) => (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            RestartPolicy = "Never",
            Sidecars = "proxy",
            Containers =
            [
                new PatternContainer("proxy", isEmulated, $"trap 'say TERM; exit 143' TERM\nsay up\n{WaitForTerm}"),
                new PatternContainer("main", false, "say up\nsleep 0.3\nsay end"),
            ],
        };
        await using PatternRun run = await PatternRun.StartAsync(lab, [.. Enumerable.Range(0, Jobs).Select(i => Job(i % 2 == 0))]);

        await Parallel.ForEachAsync(run.Pods, new ParallelOptions { MaxDegreeOfParallelism = JobsAtOnce }, async (pod, _) =>
        {
            await run.RunPodAsync(pod);
            ContainerStatus main = await run.EndsAsync(pod, "main");
            ContainerStatus proxy = await run.EndsAsync(pod, "proxy");
            if (main.ExitCode != 0 || proxy is not { ExitCode: 0, Reason: "Completed" })
            {
                throw run.Explain($"the Job has not completed: {main} {proxy}");
            }

            await run.HappensAsync(pod, "proxy TERM");
            await run.StopSandboxAsync(pod);
            await run.RemoveSandboxAsync(pod);
        });

        Assert.All(run.Pods, pod => Assert.Equal(["main end", "proxy TERM"], pod.Lines.TakeLast(2)));
        await run.BecomesTrueAsync("no record is left", () => Task.FromResult(Directory.GetDirectories(run.StateFolder).Length == 0));
        run.CheckLog();
    }

    // ---- What a kubelet does not do for them -------------------------------------------------------------------------

    [Fact]
    public async Task EmulatedSidecar_Chatty_HasItsLogRotatedWithoutALineLost()
    {
        await using PatternRun run = await PatternRun.StartAsync(lab, (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            Sidecars = "chatty",
            Containers =
            [
                new PatternContainer(
                    "chatty", true,
                    $"trap 'exit 0' TERM\ni=0\nwhile [ ! -e {PatternPod.Shared}/quiet ]; do i=$((i+1)); echo $i; [ $((i % 50)) = 0 ] && sleep 0.05; done\nsay $i\n{WaitForTerm}"),
                new PatternContainer("app", false, WaitForTerm),
            ],
        });
        PatternPod pod = run.Pods[0];
        await run.RunPodAsync(pod);
        string id = run.IdOf(pod, "chatty");
        await run.LoggedAsync("Log of chatty", 2);
        string log = (await run.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = id })).Status.LogPath;
        await File.WriteAllTextAsync(Path.Combine(pod.Folder, "quiet"), "");
        await run.BecomesTrueAsync("it is quiet", () => Task.FromResult(pod.Lines.Length == 1));

        // `logs` reads the path of the status: it is the file that is written.
        Assert.Equal(pod.Recipe().LogFile("chatty"), log);
        int last = int.Parse(pod.Lines[0].Split(' ')[1], CultureInfo.InvariantCulture);
        int[] lines = [];
        await run.BecomesTrueAsync("its last line is in its log", async () =>
        {
            lines = [.. (await PatternRun.LogOfAsync(pod, "chatty")).Select(line => int.Parse(line, CultureInfo.InvariantCulture))];
            return lines.Length > 0 && lines[^1] == last;
        });
        // The oldest files may have gone by now; from the first line that is left on, none is missing.
        Assert.Equal(Enumerable.Range(lines[0], last - lines[0] + 1), lines);
        Assert.InRange(CriLogText.Files(log).Length, 3, 5);
        await run.BecomesTrueAsync("nothing half done is left", () => Task.FromResult(
            Directory.GetFiles(Path.GetDirectoryName(log)!).ToHashSet().SetEquals(CriLogText.Files(log))));
        Assert.DoesNotContain("could not be rotated", run.Log, StringComparison.Ordinal);
        run.CheckLog();
    }

    [Fact]
    public async Task EmulatedSidecar_WithLimits_RaisesThePodsUntilItIsGone()
    {
        await using PatternRun run = await PatternRun.StartAsync(lab, (name, folder, logs, parent) => new PatternPod(name, folder, logs, parent)
        {
            Sidecars = "proxy",
            Containers =
            [
                new PatternContainer("proxy", true, $"trap 'exit 0' TERM\n{WaitForTerm}", (200, 32)),
                new PatternContainer("app", false, WaitForTerm, (500, 64)),
            ],
        });
        PatternPod pod = run.Pods[0];
        await run.RunSandboxAsync(pod);
        await run.RunContainerAsync(pod, pod.Containers[0]);
        // What the kubelet does before it starts anything: it counts max(init, sum of apps).
        string memory = MemoryFile(pod);
        await File.WriteAllTextAsync(memory, $"{64 << 20}");
        await run.RunContainerAsync(pod, pod.Containers[1]);

        await run.BecomesTrueAsync("the pod's memory is raised", async () => (await File.ReadAllTextAsync(memory)).Trim() == $"{96 << 20}");
        await File.WriteAllTextAsync(memory, $"{64 << 20}");
        await run.BecomesTrueAsync("it is raised again after a resize", async () => (await File.ReadAllTextAsync(memory)).Trim() == $"{96 << 20}");

        await run.DeleteAsync(pod);
        await run.RemoveSandboxAsync(pod);
        run.CheckLog();
    }

    private static string MemoryFile(PatternPod pod)
    {
        string parent = pod.Recipe().Sandbox().Linux.CgroupParent;
        return File.Exists("/sys/fs/cgroup/cgroup.controllers")
            ? $"/sys/fs/cgroup{parent}/memory.max"
            : $"/sys/fs/cgroup/memory{parent}/memory.limit_in_bytes";
    }

    /// <summary>The text of an example's only block scalar in a command.</summary>
    private static string ScriptOf(string example)
    {
        string[] lines = File.ReadAllLines(Path.Combine(Repository.Root, "src", "CriShim.Supervision", "Sidecars", "examples", example));
        int start = Array.FindIndex(lines, line => line.TrimStart() == "- |") + 1;
        int indent = lines[start].Length - lines[start].TrimStart().Length;
        return string.Join('\n', lines.Skip(start).TakeWhile(line => line.Length > indent && string.IsNullOrWhiteSpace(line[..indent])).Select(line => line[indent..]));
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class PatternsOn16Tests(Sidecars16 lab) : PatternTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class PatternsOn17Tests(Sidecars17 lab) : PatternTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class PatternsOn21Tests(Sidecars21 lab) : PatternTests(lab);
