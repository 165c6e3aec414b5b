using System.Globalization;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Google.Protobuf;
using Google.Protobuf.Collections;

namespace CriShim.TestSupport.KubeletDouble;

/// <summary>
/// A pod as a real kubelet sent it, with a sidecar <c>proxy</c> and a main container <c>app</c>, made over for the lab: its own name,
/// directories, cgroup, image and scripts.
/// </summary>
public sealed class KubeletPod
{
    public const string Sidecar = "proxy";
    public const string Main = "app";

    /// <summary>Tells the shim what the pod's spec would.</summary>
    public const string SidecarAnnotation = """[{"name":"proxy","kind":"native"}]""";

    private static readonly JsonParser s_json = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));
    private readonly RunPodSandboxRequest _sandbox;
    private readonly Dictionary<string, ContainerConfig> _containers = new(StringComparer.Ordinal);
    private readonly KubeletDirectories _directories;

    /// <param name="kubelet">Whose requests: 1.28 or 1.36.</param>
    /// <param name="name">Of the pod.</param>
    /// <param name="directories">Where this kubelet keeps its files.</param>
    /// <param name="cgroupParent">Of all pods.</param>
    public KubeletPod(string kubelet, string name, KubeletDirectories directories, string cgroupParent)
    {
        Name = name;
        Uid = Guid.NewGuid().ToString();
        _directories = directories;
        _sandbox = s_json.Parse<RunPodSandboxRequest>(Recorded($"sandbox-{kubelet}"));
        PodSandboxConfig config = _sandbox.Config;
        config.Metadata.Name = name;
        config.Metadata.Uid = Uid;
        config.Hostname = name;
        config.LogDirectory = LogDirectory;
        config.Linux.CgroupParent = $"{cgroupParent}/pod{Uid}";
        SetLabels(config.Labels);
        config.Annotations["crishim.io/sidecars"] = SidecarAnnotation;
        foreach ((string role, string container) in new[] { ("sidecar", Sidecar), ("main", Main) })
        {
            ContainerConfig create = s_json.Parse<CreateContainerRequest>(Recorded($"{role}-{kubelet}")).Config;
            create.Image.Image = LabImages.Busybox;
            SetLabels(create.Labels);
            _containers.Add(container, create);
        }

        // Ends when it is told to, with the code that it is told; says what it is, and leaves its last words.
        Script(Sidecar).Add(
            "echo proxy is up; trap 'echo TERM > /dev/termination-log; exit 0' TERM; "
            + "until [ -s /tmp/code ]; do sleep 0.05; done; echo last words > /dev/termination-log; code=$(cat /tmp/code); "
            + "[ $code = oom ] && x=0123456789abcdef && while true; do x=$x$x; done; exit $code");
        Script(Main).Add("trap 'exit 0' TERM; while true; do sleep 0.1; done");
    }

    public string Name { get; }

    public string Uid { get; }

    public static string Namespace => "default";

    public string LogDirectory => Path.Combine(_directories.PodLogs, $"{Namespace}_{Name}_{Uid}");

    /// <summary>The sandbox's annotations, the pod's own among them.</summary>
    public IDictionary<string, string> Annotations => _sandbox.Config.Annotations;

    public PodSandboxConfig SandboxConfig => _sandbox.Config;

    public RunPodSandboxRequest Sandbox => _sandbox;

    /// <summary>The pod's containers in start order.</summary>
    public IReadOnlyList<string> ContainerNames => [Sidecar, Main];

    /// <summary>What the kubelet would make of the pod's spec now; changes are seen by the next create.</summary>
    public ContainerConfig Spec(string container) => _containers[container];

    public string LogFile(string container, uint attempt) => Path.Combine(LogDirectory, container, string.Create(CultureInfo.InvariantCulture, $"{attempt}.log"));

    public string LogLink(string container, string id) => Path.Combine(_directories.ContainerLogs, $"{Name}_{Namespace}_{container}-{id}.log");

    /// <summary>The create of an attempt, with all that a kubelet makes for it on disk.</summary>
    public CreateContainerRequest Create(string sandboxId, string container, uint attempt)
    {
        ContainerConfig config = _containers[container].Clone();
        string number = attempt.ToString(CultureInfo.InvariantCulture);
        config.Metadata.Attempt = attempt;
        config.Annotations["io.kubernetes.container.restartCount"] = number;
        config.LogPath = $"{container}/{number}.log";
        Directory.CreateDirectory(Path.GetDirectoryName(LogFile(container, attempt))!);
        Directory.CreateDirectory(_directories.ContainerLogs);
        string podFolder = Path.Combine(_directories.Pods, Uid);
        string terminationLogs = Path.Combine(podFolder, "containers", container);
        Directory.CreateDirectory(terminationLogs);
        File.AppendAllText(Path.Combine(podFolder, "etc-hosts"), "");
        string terminationLog = Path.Combine(terminationLogs, Guid.NewGuid().ToString("N")[..8]);
        File.WriteAllText(terminationLog, "");
        foreach (Mount mount in config.Mounts)
        {
            mount.HostPath = mount.ContainerPath == "/dev/termination-log" ? terminationLog : Path.Combine(podFolder, "etc-hosts");
        }

        // They come out of a Go map: every create has another order.
        KeyValue[] envs = [.. config.Envs];
        config.Envs.Clear();
        int first = (int)(attempt % (uint)Math.Max(1, envs.Length));
        config.Envs.Add(envs[first..]);
        config.Envs.Add(envs[..first]);
        return new CreateContainerRequest { PodSandboxId = sandboxId, Config = config, SandboxConfig = _sandbox.Config.Clone() };
    }

    /// <summary>What a kubelet does after the start: nobody else ever makes or mends the link.</summary>
    public void Link(string container, uint attempt, string id)
    {
        string link = LogLink(container, id);
        File.Delete(link);
        File.CreateSymbolicLink(link, LogFile(container, attempt));
    }

    /// <summary>Its termination logs.</summary>
    public string[] TerminationLogs(string container)
    {
        string folder = Path.Combine(_directories.Pods, Uid, "containers", container);
        return Directory.Exists(folder) ? Directory.GetFiles(folder) : [];
    }

    private static Stream Open(string name) =>
        typeof(KubeletPod).Assembly.GetManifestResourceStream($"kubelet.{name}") ?? throw new LabException($"Nothing is recorded as {name}.");

    private static string Recorded(string name)
    {
        using var reader = new StreamReader(Open(name));
        return reader.ReadToEnd();
    }

    private void SetLabels(MapField<string, string> labels)
    {
        labels["io.kubernetes.pod.name"] = Name;
        labels["io.kubernetes.pod.uid"] = Uid;
    }

    private RepeatedField<string> Script(string container)
    {
        RepeatedField<string> command = _containers[container].Command;
        command.Clear();
        command.Add("sh");
        command.Add("-c");
        return command;
    }
}

/// <summary>A kubelet's directories.</summary>
/// <param name="Root">Its --root-dir.</param>
/// <param name="PodLogs">Its podLogsDir.</param>
/// <param name="ContainerLogs">The links.</param>
public sealed record KubeletDirectories(string Root, string PodLogs, string ContainerLogs)
{
    public string Pods => Path.Combine(Root, "pods");

    /// <summary>All below one folder, which goes with the lab.</summary>
    public static KubeletDirectories Below(string folder) =>
        new(Path.Combine(folder, "kubelet"), Path.Combine(folder, "log", "pods"), Path.Combine(folder, "log", "containers"));
}
