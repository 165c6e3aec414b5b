using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;
using Grpc.Core;

namespace CriShim.RealContainerd.Tests;

/// <summary>Exec, attach and port-forward: the URL that comes through crishim leads to containerd's own streaming service.</summary>
public abstract class StreamingTests(ContainerdFixture lab)
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Fact]
    public Task Exec_ThroughCrishim_StreamsAndTellsTheExitCode() => lab.WithLogsAsync(async () =>
    {
        using var caller = new CriCaller(lab.CrishimSocket);
        await using var pod = await StartAsync(caller, "exec");
        var container = await pod.RunAsync(pod.Recipe.Container("main", "exec sleep 1000"));

        var exec = await caller.Runtime.ExecAsync(new ExecRequest
        {
            ContainerId = container,
            Cmd = { "/bin/sh", "-c", "echo ready; read line; echo \"you said $line\"; echo oops >&2; exit 5" },
            Stdin = true,
            Stdout = true,
            Stderr = true,
        });
        await using var session = await StreamingSession.OpenAsync(exec.Url, s_patience);
        await session.ReadUntilAsync(StreamingSession.Stdout, "ready\n");
        await session.SendAsync(StreamingSession.Stdin, "hello\n");
        var exitCode = await session.ReadExitCodeAsync();

        Assert.Equal("ready\nyou said hello\n", session.Text(StreamingSession.Stdout));
        Assert.Equal("oops\n", session.Text(StreamingSession.Stderr));
        Assert.Equal(5, exitCode);
    });

    [Fact]
    public Task Exec_WithTerminal_MergesItsOutputsAndSucceeds() => lab.WithLogsAsync(async () =>
    {
        using var caller = new CriCaller(lab.CrishimSocket);
        await using var pod = await StartAsync(caller, "terminal");
        var container = await pod.RunAsync(pod.Recipe.Container("main", "exec sleep 1000"));

        var exec = await caller.Runtime.ExecAsync(new ExecRequest
        {
            ContainerId = container,
            Cmd = { "/bin/sh", "-c", "tty; echo oops >&2" },
            Stdin = true,
            Stdout = true,
            Tty = true,
        });
        await using var session = await StreamingSession.OpenAsync(exec.Url, s_patience);
        var exitCode = await session.ReadExitCodeAsync();

        Assert.Equal(0, exitCode);
        Assert.Matches("^/dev/(pts/0|console)\r\noops\r\n$", session.Text(StreamingSession.Stdout));
    });

    [Fact]
    public Task Attach_ThroughCrishim_ReachesTheContainersOwnStreams() => lab.WithLogsAsync(async () =>
    {
        using var caller = new CriCaller(lab.CrishimSocket);
        await using var pod = await StartAsync(caller, "attach");
        var container = await pod.RunAsync(pod.Recipe.Container(
            "main", "while read line; do echo \"heard $line\"; echo \"$line\" | rev >&2; done", stdin: true));

        var attach = await caller.Runtime.AttachAsync(new AttachRequest { ContainerId = container, Stdin = true, Stdout = true, Stderr = true });
        await using var session = await StreamingSession.OpenAsync(attach.Url, s_patience);
        await session.SendAsync(StreamingSession.Stdin, "abc\n");
        await session.ReadUntilAsync(StreamingSession.Stdout, "heard abc\n");
        await session.ReadUntilAsync(StreamingSession.Stderr, "cba\n");

        // The log gets what the attached caller gets.
        var log = pod.Recipe.LogFile("main");
        await Condition.BecomesTrueAsync("the log has the line too", s_patience, () =>
            File.Exists(log) && File.ReadAllText(log).Contains("stdout F heard abc\n", StringComparison.Ordinal));
    });

    [Fact]
    public Task PortForward_ThroughCrishim_ReachesAPortInThePod() => lab.WithLogsAsync(async () =>
    {
        using var caller = new CriCaller(lab.CrishimSocket);
        await using var pod = await StartAsync(caller, "forward");
        var container = await pod.RunAsync(pod.Recipe.Container(
            "main", "mkdir /tmp/www; echo forwarded > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"));
        await Condition.BecomesTrueAsync("httpd listens in the pod", s_patience, async () =>
            (await caller.Runtime.ExecSyncAsync(new ExecSyncRequest { ContainerId = container, Cmd = { "/bin/sh", "-c", "wget -q -O /dev/null http://127.0.0.1:8080/" }, Timeout = 5 })).ExitCode == 0);

        var forward = await caller.Runtime.PortForwardAsync(new PortForwardRequest { PodSandboxId = pod.SandboxId, Port = { 8080 } });
        await using var session = await StreamingSession.OpenAsync(forward.Url, s_patience);
        const byte data = 0, error = 1;
        Assert.Equal(8080, await session.ReadPortAsync(data));
        Assert.Equal(8080, await session.ReadPortAsync(error));
        await session.SendAsync(data, "GET / HTTP/1.0\r\n\r\n");
        await session.ReadUntilAsync(data, "forwarded\n");

        Assert.Equal(2, session.Bytes(error).Length);
        Assert.Contains("200 OK", session.Text(data), StringComparison.Ordinal);
    });

    [Fact]
    public Task StreamingCalls_OnWhatIsNotThere_FailAsOnTheBareSocket() => lab.WithLogsAsync(async () =>
    {
        const string unknown = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        var seen = new List<IReadOnlyList<string>>();
        foreach (var socket in new[] { lab.Containerd.SocketPath, lab.CrishimSocket })
        {
            using var caller = new CriCaller(socket);
            var transcript = new Transcript(caller);
            var status = await transcript.FailAsync<ExecResponse>("Exec", new ExecRequest { ContainerId = unknown, Cmd = { "true" }, Stdout = true });
            Assert.Equal(StatusCode.NotFound, status.StatusCode);
            await transcript.FailAsync<AttachResponse>("Attach", new AttachRequest { ContainerId = unknown, Stdout = true });
            await transcript.FailAsync<PortForwardResponse>("PortForward", new PortForwardRequest { PodSandboxId = unknown, Port = { 1 } });
            seen.Add(transcript.Render());
        }

        Assert.Equal(seen[0], seen[1]);
    });

    private Task<RunningPod> StartAsync(CriCaller caller, string name) =>
        RunningPod.StartAsync(caller, new PodRecipe(name, Path.Combine(lab.Containerd.Folder, "logs"), lab.Containerd.CgroupParent));
}

[Collection(Containerd16.Name)]
public sealed class StreamingOn16Tests(Containerd16Fixture lab) : StreamingTests(lab);

[Collection(Containerd17.Name)]
public sealed class StreamingOn17Tests(Containerd17Fixture lab) : StreamingTests(lab);

[Collection(Containerd21.Name)]
public sealed class StreamingOn21Tests(Containerd21Fixture lab) : StreamingTests(lab);
