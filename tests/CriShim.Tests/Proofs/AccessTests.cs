using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.RegularExpressions;
using CriShim.Admin;
using CriShim.Protocol.Admin.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Proofs;
using Google.Protobuf;
using Grpc.Core;

namespace CriShim.Tests.Proofs;

/// <summary>Who is let in, what is written down, and what is told to whom. src/CriShim/Serving/threats.md has the lines that these prove.</summary>
[Trait(Proof.Category, Proof.Name)]
public sealed partial class AccessTests
{
    private const string Canary = "c4n4ry";
    private const string Nobody = "65534";

    // The first octet of an answer, for the proxy greets whoever it serves.
    private const string Visit =
        "socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; if (!connect($s, sockaddr_un($ARGV[0]))) { print \"refused\"; exit } "
        + "print sysread($s, my $octet, 1) ? \"served\" : \"cut off\"";

    private static readonly string[] HostileNames =
    [
        "a\n2026-01-01T00:00:00.000Z info: CriShim.Serve[1] crishim forged", "\u001b[2J\u001b[1;1Hb", "c\rd", "../../../../tmp/crishim-escape", "e/f",
        "g\u202eh", "i\u2028j\u0085k", "sandbox.pod", "x.y.json.new", "..", "%0a$(reboot)`reboot`", new('n', 10_000),
    ];

    [Fact]
    public async Task CallersSocket_ByItsMode_LetsInItsGroupAndNobodyElse()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync("listen: {mode: \"0660\"}");
        await using DaemonBed ofTheirs = await DaemonBed.StartAsync($"listen: {{mode: \"0660\", group: \"{Nobody}\"}}");

        Assert.Equal("refused", await VisitAsNobodyAsync(bed, bed.Crishim.ListenPath));
        Assert.Equal("served", await VisitAsNobodyAsync(ofTheirs, ofTheirs.Crishim.ListenPath));
    }

    [Fact]
    public async Task AdminSocket_ThatSomebodyOpenedToAll_StillServesRootAlone()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        Assert.Equal("600", Convert.ToString((int)File.GetUnixFileMode(bed.AdminPath), 8));
        Assert.Equal("refused", await VisitAsNobodyAsync(bed, bed.AdminPath));

        File.SetUnixFileMode(bed.AdminPath, (UnixFileMode)Convert.ToInt32("666", 8));

        Assert.Equal("cut off", await VisitAsNobodyAsync(bed, bed.AdminPath));
        await bed.LoggedAsync($"of user {Nobody} connected to unix://{bed.AdminPath}, which is not for it");
        using var root = new UnixChannel(bed.AdminPath);
        Assert.Equal(bed.Crishim.ListenPath, (await new Supervisor.SupervisorClient(root.Invoker).StatusAsync(new Protocol.Admin.V1.StatusRequest())).ListenPath);
    }

    [Fact]
    public async Task Caller_ThatChangesSomething_IsLoggedByItsCredentialsOnce()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        _ = await bed.Caller.Runtime.ListContainersAsync(new ListContainersRequest());
        string ended = await bed.RunPodAsync(0);
        await bed.EndPodAsync(ended);

        string credentials = $"Process {Environment.ProcessId} of user 0 changes something: /runtime.v1.RuntimeService/RunPodSandbox";
        await bed.LoggedAsync(credentials);
        Assert.Single(bed.Crishim.Log.Split('\n'), line => line.Contains("changes something", StringComparison.Ordinal));
    }

    [Fact]
    public async Task State_OfPods_IsForTheOwnerAlone()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync();
        string pod = await bed.RunPodAsync(0);
        await bed.RestartsADeadOneAsync(pod);

        string[] files = Directory.GetFiles(bed.StateDirectory, "*", SearchOption.AllDirectories);
        Assert.NotEmpty(files);
        Assert.All(files, file => Assert.Equal("600", Convert.ToString((int)File.GetUnixFileMode(file), 8)));
        string[] folders = [bed.StateDirectory, .. Directory.GetDirectories(bed.StateDirectory, "*", SearchOption.AllDirectories)];
        Assert.All(folders, folder => Assert.Equal("700", Convert.ToString((int)File.GetUnixFileMode(folder), 8)));
    }

    /// <summary>Names of pods and containers, log paths, termination logs: text that somebody else wrote.</summary>
    [Fact]
    public async Task HostileNames_InEveryPlace_BecomeNoLogLineAndNoPath()
    {
        await using DaemonBed bed = await DaemonBed.StartAsync("log: {level: debug}");
        string[] before = Directory.GetFileSystemEntries(bed.Folder);
        foreach (string name in HostileNames)
        {
            PodSandboxConfig sandbox = SidecarPods.Sandbox(0);
            sandbox.Metadata = new PodSandboxMetadata { Name = name, Namespace = name, Uid = name };
            sandbox.LogDirectory = $"/var/log/pods/{name}";
            sandbox.Annotations["crishim.io/sidecars"] = $"[{{\"name\":\"istio-proxy\",\"kind\":\"native\"}},{{name: {JsonSerializer.Serialize(name)}}}]";
            sandbox.Annotations["crishim.io/supervise"] = name;
            sandbox.Annotations["crishim.io/restart-policy"] = name;
            RunPodSandboxResponse run = await bed.Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = sandbox });
            foreach (string container in new[] { name, "istio-proxy" })
            {
                CreateContainerRequest create = SidecarPods.Create(run.PodSandboxId, sandbox, container);
                create.Config.LogPath = $"{name}/0.log";
                create.Config.Annotations["io.kubernetes.container.terminationMessagePath"] = name;
                create.Config.Mounts.Add(new Mount { ContainerPath = name, HostPath = $"/var/lib/kubelet/pods/{name}" });
                CreateContainerResponse created = await bed.Caller.Runtime.CreateContainerAsync(create);
                await bed.Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId });
            }

            // Both die, one of them is replaced.
            int started = bed.Node.Started;
            bed.Node.Kill(bed.Node.RunningIn(run.PodSandboxId));
            await bed.BecomesTrueAsync("the sidecar runs again", () => bed.Node.Started > started);
            await AskAdminAsync(bed);
            await Assert.ThrowsAsync<RpcException>(async () => await bed.Caller.Runtime.StopContainerAsync(new StopContainerRequest { ContainerId = name }));
            Assert.All(
                Directory.GetFileSystemEntries(bed.StateDirectory, "*", SearchOption.AllDirectories),
                file => Assert.Matches(@"\A[-A-Za-z0-9._]{1,160}\z", Path.GetFileName(file)));
            await bed.EndPodAsync(run.PodSandboxId);
        }

        Assert.Equal(before.Order(), Directory.GetFileSystemEntries(bed.Folder).Order());
        Assert.False(Path.Exists("/tmp/crishim-escape"));
        Assert.All(bed.Crishim.Log.TrimEnd('\n').Split('\n'), line =>
        {
            Assert.Matches(LogLine(), line);
            Assert.DoesNotContain(line, c => char.GetUnicodeCategory(c) is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator);
            Assert.InRange(line.Length, 1, 5000);
        });
        Assert.Contains("istio-proxy", bed.Crishim.Log, StringComparison.Ordinal);
    }

    /// <summary>Whatever it says, to whomever, has no secret of a pod in it.</summary>
    [Fact]
    public async Task Canary_InEverySecretPlaceOfAPod_IsInNoOutput()
    {
        int port = FreePort.Take();
        await using DaemonBed bed = await DaemonBed.StartAsync("log: {level: debug}", "--metrics", $"127.0.0.1:{port}");
        PodSandboxConfig sandbox = SidecarPods.Sandbox(0);
        sandbox.Annotations["example.io/token"] = Canary;
        sandbox.Annotations["crishim.io/restart-policy"] = Canary;
        sandbox.Annotations["crishim.io/sidecars"] =
            $$$$"""
            [{"name":"istio-proxy","kind":"native","startupProbe":{"exec":{"command":["/bin/{{{{Canary}}}}","{{{{Canary}}}}"]},"periodSeconds":1}},
             {"name":"log-agent","kind":"native","startupProbe":{"httpGet":{"port":1,"host":"{{{{Canary}}}}.example","httpHeaders":[{"name":"Authorization","value":"{{{{Canary}}}}"}]}}},
             {"name":"metrics-agent","kind":"{{{{Canary}}}}","teardownReserve":"{{{{Canary}}}}","restart":{"initialDelay":"{{{{Canary}}}}"}}]
            """;
        RunPodSandboxResponse run = await bed.Caller.Runtime.RunPodSandboxAsync(new RunPodSandboxRequest { Config = sandbox });
        foreach (string name in SidecarPods.Names)
        {
            CreateContainerRequest create = SidecarPods.Create(run.PodSandboxId, sandbox, name);
            create.Config.Envs.Add(new KeyValue { Key = "TOKEN", Value = ByteString.CopyFromUtf8(Canary) });
            create.Config.Args.Add($"--token={Canary}");
            create.Config.Command.Add(Canary);
            create.Config.Annotations["example.io/token"] = Canary;
            create.Config.Annotations["io.kubernetes.container.preStopHandler"] = $$$"""{"exec":{"command":["/bin/sh","-c","{{{Canary}}}"]}}""";
            CreateContainerResponse created = await bed.Caller.Runtime.CreateContainerAsync(create);
            await bed.Caller.Runtime.StartContainerAsync(new StartContainerRequest { ContainerId = created.ContainerId });
        }

        // A backend quotes commands in its errors, and so it does when the next instance is made.
        int refused = 0;
        bed.Node.Before = (method, _) => method == "CreateContainer" && Interlocked.Increment(ref refused) == 1
            ? throw new RpcException(new Status(StatusCode.Unknown, $"failed to run {Canary}"))
            : Task.CompletedTask;
        string dead = bed.Node.RunningIn(run.PodSandboxId)[0];
        bed.Node.Kill([dead]);
        await bed.BecomesTrueAsync("the sidecar runs again after a refusal", () => Volatile.Read(ref refused) > 1 && bed.Node.Started > SidecarPods.Names.Count);
        _ = await bed.Caller.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = bed.Node.RunningIn(run.PodSandboxId)[0], Cmd = { "sh", "-c", Canary } });

        var outputs = new Dictionary<string, string>(await AskAdminAsync(bed));
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        foreach (string path in new[] { "/", "/metrics", "/healthz", "/readyz" })
        {
            outputs.Add(path, await (await http.GetAsync(path)).Content.ReadAsStringAsync());
        }

        string running = bed.Node.RunningIn(run.PodSandboxId)[0];
        ContainerStatusResponse container = await bed.Caller.Runtime.ContainerStatusAsync(new ContainerStatusRequest { ContainerId = running, Verbose = true });
        PodSandboxStatusResponse pod = await bed.Caller.Runtime.PodSandboxStatusAsync(new PodSandboxStatusRequest { PodSandboxId = run.PodSandboxId, Verbose = true });
        Protocol.Runtime.V1.StatusResponse node = await bed.Caller.Runtime.StatusAsync(new Protocol.Runtime.V1.StatusRequest { Verbose = true });
        outputs.Add("crictl inspect", container.Info["crishim"]);
        outputs.Add("crictl inspectp", pod.Info["crishim"]);
        outputs.Add("crictl info", node.Info["crishim"]);
        await bed.EndPodAsync(run.PodSandboxId);
        outputs.Add("the log", bed.Crishim.Log);

        foreach (string told in new[] { "ListPods", "Explain", "GetEvents", "GetTimeline", "/", "crictl inspectp", "the log" })
        {
            // None of it is empty.
            Assert.Contains("istio-proxy", outputs[told], StringComparison.Ordinal);
        }

        Assert.All(outputs, output => Assert.DoesNotContain(Canary, output.Value, StringComparison.Ordinal));
        Assert.Contains("crishim_", outputs["/metrics"], StringComparison.Ordinal);
    }

    [GeneratedRegex(@"\A\d{4}-\d\d-\d\dT[0-9:.]+Z (trce|dbug|info|warn): CriShim\.")]
    private static partial Regex LogLine();

    private static async Task<Dictionary<string, string>> AskAdminAsync(DaemonBed bed)
    {
        using var channel = new UnixChannel(bed.AdminPath);
        var admin = new Supervisor.SupervisorClient(channel.Invoker);
        ListPodsResponse pods = await admin.ListPodsAsync(new ListPodsRequest { WithUsage = true });
        string subject = pods.Pods[0].SandboxId;
        return new Dictionary<string, string>
        {
            ["ListPods"] = pods.ToString(),
            ["Explain"] = (await admin.ExplainAsync(new ExplainRequest { Subject = subject })).ToString(),
            ["GetEvents"] = (await admin.GetEventsAsync(new Protocol.Admin.V1.GetEventsRequest())).ToString(),
            ["GetTimeline"] = (await admin.GetTimelineAsync(new GetTimelineRequest { Subject = subject })).ToString(),
            ["Status"] = (await admin.StatusAsync(new Protocol.Admin.V1.StatusRequest())).ToString(),
            ["GetDrain"] = (await admin.GetDrainAsync(new GetDrainRequest())).ToString(),
        };
    }

    private static async Task<string> VisitAsNobodyAsync(DaemonBed bed, string socket)
    {
        // The socket's own mode is what is looked at, not that of the folder.
        File.SetUnixFileMode(bed.Folder, (UnixFileMode)Convert.ToInt32("755", 8));
        using Process visitor = Process.Start(new ProcessStartInfo(
            "setpriv", ["--reuid", Nobody, "--regid", Nobody, "--clear-groups", "perl", "-MSocket", "-e", Visit, socket])
        {
            RedirectStandardOutput = true,
        })!;
        string said = await visitor.StandardOutput.ReadToEndAsync();
        await visitor.WaitForExitAsync();
        return said;
    }
}
