using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.SystemdNode.Tests;

/// <summary>How crishim leaves a node.</summary>
public sealed class RemovalTests
{
    [Fact]
    public async Task Remove_KubeletStillPointsAtIt_IsRefusedAndThenLeavesAWorkingNode()
    {
        await using InstalledNode installed = await InstalledNode.BootAsync();
        TestSupport.Lab.SystemdNode node = installed.Node;
        await installed.StartPodAsync("lasting");
        string running = await installed.RunningAsync();

        LabException refused = await Assert.ThrowsAsync<LabException>(() => node.RunAsync("dpkg", "--remove", "crishim"));

        Assert.Contains("the kubelet is pointed at crishim", refused.Message, StringComparison.Ordinal);
        Assert.Contains("/var/lib/kubelet/kubeadm-flags.env", refused.Message, StringComparison.Ordinal);
        Assert.Contains("unix:///run/containerd/containerd.sock", refused.Message, StringComparison.Ordinal);
        Assert.Equal("containerd", (await installed.Caller.Runtime.VersionAsync(new VersionRequest())).RuntimeName);
        Assert.Equal("installed", (await node.RunAsync("dpkg-query", "-W", "-f=${db:Status-Status}", "crishim")).Trim());

        // What it says is to be done.
        await node.RunAsync("sed", "-i", "s|/run/crishim/crishim.sock|/run/containerd/containerd.sock|", "/var/lib/kubelet/kubeadm-flags.env");
        await node.RunAsync("systemctl", "restart", "kubelet");
        await node.RunAsync("dpkg", "--remove", "crishim");

        Assert.Equal(running, await installed.RunningAsync());
        Assert.Equal("", (await node.RunAsync("systemctl", "list-units", "--no-legend", "crishim*")).Trim());
        Assert.False(Directory.Exists(node.At("/run/crishim")), "/run/crishim is left over");
        RunPodSandboxResponse after = await installed.Bare.Runtime.RunPodSandboxAsync(
            new RunPodSandboxRequest { Config = installed.Recipe("after").Sandbox() });
        Assert.NotEmpty(after.PodSandboxId);

        await node.RunAsync("dpkg", "--purge", "crishim");
        Assert.False(Directory.Exists(node.At("/etc/crishim")), "/etc/crishim is left over");
        Assert.Equal("", (await node.RunAsync("sh", "-c", "find /etc/systemd /usr /lib /run/systemd /var/lib -name '*crishim*' -not -path '*/dpkg/*'")).Trim());

        // It boots without it, too, and the kubelet finds its runtime.
        File.Delete(Path.Combine(node.Shared, "lines"));
        await node.PowerOffAsync();
        await node.BootAsync();
        Assert.Equal("", await node.RunAsync("systemctl", "--failed", "--no-legend"));
        await Condition.BecomesTrueAsync(
            "the kubelet has come to containerd", TimeSpan.FromSeconds(60),
            () => File.ReadAllText(Path.Combine(node.Shared, "lines")).Contains("kubelet-connected", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Remove_ByForce_GoesOn()
    {
        await using InstalledNode installed = await InstalledNode.BootAsync();

        await installed.Node.RunAsync(["CRISHIM_REMOVE=force"], "dpkg", "--remove", "crishim");

        Assert.False(File.Exists(installed.Node.At("/usr/bin/crishim")));
        Assert.True(Directory.Exists(installed.Node.At("/run/crishim/state")), "a crishim that comes back would know nothing of the pods");
    }
}
