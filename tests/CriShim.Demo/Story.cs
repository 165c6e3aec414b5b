using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Spectre.Console;

namespace CriShim.Demo;

/// <summary>The life of one small pod with a sidecar, every call of it through crishim; the sidecar dies now and then.</summary>
internal sealed class Story(Stage stage, Ground ground, CriCaller through, CriCaller bare, CancellationToken cancellationToken)
{
    public const string PodName = "hello-crishim";
    public const int Deaths = 3;

    private const string Main = "greeter";
    private const string Sidecar = "proxy";
    private const string FirstSidecar = "log";
    private const string SignalTold = "TERM received";
    private const int ProxyPort = 8000;

    /// <summary>What kubelets 1.28 to 1.36 do: they look once a second, then wait 10 s, 20 s, 40 s and on to 5 minutes.</summary>
    private static readonly string[] BareKubelet = ["about 1 s", "10 s and more", "20 s and more"];

    private static readonly TimeSpan RestartDeadline = TimeSpan.FromSeconds(30);

    // Where no pod spec is at hand, as here, the pod's annotation tells which containers are sidecars.
    private readonly PodRecipe _pod = WithSidecar(ground.Pod(PodName));
    private string? _sandbox;
    private string _sidecar = "";
    private string _container = "";
    private string _address = "";

    public async Task TellAsync()
    {
        stage.Chapter("A pod's life through crishim");
        await BeginAsync();
        await LookAsync();
        await CompareAsync();
        stage.Chapter("Its sidecar dies");
        await KillAsync();
        stage.Chapter("The pod's end");
        await EndAsync();
    }

    /// <summary>Takes the pod away, however far the story came. On the bare socket: crishim may be what failed.</summary>
    public async Task ClearAsync()
    {
        if (_sandbox is not { } sandbox)
        {
            return;
        }

        var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddSeconds(30);
        await bare.Runtime.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = sandbox }, deadline: deadline);
        await bare.Runtime.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = sandbox }, deadline: deadline);
    }

    private async Task BeginAsync()
    {
        var cri = through.Runtime;
        await stage.CallAsync("Version", () => cri.VersionAsync(new VersionRequest(), cancellationToken: cancellationToken).ResponseAsync,
            version => $"{version.RuntimeName} {version.RuntimeVersion} answers, CRI {version.RuntimeApiVersion}");

        // Not to be cancelled: a sandbox whose id never arrived could not be taken away again.
        await stage.CallAsync("RunPodSandbox", () => cri.RunPodSandboxAsync(new RunPodSandboxRequest { Config = _pod.Sandbox() }).ResponseAsync,
            run => $"pod sandbox {Short(_sandbox = run.PodSandboxId)} of pod {_pod.Name}");
        cancellationToken.ThrowIfCancellationRequested();
        await stage.CallAsync("PodSandboxStatus", () => cri.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = _sandbox }, cancellationToken: cancellationToken).ResponseAsync,
            status => (_address = status.Status.Network?.Ip ?? "") is { Length: > 0 } ip ? $"ready, pod IP {ip}" : "ready, on the host's network");

        // A sidecar is a restartable init container: it starts before the others and runs beside them.
        var first = _pod.Container(FirstSidecar, $"""
            trap 'echo "{SignalTold}, shipping the last lines"; sleep 0.2; exit 0' TERM
            while :; do sleep 60 & wait $!; done
            """);
        first.Image.Image = ground.BusyboxImage;
        var firstId = "";
        await stage.CallAsync("CreateContainer", () => cri.CreateContainerAsync(_pod.Create(_sandbox!, first), cancellationToken: cancellationToken).ResponseAsync,
            created => $"container {Short(firstId = created.ContainerId)}, name {FirstSidecar}, the pod's first sidecar");
        await stage.CallAsync("StartContainer", () => cri.StartContainerAsync(new StartContainerRequest { ContainerId = firstId }, cancellationToken: cancellationToken).ResponseAsync,
            _ => "running");

        var sidecar = _pod.Container(Sidecar, $"""
            trap 'echo "{SignalTold}, draining connections"; sleep 0.3; exit 0' TERM
            {(_pod.HostNetwork ? "" : $"nc -ll -p {ProxyPort} -e nc 127.0.0.1 8080 &")}
            while :; do sleep 60 & wait $!; done
            """);
        sidecar.Image.Image = ground.BusyboxImage;
        await stage.CallAsync("CreateContainer", () => cri.CreateContainerAsync(_pod.Create(_sandbox!, sidecar), cancellationToken: cancellationToken).ResponseAsync,
            created => $"container {Short(_sidecar = created.ContainerId)}, name {Sidecar}, the pod's second sidecar");
        await stage.CallAsync("StartContainer", () => cri.StartContainerAsync(new StartContainerRequest { ContainerId = _sidecar }, cancellationToken: cancellationToken).ResponseAsync,
            _ => "running");

        var config = _pod.Container(Main, $$"""
            trap 'echo "{{SignalTold}}, saying goodbye"; sleep 0.5; exit 0' TERM
            echo "hello from $POD_NAME"
            {{(_pod.HostNetwork ? "" : "mkdir -p /tmp/www && echo \"it works\" > /tmp/www/index.html && httpd -p 8080 -h /tmp/www && echo 'serving on port 8080'")}}
            while :; do sleep 60 & wait $!; done
            """);
        config.Image.Image = ground.BusyboxImage;
        await stage.CallAsync("CreateContainer", () => cri.CreateContainerAsync(_pod.Create(_sandbox!, config), cancellationToken: cancellationToken).ResponseAsync,
            created => $"container {Short(_container = created.ContainerId)}, name {Main}, the pod's main container");
        await stage.CallAsync("StartContainer", () => cri.StartContainerAsync(new StartContainerRequest { ContainerId = _container }, cancellationToken: cancellationToken).ResponseAsync,
            _ => "running");
    }

    private async Task LookAsync()
    {
        var cri = through.Runtime;
        if (_address.Length > 0 && !_pod.HostNetwork)
        {
            await FetchAsync($"through the sidecar, http://{_address}:{ProxyPort}/ says");
        }

        await stage.CallAsync("ExecSync", () => cri.ExecSyncAsync(
                new ExecSyncRequest { ContainerId = _container, Cmd = { "/bin/sh", "-c", "echo $(hostname), $(ps | wc -l) processes" }, Timeout = 10 }, cancellationToken: cancellationToken).ResponseAsync,
            result => $"exit code {result.ExitCode}: {result.Stdout.ToStringUtf8().Trim()}");
        await stage.CallAsync("ListContainers", () => cri.ListContainersAsync(
                new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } }, cancellationToken: cancellationToken).ResponseAsync,
            list => string.Join(", ", list.Containers.Select(container => $"{container.Metadata.Name}: {State(container.State)}")));
        await stage.CallAsync("ContainerStats", () => cri.ContainerStatsAsync(new ContainerStatsRequest { ContainerId = _container }, cancellationToken: cancellationToken).ResponseAsync,
            stats => string.Create(CultureInfo.InvariantCulture,
                $"memory {(stats.Stats.Memory?.WorkingSetBytes?.Value ?? 0) / 1024.0:0} KiB, CPU {(stats.Stats.Cpu?.UsageCoreNanoSeconds?.Value ?? 0) / 1e6:0} ms"));
    }

    /// <summary>The same calls on both sockets by turns, so that whatever else the machine does meets both alike.</summary>
    private async Task CompareAsync()
    {
        const int rounds = 200;
        var calls = new (string Name, Func<CriCaller, Task> Call)[]
        {
            ("Version", caller => caller.Runtime.VersionAsync(new VersionRequest(), cancellationToken: cancellationToken).ResponseAsync),
            ("ListContainers", caller => caller.Runtime.ListContainersAsync(new ListContainersRequest(), cancellationToken: cancellationToken).ResponseAsync),
            ("ContainerStatus", caller => caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = _container }, cancellationToken: cancellationToken).ResponseAsync),
        };
        var table = new Table().Border(stage.Console.Profile.Capabilities.Ansi ? TableBorder.Rounded : TableBorder.Ascii)
            .Title($"what crishim adds to a call (median of {rounds})")
            .AddColumn("call")
            .AddColumn(new TableColumn("bare socket").RightAligned())
            .AddColumn(new TableColumn("through crishim").RightAligned())
            .AddColumn(new TableColumn("added").RightAligned());
        foreach (var (name, call) in calls)
        {
            var (direct, shimmed) = (new List<TimeSpan>(), new List<TimeSpan>());
            for (var round = 0; round < rounds; round++)
            {
                direct.Add(await TimeAsync(() => call(bare)));
                shimmed.Add(await TimeAsync(() => call(through)));
            }

            var (one, other) = (Median(direct), Median(shimmed));
            table.AddRow(name, Stage.Duration(one), Stage.Duration(other), Stage.Duration(other > one ? other - one : TimeSpan.Zero));
        }

        stage.Console.WriteLine();
        stage.Console.Write(table);
        stage.Console.WriteLine();
    }

    /// <summary>Deaths in a row, each restart but the first put off a little longer: a sidecar that can't live must not eat the node.</summary>
    private async Task KillAsync()
    {
        var cri = through.Runtime;
        var first = _sidecar;
        var table = new Table().Border(stage.Console.Profile.Capabilities.Ansi ? TableBorder.Rounded : TableBorder.Ascii)
            .Title($"from the death of {Sidecar} to its running again")
            .AddColumn("death")
            .AddColumn("exit code")
            .AddColumn(new TableColumn("through crishim").RightAligned())
            .AddColumn("of it, back-off")
            .AddColumn(new TableColumn("a bare kubelet").RightAligned());
        for (var death = 0; death < Deaths; death++)
        {
            var dead = _sidecar;
            var pid = await ProcessOfAsync(dead);
            await stage.CallAsync("(kill -9)", () =>
            {
                using var process = Process.GetProcessById(pid);
                process.Kill();
                return Task.FromResult(pid);
            }, _ => $"process {pid} of {Sidecar}, container {Short(dead)}");
            var (next, attempt) = await stage.CallAsync("ListContainers", () => NextAsync(dead),
                found => $"{Sidecar} runs again: container {Short(found.Id)}, attempt {found.Attempt}");
            _sidecar = next;

            // By containerd's own clock; how it ended is as good through crishim as without it.
            var ended = (await cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = dead }, cancellationToken: cancellationToken)).Status;
            var running = (await cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = next }, cancellationToken: cancellationToken)).Status;
            table.AddRow(
                $"{Ordinal(death)}",
                ended.ExitCode.ToString(CultureInfo.InvariantCulture),
                Stage.Duration(TimeSpan.FromTicks((running.StartedAt - ended.FinishedAt) / 100)),
                death == 0 ? "none" : $"up to {Stage.Duration(TimeSpan.FromMilliseconds(250 << (death - 1)))}",
                BareKubelet[death]);
        }

        if (_address.Length > 0 && !_pod.HostNetwork)
        {
            await FetchAsync("through the sidecar, the page is back");
        }

        await stage.CallAsync("ExecSync", () => cri.ExecSyncAsync(
                new ExecSyncRequest { ContainerId = first, Cmd = { "/bin/echo", "yes" }, Timeout = 10 }, cancellationToken: cancellationToken).ResponseAsync,
            result => $"does the first instance's id {Short(first)} still work? {result.Stdout.ToStringUtf8().Trim()}");
        await stage.CallAsync("ListContainers", () => cri.ListContainersAsync(
                new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } }, cancellationToken: cancellationToken).ResponseAsync,
            list => string.Join(", ", list.Containers
                .Where(container => container.State == ContainerState.ContainerRunning)
                .Select(container => $"{container.Metadata.Name}: {State(container.State)}, attempt {container.Metadata.Attempt}")));
        stage.Console.WriteLine();
        stage.Console.Write(table);
        stage.Say("Death and return by containerd's clock. The kubelet was not needed: it may be stopped, upgrading or slow.");
    }

    private async Task EndAsync()
    {
        var cri = through.Runtime;
        // As kubeadm reset, crictl and a node's drain do it: nothing was stopped before. containerd alone would kill them all, in any order.
        var asked = TimeProvider.System.GetUtcNow();
        await stage.CallAsync("StopPodSandbox", () => cri.StopPodSandboxAsync(new StopPodSandboxRequest { PodSandboxId = _sandbox }, cancellationToken: cancellationToken).ResponseAsync,
            _ => "with all of it running: the main ended first, then the sidecars, the last started first, then the sandbox");
        await stage.CallAsync("ContainerStatus", () => cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = _container }, cancellationToken: cancellationToken).ResponseAsync,
            status => $"{Main}: {State(status.Status.State)}, exit code {status.Status.ExitCode}, reason {status.Status.Reason}");
        var log = await File.ReadAllLinesAsync(_pod.LogFile(Main), cancellationToken);
        var endings = await EndingsAsync();
        await stage.CallAsync("RemovePodSandbox", () => cri.RemovePodSandboxAsync(new RemovePodSandboxRequest { PodSandboxId = _sandbox }, cancellationToken: cancellationToken).ResponseAsync,
            _ => "gone");
        _sandbox = null;
        stage.Console.WriteLine();
        foreach (var row in Timeline.Draw(asked, endings, Math.Clamp(stage.Console.Profile.Width - 62, 20, 60)))
        {
            stage.Say(row);
        }

        stage.Chapter("What the pod wrote to its log");
        foreach (var line in log)
        {
            // time, stream, tag, text: the tag says whether a line is whole.
            var parts = line.Split(' ', 4);
            stage.Console.MarkupLine(parts is [var time, var stream, _, var text]
                ? $"[grey]{Markup.Escape(time[11..Math.Min(23, time.Length)])} {Markup.Escape(stream)}[/]  {Markup.Escape(text)}"
                : Markup.Escape(line));
        }
    }

    /// <summary>Signals by what the processes themselves wrote to their logs, ends by containerd's clock.</summary>
    private async Task<List<Ending>> EndingsAsync()
    {
        var cri = through.Runtime;
        var list = await cri.ListContainersAsync(
            new ListContainersRequest { Filter = new ContainerFilter { PodSandboxId = _sandbox } }, cancellationToken: cancellationToken);
        List<Ending> endings = [];
        foreach (var container in list.Containers)
        {
            var status = (await cri.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = container.Id }, cancellationToken: cancellationToken)).Status;
            var told = (await File.ReadAllLinesAsync(status.LogPath, cancellationToken)).LastOrDefault(line => line.Contains(SignalTold, StringComparison.Ordinal));
            // An instance that was killed before has told nothing.
            if (told is not null)
            {
                endings.Add(new Ending(
                    container.Metadata.Name,
                    DateTimeOffset.Parse(told.Split(' ')[0], CultureInfo.InvariantCulture),
                    DateTimeOffset.UnixEpoch.AddTicks(status.FinishedAt / 100)));
            }
        }

        return endings.Count > 0 ? endings : throw new LabException("No container of the pod was told to end.");
    }

    private static PodRecipe WithSidecar(PodRecipe pod)
    {
        pod.Annotations["crishim.io/sidecars"] =
            $$"""[{"name":"{{FirstSidecar}}","kind":"native"},{"name":"{{Sidecar}}","kind":"native"}]""";
        return pod;
    }

    private async Task FetchAsync(string told)
    {
        using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = TimeSpan.FromSeconds(2) };
        await stage.CallAsync("(HTTP)", () => Condition.SucceedsAsync("the pod answers", TimeSpan.FromSeconds(10),
                () => http.GetStringAsync(new Uri($"http://{_address}:{ProxyPort}/"), cancellationToken)),
            page => $"{told}: {page.Trim()}");
    }

    /// <summary>The process id on this machine.</summary>
    private async Task<int> ProcessOfAsync(string containerId)
    {
        var status = await through.Runtime.ContainerStatusAsync(
            new ContainerStatusRequest { ContainerId = containerId, Verbose = true }, cancellationToken: cancellationToken);
        using var info = JsonDocument.Parse(status.Info["info"]);
        var pid = info.RootElement.GetProperty("pid").GetInt32();

        // A containerd outside of the container that this runs in counts other processes: never kill one of those by its number.
        var cgroup = $"/proc/{pid}/cgroup";
        return File.Exists(cgroup) && (await File.ReadAllTextAsync(cgroup, cancellationToken)).Contains(containerId, StringComparison.Ordinal)
            ? pid
            : throw new LabException($"Process {pid} of container {Short(containerId)} can't be seen from here.");
    }

    /// <summary>The sidecar's next instance, as soon as a list shows it running.</summary>
    private async Task<(string Id, uint Attempt)> NextAsync(string dead)
    {
        var filter = new ContainerFilter { PodSandboxId = _sandbox, LabelSelector = { { "io.kubernetes.container.name", Sidecar } } };
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < RestartDeadline)
        {
            var list = await through.Runtime.ListContainersAsync(new ListContainersRequest { Filter = filter }, cancellationToken: cancellationToken);
            if (list.Containers.FirstOrDefault(container => container.Id != dead && container.State == ContainerState.ContainerRunning) is { } next)
            {
                return (next.Id, next.Metadata.Attempt);
            }

            await Task.Delay(10, cancellationToken);
        }

        throw new LabException($"{Sidecar} was killed and does not run again after {RestartDeadline.TotalSeconds:0} s.");
    }

    private static string Ordinal(int index) => new[] { "first", "second", "third" }[index];

    private static async Task<TimeSpan> TimeAsync(Func<Task> call)
    {
        var began = Stopwatch.GetTimestamp();
        await call();
        return Stopwatch.GetElapsedTime(began);
    }

    private static TimeSpan Median(List<TimeSpan> times)
    {
        times.Sort();
        return times[times.Count / 2];
    }

    private static string Short(string id) => id[..Math.Min(12, id.Length)];

    private static string State(ContainerState state) => state.ToString()["Container".Length..].ToLowerInvariant();
}
