using System.Text.Json;
using CriShim.Commands;
using CriShim.Node.State;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;
using CriShim.TestSupport;

namespace CriShim.Tests.Commands;

public sealed class DoctorCommandTests : IAsyncLifetime
{
    private DoctorBed _bed = null!;

    public async Task InitializeAsync() => _bed = await DoctorBed.StartAsync();

    public async Task DisposeAsync() => await _bed.DisposeAsync();

    [Fact]
    public async Task Doctor_NodeInOrderButForItsSockets_SaysOnlyThat()
    {
        _bed.Kubelet($"--container-runtime-endpoint=unix://{_bed.ListenPath}");
        Directory.CreateDirectory(_bed.At("/run/crishim/state"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

        (int code, string output) = await _bed.RunAsync();

        // The test itself listens, and is not systemd; and what serves has a configuration of its own.
        string[] wrong = [.. output.Split('\n').Where(line => line.StartsWith("problem", StringComparison.Ordinal)
            || line.StartsWith("warning", StringComparison.Ordinal))];
        Assert.Equal(2, wrong.Length);
        Assert.Contains("not to systemd", wrong[0], StringComparison.Ordinal);
        Assert.Contains("the configuration says something else", wrong[1], StringComparison.Ordinal);
        Assert.Equal(ExitCode.Failure, code);
        Assert.EndsWith("0 problems, 2 warnings\n", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', output);
    }

    [Fact]
    public async Task Doctor_Json_IsOneObject()
    {
        (_, string output) = await _bed.RunAsync("-o", "json");

        using JsonDocument json = JsonDocument.Parse(output);
        Assert.False(json.RootElement.GetProperty("healthy").GetBoolean());
        Assert.All(json.RootElement.GetProperty("findings").EnumerateArray(), finding =>
            Assert.Contains(finding.GetProperty("severity").GetString(), (string?[])["ok", "note", "warning", "problem"]));
    }

    [Fact]
    public async Task Doctor_SocketIsThereAndNobodyListens_SaysSo()
    {
        await _bed.AbandonListenSocketAsync();

        Assert.StartsWith($"problem: nobody listens on {_bed.ListenPath}: ", Assert.Single(await _bed.FindAsync("socket")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_NoSocket_SaysHowToStart()
    {
        File.Delete(_bed.ListenPath);

        Assert.Equal(
            $"problem: {_bed.ListenPath} does not exist: crishim does not serve → systemctl enable --now crishim.socket crishim.service",
            Assert.Single(await _bed.FindAsync("socket")));
    }

    [Fact]
    public async Task Doctor_SocketForEverybody_IsAProblem()
    {
        File.SetUnixFileMode(_bed.ListenPath, (UnixFileMode)Convert.ToInt32("666", 8));

        Assert.Contains(
            await _bed.FindAsync("socket"), found => found.StartsWith("problem: anybody on this node may connect", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("1.6.20~ds1", "ok")]
    [InlineData("v2.1.4", "ok")]
    [InlineData("1.5.9", "warning")]
    [InlineData("9.0.0", "warning")]
    public async Task Doctor_ContainerdVersion_SaysWhetherItIsKnown(string version, string severity)
    {
        _bed.Version.RuntimeVersion = version;

        Assert.StartsWith($"{severity}: containerd {version} ", (await _bed.FindAsync("containerd"))[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_OtherRuntime_IsAWarning()
    {
        _bed.Version.RuntimeName = "cri-o";

        Assert.StartsWith("warning: ", (await _bed.FindAsync("containerd"))[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_CriIsDisabled_NamesTheSetting()
    {
        _bed.Backend.Otherwise = call => call.TrailersOnlyAsync(GrpcWire.Unimplemented);

        string found = Assert.Single(await _bed.FindAsync("containerd"));
        Assert.StartsWith("problem: ", found, StringComparison.Ordinal);
        Assert.Contains("disabled_plugins", found, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_AnswersOfMoreThan4MB_AreRead()
    {
        _bed.Pods.Items.Add(new PodSandbox { Id = "s1", Annotations = { { "note", new string('a', 5 << 20) } } });

        Assert.DoesNotContain(await _bed.FindAsync("containerd"), found => found.StartsWith("problem", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Doctor_ContainerdIsDown_SaysWhere()
    {
        await _bed.Backend.DieAsync();

        Assert.StartsWith(
            $"problem: containerd does not answer at {_bed.ContainerdPath}: Unavailable",
            Assert.Single(await _bed.FindAsync("containerd")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("systemd", false, "SystemdCgroup = true")]
    [InlineData("cgroupfs", true, "SystemdCgroup = false")]
    public async Task Doctor_CgroupDriversDiffer_NamesTheSetting(string kubelets, bool containerds, string setting)
    {
        _bed.Write("/var/lib/kubelet/config.yaml", $"kind: KubeletConfiguration\ncgroupDriver: {kubelets}\n");
        _bed.Kubelet("--config", "/var/lib/kubelet/config.yaml");
        _bed.Status.Info["config"] = """{"containerd":{"runtimes":{"runc":{"options":{"SystemdCgroup":IT}}}}}"""
            .Replace("IT", containerds ? "true" : "false", StringComparison.Ordinal);

        Assert.Contains(
            await _bed.FindAsync("containerd"),
            found => found.StartsWith("problem: the kubelet's cgroup driver", StringComparison.Ordinal) && found.Contains(setting, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("000001fffeffffff", false, true)]
    [InlineData("000001fffeffffff", true, false)]
    [InlineData("000001ffffffffff", false, false)]
    public async Task Doctor_ScoresCannotBeLowered_WarnsIfContainerdDoesNotKnow(string bounding, bool isRestricted, bool warns)
    {
        _bed.Write("/proc/1/status", $"CapBnd:\t{bounding}\n");
        _bed.Status.Info["config"] = $$"""{"restrictOOMScoreAdj":{{(isRestricted ? "true" : "false")}}}""";

        Assert.Equal(
            warns, (await _bed.FindAsync("containerd")).Any(found => found.Contains("restrict_oom_score_adj = true", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Doctor_KubeletsFileByARelativePath_IsReadFromTheKubeletsFolder()
    {
        _bed.Kubelet("--config", "kubelet.yaml");
        _bed.Write("/proc/77/cwd/kubelet.yaml", $"kind: KubeletConfiguration\ncontainerRuntimeEndpoint: unix://{_bed.ListenPath}\n");

        Assert.StartsWith("ok: kubelet (process 77)", Assert.Single(await _bed.FindAsync("kubelet")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_KubeletElsewhereByFlag_SaysWhereAndHowToMend()
    {
        _bed.Kubelet("--container-runtime-endpoint", "unix:///run/containerd/containerd.sock", "--config=/var/lib/kubelet/config.yaml");
        _bed.Write("/var/lib/kubelet/config.yaml", $"containerRuntimeEndpoint: unix://{_bed.ListenPath}\n");

        string found = Assert.Single(await _bed.FindAsync("kubelet"));
        Assert.StartsWith(
            "warning: kubelet (process 77) talks to unix:///run/containerd/containerd.sock, past crishim, by --container-runtime-endpoint → set it to "
            + $"unix://{_bed.ListenPath}", found, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("warning", "cgroupDriver: systemd")]
    [InlineData("warning", "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock")]
    [InlineData("ok", "containerRuntimeEndpoint: unix://HERE")]
    [InlineData("ok", "containerRuntimeEndpoint: HERE")]
    public async Task Doctor_KubeletsFile_IsReadWhereNoFlagSaysIt(string severity, string line)
    {
        _bed.Kubelet("--config=/etc/kubelet.yaml");
        _bed.Write("/etc/kubelet.yaml", line.Replace("HERE", _bed.ListenPath, StringComparison.Ordinal));

        Assert.StartsWith($"{severity}: kubelet (process 77)", Assert.Single(await _bed.FindAsync("kubelet")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_SameVersionServesSomethingElse_SaysWhat()
    {
        IReadOnlyList<string> found = await _bed.FindAsync("crishim");

        Assert.Contains($"ok: version {VersionCommand.Version} serves; supervision is on", found);
        // It serves what its own configuration says, and that is not this one.
        Assert.Contains(found, line => line.StartsWith("warning: it serves /run/crishim/crishim.sock → ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Doctor_Draining_SaysHowToEndIt()
    {
        _bed.Admin.Drain.Begin(TimeSpan.FromSeconds(1));

        Assert.Contains(await _bed.FindAsync("crishim"), found => found.Contains("crishim drain --cancel", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(true, "ok: ")]
    [InlineData(false, "warning: nothing keeps the clock right")]
    [InlineData(null, "note: ")]
    public async Task Doctor_Clock_SaysWhetherItCanBeTrusted(bool? isSynchronised, string found)
    {
        _bed.IsSynchronised = isSynchronised;

        Assert.StartsWith(found, Assert.Single(await _bed.FindAsync("clock")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_LittleRoom_NamesTheFolder()
    {
        _bed.Room["/run/crishim/state"] = (4 << 20, 100 << 20);

        Assert.StartsWith(
            "warning: /run/crishim/state has 4 MiB of 100 MiB left", Assert.Single(await _bed.FindAsync("room")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_RecordsOfASandboxThatIsGone_NamesThem()
    {
        Store().Write(new PodRecord { SandboxId = "here" });
        Store().Write(new PodRecord { SandboxId = "gone" });
        _bed.Pod("here", "web");

        Assert.Contains(
            await _bed.FindAsync("state"),
            found => found.StartsWith("warning: records of 1 pod sandboxes that containerd does not have: gone", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Doctor_StateForOthersToRead_IsAWarning()
    {
        Directory.CreateDirectory(_bed.At("/run/crishim/state"));
        File.SetUnixFileMode(_bed.At("/run/crishim/state"), (UnixFileMode)Convert.ToInt32("755", 8));

        Assert.Contains(
            await _bed.FindAsync("state"), found => found.StartsWith("warning: /run/crishim/state can be read by others", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("cgroup.controllers", "ok")]
    [InlineData("memory/tasks", "note")]
    [InlineData("nothing", "problem")]
    public async Task Doctor_Cgroups_SaysWhich(string file, string severity)
    {
        File.Delete(_bed.At("/sys/fs/cgroup/cgroup.controllers"));
        _bed.Write($"/sys/fs/cgroup/{file}", "");

        Assert.StartsWith($"{severity}: ", Assert.Single(await _bed.FindAsync("cgroups")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_KubeconfigIsNotThere_IsAWarning()
    {
        _bed.Configuration = "discovery: {kubeconfig: /nowhere/kubelet.conf}";

        Assert.StartsWith(
            "warning: /nowhere/kubelet.conf can't be used: /nowhere/kubelet.conf does not exist",
            Assert.Single(await _bed.FindAsync("kubeconfig")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_ConfigurationIsWrong_SaysWhatAndFails()
    {
        _bed.Configuration = "log: {level: loud}";

        (int code, string output) = await _bed.RunAsync();

        Assert.Equal(ExitCode.Failure, code);
        Assert.Contains("\"loud\"", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Doctor_PodWithEscapesInItsName_SendsNoneToTheTerminal()
    {
        _bed.Pod("masked", "web\e[2J");
        Mask("masked");

        (_, string output) = await _bed.RunAsync("--before-removal");

        Assert.Contains(@"default/web\u001b[2J (proxy)", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', output);
    }

    [Fact]
    public async Task BeforeRemoval_NothingNeedsIt_Succeeds()
    {
        _bed.Kubelet("--container-runtime-endpoint=unix:///run/containerd/containerd.sock");
        // Something else that is wrong keeps no removal up.
        _bed.IsSynchronised = false;

        (int code, string output) = await _bed.RunAsync("--before-removal");

        Assert.Equal((ExitCode.Success, "ok      removal: nothing on this node needs crishim\nnothing is wrong\n"), (code, output));
    }

    [Theory]
    [InlineData("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix://HERE\"")]
    [InlineData("/var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: unix://HERE")]
    [InlineData("/etc/systemd/system/kubelet.service.d/20-crishim.conf", "Environment=KUBELET_EXTRA_ARGS=--container-runtime-endpoint=unix://HERE")]
    public async Task BeforeRemoval_KubeletsNextStartPointsAtIt_NamesTheFile(string file, string content)
    {
        _bed.Write(file, content.Replace("HERE", _bed.ListenPath, StringComparison.Ordinal));

        (int code, string output) = await _bed.RunAsync("--before-removal");

        Assert.Equal(ExitCode.Failure, code);
        Assert.Contains(file, output, StringComparison.Ordinal);
        Assert.Contains($"set it back to unix://{_bed.ContainerdPath}", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BeforeRemoval_FileOnlyMentionsItInAComment_Succeeds()
    {
        _bed.Write("/var/lib/kubelet/config.yaml", $"# containerRuntimeEndpoint: unix://{_bed.ListenPath}");

        Assert.Equal(ExitCode.Success, (await _bed.RunAsync("--before-removal")).Code);
    }

    [Fact]
    public async Task BeforeRemoval_RunningKubeletPointsAtIt_NamesTheProcess()
    {
        _bed.Kubelet($"--container-runtime-endpoint=unix://{_bed.ListenPath}");

        string found = Assert.Single(await _bed.FindAsync("removal", "--before-removal"));
        Assert.Contains("the kubelet that runs (process 77, by --container-runtime-endpoint)", found, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BeforeRemoval_PodWithAMask_NamesPodAndContainer()
    {
        _bed.Pod("masked", "job");
        Mask("masked");

        string found = Assert.Single(await _bed.FindAsync("removal", "--before-removal"));
        Assert.StartsWith("problem: ", found, StringComparison.Ordinal);
        Assert.Contains("default/job (proxy)", found, StringComparison.Ordinal);
    }

    [Fact]
    public async Task BeforeRemoval_MaskOfASandboxThatIsGone_Succeeds()
    {
        Mask("gone");

        Assert.Equal(ExitCode.Success, (await _bed.RunAsync("--before-removal")).Code);
    }

    [Fact]
    public async Task BeforeRemoval_ContainerdIsDown_TakesEveryMaskForLive()
    {
        Mask("masked");
        await _bed.Backend.DieAsync();

        Assert.Contains("pod sandbox masked (proxy)", Assert.Single(await _bed.FindAsync("removal", "--before-removal")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task BeforeRemoval_PodThatIsBeingEnded_NamesIt()
    {
        _bed.Pod("ending", "web");
        Store().Write(new PodRecord { SandboxId = "ending", End = new SandboxEndRecord(default, default, IsImpatient: false) });

        Assert.Contains("being ended in order: default/web", Assert.Single(await _bed.FindAsync("removal", "--before-removal")), StringComparison.Ordinal);
    }

    private StateStore Store() => new(_bed.At("/run/crishim/state"), _bed.Admin.Log);

    private void Mask(string sandboxId) => Assert.True(Store().Write(new LineageRecord
    {
        SandboxId = sandboxId, Name = "proxy", Instances = [new InstanceRecord { Id = "c1", HasServed = true, ExitCode = 143 }],
    }));
}
