namespace CriShim.TestSupport.Lab;

/// <summary>Writes a private containerd's configuration: only what has to differ from its defaults.</summary>
internal static class ContainerdConfig
{
    public static string File(LabSlot slot) => Path.Combine(slot.Directory, "containerd.toml");

    public static void Write(ContainerdVersion version, LabSlot slot)
    {
        var folder = slot.Directory;
        var networks = Directory.CreateDirectory(Path.Combine(folder, "cni"));
        // No masquerading and no port mappings: pods talk to this machine only, and no firewall rule is needed or left behind.
        System.IO.File.WriteAllText(Path.Combine(networks.FullName, "10-lab.conflist"), $$$"""
            {"cniVersion":"0.4.0","name":"{{{slot.Bridge}}}","plugins":[{
              "type":"bridge","bridge":"{{{slot.Bridge}}}","isGateway":true,"ipMasq":false,
              "ipam":{
                "type":"host-local","dataDir":"{{{folder}}}/ipam",
                "ranges":[[{"subnet":"{{{slot.Subnet}}}"}]],
                "routes":[{"dst":"0.0.0.0/0"}]
              }
            }]}
            """);
        System.IO.File.WriteAllText(File(slot), version.IsAtLeast2 ? Version3(slot) : Version2(slot));
    }

    private static string Common(LabSlot slot) => $"""
        root = "{slot.Directory}/root"
        state = "{slot.Directory}/state"

        [grpc]
          address = "{slot.Directory}/containerd.sock"
        [ttrpc]
          address = "{slot.Directory}/containerd.sock.ttrpc"
        [debug]
          address = "{slot.Directory}/debug.sock"
        [plugins."io.containerd.internal.v1.opt"]
          path = "{slot.Directory}/opt"
        # Its socket has one fixed place on a machine, and that is not ours.
        [plugins."io.containerd.nri.v1.nri"]
          disable = true
        """;

    // restrict_oom_score_adj: where the lab runs without CAP_SYS_RESOURCE, lowering a score is refused.
    private static string Version2(LabSlot slot) => $"""
        version = 2
        {Common(slot)}
        [plugins."io.containerd.grpc.v1.cri"]
          sandbox_image = "{LabImages.Pause}"
          restrict_oom_score_adj = true
          netns_mounts_under_state_dir = true
          stats_collect_period = 1
          [plugins."io.containerd.grpc.v1.cri".cni]
            bin_dir = "{CniPlugins()}"
            conf_dir = "{slot.Directory}/cni"
          [plugins."io.containerd.grpc.v1.cri".containerd]
            snapshotter = "{Snapshotter(slot)}"
            [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
              runtime_type = "io.containerd.runc.v2"
              [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
                Root = "{slot.Directory}/runc"
        """;

    private static string Version3(LabSlot slot) => $"""
        version = 3
        {Common(slot)}
        [plugins."io.containerd.cri.v1.images"]
          snapshotter = "{Snapshotter(slot)}"
          stats_collect_period = 1
          [plugins."io.containerd.cri.v1.images".pinned_images]
            sandbox = "{LabImages.Pause}"
        [plugins."io.containerd.cri.v1.runtime"]
          restrict_oom_score_adj = true
          netns_mounts_under_state_dir = true
          [plugins."io.containerd.cri.v1.runtime".cni]
            bin_dirs = ["{CniPlugins()}"]
            conf_dir = "{slot.Directory}/cni"
          [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
            runtime_type = "io.containerd.runc.v2"
            [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
              Root = "{slot.Directory}/runc"
        """;

    private static string CniPlugins() =>
        new[] { "/usr/lib/cni", "/opt/cni/bin" }.FirstOrDefault(folder => System.IO.File.Exists(Path.Combine(folder, "bridge")))
        ?? throw new LabException("No CNI plugins here. Run: make deps");

    /// <summary>An overlay can't lie on an overlay, which is what the lab's directory is on inside most containers.</summary>
    private static string Snapshotter(LabSlot slot) =>
        new DriveInfo(slot.Directory).DriveFormat.StartsWith("overlay", StringComparison.Ordinal) ? "native" : "overlayfs";
}
