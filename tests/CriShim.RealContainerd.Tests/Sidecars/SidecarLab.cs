using CriShim.TestSupport.KubeletDouble;
using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>One containerd of a version for all tests of sidecars; each test has a crishim, a pod and a kubelet of its own.</summary>
public abstract class SidecarLab(ContainerdVersion version) : IAsyncLifetime
{
    private PrivateContainerd? _containerd;
    private int _pods;

    public ContainerdVersion Version => version;

    public PrivateContainerd Containerd => _containerd!;

    public KubeletDirectories Kubelet => KubeletDirectories.Below(Containerd.Folder);

    public string ConfigFile => Path.Combine(Containerd.Folder, "crishim.yaml");

    /// <summary>A name that no pod had before.</summary>
    public string NextPodName() => $"pod{Interlocked.Increment(ref _pods)}";

    public async Task InitializeAsync()
    {
        _containerd = await PrivateContainerd.StartAsync(version);
        // Logs are small here, and what a pod may use is raised: of emulated sidecars alone. Without jitter delays are known, and short ones do where a test lets one sidecar die ten times; and a window that a slow machine
        // keeps to, for some tests hold a restart up at every step.
        await File.WriteAllTextAsync(ConfigFile, $"""
            apiVersion: crishim.io/v1alpha1
            kind: CriShimConfiguration
            supervision:
              restart:
                jitter: 0
                shownRunningFor: 10s
                errorExit:
                  maxDelay: 1s
                outOfMemory:
                  firstDelay: 0s
                  initialDelay: 250ms
              logRotation:
                maxSize: 16Ki
                interval: 1s
              podResources: raise
            kubelet:
              rootDirectory: {Kubelet.Root}
              podLogsDirectory: {Kubelet.PodLogs}
              containerLogsDirectory: {Kubelet.ContainerLogs}
            """);
    }

    public async Task DisposeAsync()
    {
        if (_containerd is not null)
        {
            await _containerd.DisposeAsync();
        }
    }
}

public sealed class Sidecars16() : SidecarLab(ContainerdVersion.V16);

public sealed class Sidecars17() : SidecarLab(ContainerdVersion.V17);

public sealed class Sidecars21() : SidecarLab(ContainerdVersion.V21);

[CollectionDefinition(Name)]
public sealed class SidecarsOn16 : ICollectionFixture<Sidecars16>
{
    public const string Name = "sidecars on containerd 1.6";
}

[CollectionDefinition(Name)]
public sealed class SidecarsOn17 : ICollectionFixture<Sidecars17>
{
    public const string Name = "sidecars on containerd 1.7";
}

[CollectionDefinition(Name)]
public sealed class SidecarsOn21 : ICollectionFixture<Sidecars21>
{
    public const string Name = "sidecars on containerd 2.1";
}
