using System.Diagnostics;
using System.Runtime.InteropServices;
using CriShim.Demo;
using CriShim.TestSupport.Lab;
using Grpc.Core;
using Spectre.Console;

if (Environment.UserName != "root" && !Environment.IsPrivilegedProcess)
{
    await Console.Error.WriteLineAsync("The demo runs containers: please run it as root (sudo make run).");
    return 1;
}

// Ctrl-C, a closed terminal and a kill all end the story early and still clean up; a second Ctrl-C does not hurry that.
using var cancelled = new CancellationTokenSource();
PosixSignalRegistration[] signals =
[
    .. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP }.Select(signal => PosixSignalRegistration.Create(signal, context =>
    {
        context.Cancel = true;
        cancelled.Cancel();
    })),
];

var console = AnsiConsole.Console;
if (!console.Profile.Out.IsTerminal)
{
    console.Profile.Width = 110;
}

var stage = new Stage(console);
var clock = Stopwatch.StartNew();
Ground? ground = null;
CrishimProcess? crishim = null;
var exitCode = 1;
try
{
    stage.Chapter("Setting the stage");
    ground = await Ground.FindAsync(cancelled.Token);
    foreach (var note in ground.Notes)
    {
        stage.Note(note);
    }

    cancelled.Token.ThrowIfCancellationRequested();
    var listen = Path.Combine(ground.Folder, "crishim.sock");
    // Nothing of this machine's is read or kept: no pod specs but the annotation, and a state folder that goes with the ground.
    crishim = await CrishimProcess.ServeAsync(
        listen, ground.SocketPath, ground.Folder,
        "--state-dir", Path.Combine(ground.Folder, "state"), "--kubeconfig", "off", "--pod-manifests", "off");
    stage.Say($"containerd   {ground.Description}");
    stage.Say($"             {ground.SocketPath}");
    stage.Say("crishim      listens between it and its callers");
    stage.Say($"             {listen}");

    using var through = new CriCaller(listen);
    using var bare = new CriCaller(ground.SocketPath);
    var story = new Story(stage, ground, through, bare, cancelled.Token);
    try
    {
        await story.TellAsync();
    }
    finally
    {
        await story.ClearAsync();
    }

    var code = await crishim.TerminateAsync(TimeSpan.FromSeconds(30));
    exitCode = code == 0 ? 0 : throw new LabException($"crishim ended with exit code {code}.");
}
catch (Exception) when (cancelled.IsCancellationRequested)
{
    stage.Say("Interrupted.");
    exitCode = 130;
}
catch (Exception failure) when (failure is RpcException or LabException or TimeoutException or IOException)
{
    console.MarkupLine($"[red]{Markup.Escape(failure is RpcException rpc ? $"{rpc.StatusCode}: {rpc.Status.Detail}" : failure.Message)}[/]");
    if (crishim is not null)
    {
        stage.Say("crishim's log:");
        stage.Say(crishim.Log);
    }
}
finally
{
    if (crishim is not null)
    {
        await crishim.DisposeAsync();
    }

    if (ground is not null)
    {
        await ground.DisposeAsync();
    }
}

if (exitCode == 0)
{
    stage.Chapter("Done");
    console.MarkupLine($"The pod ran, answered, lost its sidecar {Story.Deaths} times, had it back, and ended in order through crishim in {clock.Elapsed.TotalSeconds:0} s; nothing of it is left on this machine.");
    console.WriteLine();
    console.MarkupLine("Next:");
    stage.Say("  out/crishim serve --help                what it can be told");
    stage.Say("  out/crishim serve --listen unix:///run/crishim/crishim.sock --containerd unix:///run/containerd/containerd.sock");
    stage.Say("  crictl --runtime-endpoint unix:///run/crishim/crishim.sock pods");
    stage.Say("  README.md                               how to point a kubelet at it, and how to leave again");
}

foreach (var signal in signals)
{
    signal.Dispose();
}

return exitCode;
