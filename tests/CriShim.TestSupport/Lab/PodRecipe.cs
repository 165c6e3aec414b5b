using CriShim.Protocol.Runtime.V1;
using Google.Protobuf;

namespace CriShim.TestSupport.Lab;

/// <summary>Builds the configurations of one pod the way the kubelet does: labels, annotations, log paths.</summary>
public sealed class PodRecipe
{
    private readonly string _cgroupParent;

    /// <param name="name">Pod name; also its uid's last part, so that two pods of one name can't be mixed up in a log.</param>
    /// <param name="logRoot">Where the kubelet would have /var/log/pods.</param>
    /// <param name="cgroupParent">Cgroup to put the pod's own below; empty leaves it to containerd.</param>
    public PodRecipe(string name, string logRoot, string cgroupParent = "")
    {
        Name = name;
        Uid = $"{name}-uid";
        LogDirectory = Path.Combine(logRoot, $"default_{name}_{Uid}");
        _cgroupParent = cgroupParent;
    }

    public string Name { get; }

    public string Uid { get; }

    public string LogDirectory { get; }

    public bool HostNetwork { get; init; }

    public Dictionary<string, string> Annotations { get; } = [];

    public PodSandboxConfig Sandbox()
    {
        var config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = Name, Uid = Uid, Namespace = "default" },
            Hostname = HostNetwork ? "" : Name,
            LogDirectory = LogDirectory,
            Labels =
            {
                { "app", Name },
                { "io.kubernetes.pod.name", Name },
                { "io.kubernetes.pod.namespace", "default" },
                { "io.kubernetes.pod.uid", Uid },
            },
            Annotations = { { "kubernetes.io/config.seen", "2026-01-01T00:00:00.000000000Z" }, { "kubernetes.io/config.source", "api" } },
            Linux = new LinuxPodSandboxConfig
            {
                CgroupParent = _cgroupParent.Length == 0 ? "" : $"{_cgroupParent}/pod{Uid}",
                SecurityContext = new LinuxSandboxSecurityContext
                {
                    NamespaceOptions = new NamespaceOption
                    {
                        Network = HostNetwork ? NamespaceMode.Node : NamespaceMode.Pod,
                        Pid = NamespaceMode.Container,
                    },
                    Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
                },
            },
        };
        foreach ((string key, string value) in Annotations)
        {
            config.Annotations[key] = value;
        }

        return config;
    }

    /// <summary>A container that runs <paramref name="script"/> in busybox's shell.</summary>
    public ContainerConfig Container(string name, string script, uint attempt = 0, bool stdin = false) => new()
    {
        Metadata = new ContainerMetadata { Name = name, Attempt = attempt },
        Image = new ImageSpec { Image = LabImages.Busybox, UserSpecifiedImage = "busybox" },
        Command = { "/bin/sh", "-c", script },
        Envs = { new KeyValue { Key = "POD_NAME", Value = ByteString.CopyFromUtf8(Name) } },
        Labels =
        {
            { "io.kubernetes.container.name", name },
            { "io.kubernetes.pod.name", Name },
            { "io.kubernetes.pod.namespace", "default" },
            { "io.kubernetes.pod.uid", Uid },
        },
        Annotations =
        {
            { "io.kubernetes.container.hash", "5f3e2c1a" },
            { "io.kubernetes.container.restartCount", attempt.ToString(System.Globalization.CultureInfo.InvariantCulture) },
            { "io.kubernetes.container.terminationMessagePath", "/dev/termination-log" },
            { "io.kubernetes.container.terminationMessagePolicy", "File" },
            { "io.kubernetes.pod.terminationGracePeriod", "30" },
        },
        LogPath = $"{name}/{attempt}.log",
        Stdin = stdin,
        Linux = new LinuxContainerConfig
        {
            Resources = new LinuxContainerResources { CpuPeriod = 100_000, CpuShares = 128, OomScoreAdj = 1000 },
            SecurityContext = new LinuxContainerSecurityContext
            {
                NamespaceOptions = new NamespaceOption { Network = HostNetwork ? NamespaceMode.Node : NamespaceMode.Pod, Pid = NamespaceMode.Container },
                RunAsUser = new Int64Value(),
                Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
            },
        },
    };

    public string LogFile(string container, uint attempt = 0) => Path.Combine(LogDirectory, container, $"{attempt}.log");

    /// <summary>The kubelet makes a container's log directory before it creates the container.</summary>
    public CreateContainerRequest Create(string sandboxId, ContainerConfig container)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(LogDirectory, container.LogPath))!);
        return new CreateContainerRequest { PodSandboxId = sandboxId, Config = container, SandboxConfig = Sandbox() };
    }
}
