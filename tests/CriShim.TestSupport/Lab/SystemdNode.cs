using System.Diagnostics;
using System.Globalization;

namespace CriShim.TestSupport.Lab;

/// <summary>
/// A Debian 12 node of its own, with systemd as its first process and containerd as its runtime, in a container of systemd-nspawn: what is
/// installed, started, upgraded and shut down in it is as on a machine. No kubelet can be had, so kubelet.service is a stand-in.
/// </summary>
/// <remarks>
/// Its processes are seen from here: the root of its first process (/proc/PID/root) leads to its sockets. <see cref="Shared"/> is the same
/// folder on both sides. It has no network but loopback. All is gone when it is disposed of; what killed test runs leave is removed by
/// the next one.
/// </remarks>
public sealed class SystemdNode : IAsyncDisposable
{
    private const string Folders = "/tmp/crishim-node-";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static int s_count;

    private readonly string _name;
    private Process? _nspawn;
    private int _init;

    private SystemdNode(string folder)
    {
        Folder = folder;
        _name = Path.GetFileName(folder);
    }

    /// <summary>Holds the node's root and all else of it.</summary>
    public string Folder { get; }

    public string Root => Path.Combine(Folder, "root");

    /// <summary>The same folder, by the same path, here and in the node.</summary>
    public string Shared => Path.Combine(Folder, "shared");

    /// <summary>Parent cgroup of pods.</summary>
    public string CgroupParent => $"/{_name}";

    public string BootLog => LogTail.Of(Path.Combine(Folder, "boot.log"), 60);

    /// <summary>A path of the node, as it is reached from here while the node runs, its tmpfs included.</summary>
    public string At(string path) => $"/proc/{_init}/root{path}";

    /// <summary>Makes a node that has not booted yet.</summary>
    public static async Task<SystemdNode> CreateAsync()
    {
        await SweepAsync().ConfigureAwait(false);
        await Command.RunAsync(Path.Combine(Repository.Root, "tests", "lab", "packages.sh"), ["node"]).ConfigureAwait(false);
        await Command.RunAsync(Path.Combine(Repository.Root, "tests", "lab", "node.sh"), [Repository.Lab]).ConfigureAwait(false);
        await LabImages.ProvideAsync().ConfigureAwait(false);
        int number = Interlocked.Increment(ref s_count);
        var node = new SystemdNode(string.Create(CultureInfo.InvariantCulture, $"{Folders}{Environment.ProcessId}-{number}"));
        Directory.CreateDirectory(node.Shared);
        Directory.CreateDirectory(Path.Combine(node.Folder, "containerd"));
        await Command.RunAsync("cp", ["-a", Path.Combine(Repository.Lab, "node-rootfs"), node.Root]).ConfigureAwait(false);
        node.WriteFiles();
        await Command.RunAsync("chmod", ["0755", node.Root + "/usr/local/bin/kubelet"]).ConfigureAwait(false);
        return node;
    }

    /// <summary>Runs a program on the node's file system while nothing of it runs, as the build of an image does.</summary>
    public Task<string> BuildAsync(params string[] command) => Command.RunAsync(
        "systemd-nspawn", ["--quiet", "--register=no", "--keep-unit", "--private-network", "-D", Root, $"--bind={Shared}", "--pipe", .. command]);

    public async Task BootAsync()
    {
        // Every node needs a cgroup of its own where systemd keeps its units: nspawn takes what it is started in.
        const string launch = """
            name=$0 log=$1; shift
            for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
                [ -e "$hierarchy/cgroup.procs" ] || continue
                mkdir -p "$hierarchy/$name" && echo $$ > "$hierarchy/$name/cgroup.procs"
            done
            exec setsid systemd-nspawn "$@" > "$log" 2>&1 < /dev/null
            """;
        _nspawn = Process.Start(new ProcessStartInfo("/bin/bash",
        [
            "-c", launch, _name, Path.Combine(Folder, "boot.log"), "--boot", "--register=no", "--keep-unit", "--private-network",
            $"--machine={_name}", $"--uuid={Guid.NewGuid():N}", "-D", Root,
            // What containers need and nspawn's own filter refuses.
            "--system-call-filter=@keyring bpf",
            $"--bind={Shared}", $"--bind={Path.Combine(Folder, "containerd")}:/var/lib/containerd",
            $"--bind-ro={Path.GetDirectoryName(LabImages.BusyboxArchive)}:/images",
        ]))!;
        await Condition.BecomesTrueAsync("the node has booted", Patience, async () =>
        {
            if (_nspawn.HasExited)
            {
                throw new LabException($"systemd-nspawn ended with {_nspawn.ExitCode}:\n{BootLog}");
            }

            if (FirstChild(_nspawn.Id) is not { } init)
            {
                return false;
            }

            _init = init;
            string state = await TryRunAsync("systemctl", "is-system-running").ConfigureAwait(false);
            return state is "running" or "degraded";
        }).ConfigureAwait(false);
    }

    /// <summary>Loads the lab's images into its containerd.</summary>
    public async Task LoadImagesAsync()
    {
        foreach ((string archive, string name) in ((string, string)[])[("pause.tar", LabImages.Pause), ("busybox.tar", LabImages.Busybox)])
        {
            await RunAsync("ctr", "--namespace", "k8s.io", "images", "import", "--index-name", name, $"/images/{archive}").ConfigureAwait(false);
        }
    }

    /// <summary>Runs a program in the node; its standard output. A <see cref="LabException"/> with all it printed when it fails.</summary>
    public Task<string> RunAsync(string program, params string[] arguments) => RunAsync([], program, arguments);

    /// <inheritdoc cref="RunAsync(string, string[])"/>
    public Task<string> RunAsync(IEnumerable<string> environment, string program, params string[] arguments) => Command.RunAsync(
        "nsenter",
        [
            "--target", $"{_init}", "--all", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND=noninteractive", .. environment, program, .. arguments,
        ]);

    /// <summary>What a program prints, whatever its exit code.</summary>
    public async Task<string> TryRunAsync(string program, params string[] arguments)
    {
        try
        {
            return (await RunAsync("/bin/sh", ["-c", "\"$0\" \"$@\" 2>&1 || true", program, .. arguments]).ConfigureAwait(false)).Trim();
        }
        catch (LabException)
        {
            // Its first process is not that far, or gone.
            return "";
        }
    }

    /// <summary>One property of a unit.</summary>
    public async Task<string> PropertyAsync(string unit, string property) =>
        (await RunAsync("systemctl", "show", "--value", "--property", property, unit).ConfigureAwait(false)).Trim();

    /// <summary>Shuts it down by systemd's own ways, and waits until nothing of it runs.</summary>
    public async Task PowerOffAsync()
    {
        await RunAsync("systemctl", "poweroff", "--no-block").ConfigureAwait(false);
        await StoppedAsync().ConfigureAwait(false);
    }

    private async Task StoppedAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(3));
        try
        {
            await _nspawn!.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"The node did not shut down.\n{BootLog}");
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_nspawn is { HasExited: false })
        {
            // All other processes of the node die with its first one, and nspawn ends with it.
            Kernel.Signal(_init > 0 ? _init : _nspawn.Id, Kernel.SigKill);
            await _nspawn.WaitForExitAsync().ConfigureAwait(false);
        }

        _nspawn?.Dispose();
        await RemoveAsync(Folder).ConfigureAwait(false);
    }

    private void WriteFiles()
    {
        Write("/etc/hosts", "127.0.0.1 localhost\n");
        Write("/etc/hostname", "node\n");
        // restrict_oom_score_adj: where the lab runs without CAP_SYS_RESOURCE, lowering a score is refused.
        string snapshotter = new DriveInfo(Folder).DriveFormat.StartsWith("overlay", StringComparison.Ordinal) ? "native" : "overlayfs";
        Write("/etc/containerd/config.toml", $"""
            version = 2
            [plugins."io.containerd.grpc.v1.cri"]
              sandbox_image = "{LabImages.Pause}"
              restrict_oom_score_adj = true
              [plugins."io.containerd.grpc.v1.cri".containerd]
                snapshotter = "{snapshotter}"
            """);
        // nspawn mounts version 1 controllers for reading only.
        Write("/etc/systemd/system/cgroups.service", """
            [Unit]
            Description=Cgroup controllers in which containers can be made
            Before=containerd.service
            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=/bin/sh -c 'for c in /sys/fs/cgroup/*/; do [ ! -e $c/cgroup.procs ] || mount -o remount,rw,bind $c || true; done'
            [Install]
            WantedBy=multi-user.target
            """);
        Write("/usr/local/bin/kubelet", $$"""
            #!/usr/bin/perl
            # Stands in for the kubelet: it is known by its name, has the kubelet's flag, comes to that socket when it starts, writes down
            # how that went, and ends if it was refused.
            use strict;
            use IO::Socket::UNIX;
            sub say_line {
                open(my $uptime, '<', '/proc/uptime'); my ($up) = split(' ', <$uptime>);
                open(my $to, '>>', '{{Shared}}/lines'); print $to "$_[0] $up\n";
            }
            my ($endpoint) = map { /^--container-runtime-endpoint=(.*)/ ? $1 : () } @ARGV;
            my $path = $endpoint =~ s{^unix://}{}r;
            my $socket = IO::Socket::UNIX->new(Peer => $path);
            say_line($socket ? "kubelet-connected" : "kubelet-refused");
            exit 1 if !$socket;
            $SIG{TERM} = sub { say_line("kubelet-stopped"); exit 0 };
            sleep 60 while 1;
            """);
        Write("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/crishim/crishim.sock\"\n");
        Write("/etc/systemd/system/kubelet.service", """
            [Unit]
            Description=Stand-in for the kubelet
            After=network-online.target
            StartLimitIntervalSec=0
            [Service]
            EnvironmentFile=/var/lib/kubelet/kubeadm-flags.env
            ExecStart=/usr/local/bin/kubelet $KUBELET_KUBEADM_ARGS
            Restart=always
            RestartSec=1s
            [Install]
            WantedBy=multi-user.target
            """);
        string wants = Path.Combine(Root, "etc/systemd/system/multi-user.target.wants");
        foreach (string unit in new[] { "cgroups.service", "kubelet.service" })
        {
            File.CreateSymbolicLink(Path.Combine(wants, unit), $"/etc/systemd/system/{unit}");
        }
    }

    private void Write(string path, string content)
    {
        string file = Root + path;
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content.EndsWith('\n') ? content : content + "\n");
    }

    private static int? FirstChild(int pid)
    {
        try
        {
            string[] children = File.ReadAllText($"/proc/{pid}/task/{pid}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return children.Length > 0 ? int.Parse(children[0], CultureInfo.InvariantCulture) : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Removes the nodes of test processes that are gone.</summary>
    private static async Task SweepAsync()
    {
        foreach (string folder in Directory.EnumerateDirectories("/tmp", "crishim-node-*"))
        {
            string owner = Path.GetFileName(folder).Split('-')[2];
            if (!Directory.Exists($"/proc/{owner}"))
            {
                await RemoveAsync(folder).ConfigureAwait(false);
            }
        }
    }

    private static async Task RemoveAsync(string folder)
    {
        string name = Path.GetFileName(folder);
        await Leftovers.KillAsync(() => CgroupsOf(name).SelectMany(Leftovers.ProcessesIn)).ConfigureAwait(false);
        foreach (string cgroup in CgroupsOf(name))
        {
            await Leftovers.RemoveCgroupAsync(cgroup).ConfigureAwait(false);
        }

        string propagated = $"/run/systemd/nspawn/propagate/{name}";
        if (Directory.Exists(propagated))
        {
            Directory.Delete(propagated);
        }

        if (Directory.Exists(folder))
        {
            await Command.RunAsync("rm", ["-rf", "--one-file-system", folder]).ConfigureAwait(false);
        }
    }

    /// <summary>At the root of each hierarchy, and below the cgroup that these tests themselves run in.</summary>
    private static IEnumerable<string> CgroupsOf(string name)
    {
        string[] own = [.. File.ReadAllLines("/proc/self/cgroup").Select(line => line.Split(':')[2]).Append("/").Distinct()];
        return own.SelectMany(parent => Leftovers.CgroupDirectories(parent.TrimEnd('/') + "/" + name)).Distinct();
    }
}
