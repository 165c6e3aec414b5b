using System.CommandLine;
using System.Text.Json;
using CriShim.Admin;
using CriShim.Commands;
using CriShim.Commands.Drain;
using CriShim.Node.Draining;
using CriShim.Proxy;
using CriShim.Tests.Admin;
using CriShim.TestSupport;

namespace CriShim.Tests.Commands;

public sealed class DrainCommandTests : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private readonly AdminBed _bed;

    public DrainCommandTests()
    {
        _bed = new AdminBed(_directory);
        Directory.CreateDirectory(_directory.File("proc"));
    }

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _bed.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Drain_AllPodsEnd_PrintsEachAndSucceeds()
    {
        _bed.Teardown.Add("a", "b");
        Task<(int Code, string Output, string Error)> run = RunAsync("--grace", "90s");
        await BegunAsync("a", "b");
        _bed.Teardown.Set("a", PodEndPhase.Done);
        _bed.Teardown.Set("b", PodEndPhase.Done);

        (int code, string output, string error) = await run;

        Assert.Equal((ExitCode.Success, ""), (code, error));
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Matches(@"^ending 2 pods within (90\.0|[4-8]\d\.\d)s$", lines[0]);
        Assert.Contains("default/pod-a: main containers: main", lines);
        Assert.Contains(lines, line => line.StartsWith("default/pod-b: ended after ", StringComparison.Ordinal));
        Assert.Matches(@"^all 2 pods have ended after \d+\.\ds; no pod starts until 'crishim drain --cancel'$", lines[^1]);
        Assert.InRange(_bed.Teardown.Begun[0].Seconds, 31, 90);
    }

    [Fact]
    public async Task Drain_PodCannotBeEnded_NamesItAndFails()
    {
        _bed.Teardown.Add("a", "b");
        Task<(int Code, string Output, string Error)> run = RunAsync("--grace", "0s");
        await BegunAsync("a", "b");
        _bed.Teardown.Set("a", PodEndPhase.Done);
        _bed.Teardown.OnBegin = _ => throw new IOException("stays as it is");
        _bed.Teardown.Set("b", PodEndPhase.Failed, "no answer");

        (int code, string output, _) = await run;

        Assert.Equal(ExitCode.Failure, code);
        Assert.Contains("default/pod-b: did not end: no answer\n", output, StringComparison.Ordinal);
        Assert.EndsWith("1 of 2 pods have ended; still there: default/pod-b\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Drain_Json_IsOneObject()
    {
        _bed.Teardown.Add("a");
        Task<(int Code, string Output, string Error)> run = RunAsync("-o", "json");
        await BegunAsync("a");
        _bed.Teardown.Set("a", PodEndPhase.Done, "ended");

        (int code, string output, _) = await run;

        using JsonDocument json = JsonDocument.Parse(output);
        JsonElement pod = Assert.Single(json.RootElement.GetProperty("pods").EnumerateArray());
        Assert.Equal((ExitCode.Success, true), (code, json.RootElement.GetProperty("complete").GetBoolean()));
        Assert.Equal(
            ("default", "pod-a", "a", "done"),
            (Text(pod, "namespace"), Text(pod, "name"), Text(pod, "sandboxId"), Text(pod, "phase")));
    }

    [Fact]
    public async Task Drain_CancelledMeanwhile_SaysSoAndFails()
    {
        _bed.Teardown.Add("a");
        Task<(int Code, string Output, string Error)> run = RunAsync();
        await BegunAsync("a");
        (int cancelled, string said, _) = await RunAsync("--cancel");

        (int code, _, string error) = await run;

        Assert.Equal((ExitCode.Success, "The drain is cancelled: pods are let in again.\n"), (cancelled, said));
        Assert.Equal((ExitCode.Failure, "crishim: the drain was cancelled\n"), (code, error));
    }

    [Fact]
    public async Task Cancel_NotDraining_SaysSo()
    {
        Assert.Equal((ExitCode.Success, "The node was not being drained.\n", ""), await RunAsync("--cancel"));
        Assert.Equal((ExitCode.Success, "{\"wasDraining\":false}\n", ""), await RunAsync("--cancel", "-o", "json"));
    }

    // ---- A kubelet ---------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Drain_KubeletOnTheNode_IsRefusedUnlessForced()
    {
        AddKubelet();

        (int code, _, string error) = await RunAsync();
        bool wasDraining = _bed.Drain.IsDraining;
        (int forced, _, _) = await RunAsync("--force");

        Assert.Equal(ExitCode.Failure, code);
        Assert.StartsWith("crishim: a kubelet is alive: process 77 (kubelet) runs on this node.", error, StringComparison.Ordinal);
        Assert.Equal((false, ExitCode.Success, true), (wasDraining, forced, _bed.Drain.IsDraining));
    }

    [Fact]
    public async Task Drain_KubeletAmongTheCallers_IsRefusedByTheDaemon()
    {
        _bed.Callers = [new CallerInfo(99, 0, HasRunPods: true, AsksForStatus: false)];

        (int code, _, string error) = await RunAsync();

        Assert.Equal(ExitCode.Failure, code);
        Assert.StartsWith("crishim: a kubelet is alive: process 99 is connected to crishim and has run pods.", error, StringComparison.Ordinal);
        Assert.False(_bed.Drain.IsDraining);
    }

    // ---- At shutdown -------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("")]
    [InlineData("12 crishim.service restart waiting\n13 crishim-drain.service stop running\n")]
    [InlineData("12 shutdown.target stop waiting\n")]
    [InlineData("12 not-shutdown.target start waiting\n")]
    public async Task OnlyAtShutdown_NoShutdownQueued_DoesNothingAndSaysSo(string jobs)
    {
        _bed.Teardown.Add("a");

        (int code, string output, string error) = await RunWithAsync(Systemctl(jobs), "--only-at-shutdown");

        Assert.Equal((ExitCode.Success, "The node is not shutting down: no pod is ended.\n", ""), (code, output, error));
        Assert.False(_bed.Drain.IsDraining);
    }

    [Fact]
    public async Task OnlyAtShutdown_ShutdownQueued_DrainsWhateverKubeletThereIs()
    {
        AddKubelet();
        _bed.Callers = [new CallerInfo(77, 0, HasRunPods: true, AsksForStatus: true)];

        (int code, _, string error) = await RunWithAsync(Systemctl("  7 poweroff.target start waiting\n 12 shutdown.target start waiting\n"), "--only-at-shutdown");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        Assert.True(_bed.Drain.IsDraining);
    }

    [Fact]
    public async Task OnlyAtShutdown_SystemdCannotBeAsked_DoesNothingAndFails()
    {
        (int code, _, string error) = await RunWithAsync(Systemctl("", exitCode: 1), "--only-at-shutdown");

        Assert.Equal(ExitCode.Failure, code);
        Assert.Contains("whether the node is shutting down is not known, so no pod is ended", error, StringComparison.Ordinal);
        Assert.False(_bed.Drain.IsDraining);
    }

    // ---- Usage -------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("--grace soon", "--grace: \"soon\": must be a duration")]
    [InlineData("--grace 25h", "--grace: \"25h\": must be a duration")]
    [InlineData("--admin admin.sock", "--admin: \"admin.sock\": must be unix://")]
    [InlineData("--cancel --grace 5s", "--cancel and --grace exclude each other")]
    [InlineData("--cancel --force", "--cancel and --force exclude each other")]
    [InlineData("--config /nowhere/c.yaml", "/nowhere/c.yaml: does not exist")]
    [InlineData("-o yaml", "yaml")]
    public async Task Drain_WrongUsage_SaysWhatAndTouchesNothing(string arguments, string said)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();

        int code = await CommandLine.RunAsync(["drain", .. arguments.Split(' ')], output, error);

        Assert.Equal((ExitCode.Usage, ""), (code, output.ToString()));
        Assert.Contains(said, error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Drain_NobodyServes_SaysWhereAndFails()
    {
        string nowhere = _directory.File("nobody.sock");

        (int code, _, string error) = await RunWithAsync(null, "--admin", nowhere);

        Assert.Equal(ExitCode.Failure, code);
        Assert.StartsWith($"crishim: no crishim serves at unix://{nowhere} (there is no such socket); ", error, StringComparison.Ordinal);
        Assert.EndsWith("'systemctl status crishim' may say why\n", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Drain_ConfigurationFile_NamesTheSocketWhateverElseIsWrongInIt()
    {
        string file = _directory.File("c.yaml");
        await File.WriteAllTextAsync(file, $"admin: {{address: {_bed.SocketFile}}}\nlog: {{level: loud}}");

        (int code, _, _) = await RunWithAsync(null, "--config", file);

        Assert.Equal((ExitCode.Success, true), (code, _bed.Drain.IsDraining));
    }

    private static string? Text(JsonElement element, string name) => element.GetProperty(name).GetString();

    private void AddKubelet()
    {
        foreach ((string id, string name) in new[] { ("self", "crishim"), ("77", "kubelet") })
        {
            Directory.CreateDirectory(Path.Combine(_directory.File("proc"), id, "ns"));
            File.WriteAllText(Path.Combine(_directory.File("proc"), id, "comm"), name + "\n");
            File.CreateSymbolicLink(Path.Combine(_directory.File("proc"), id, "ns", "pid"), "pid:[1]");
        }
    }

    private string Systemctl(string jobs, int exitCode = 0)
    {
        string script = _directory.File("systemctl");
        File.WriteAllText(_directory.File("jobs"), jobs);
        File.WriteAllText(script, $"#!/bin/sh\n[ \"$1\" = list-jobs ] && cat {_directory.File("jobs")}\nexit {exitCode}\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        return script;
    }

    private async Task BegunAsync(params string[] sandboxes) =>
        await _bed.Teardown.BegunAsync(sandboxes.Length).Bounded("the pods' ends begin");

    private Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments) => RunWithAsync(null, arguments);

    private async Task<(int Code, string Output, string Error)> RunWithAsync(string? systemctl, params string[] arguments)
    {
        var command = new DrainCommand(new KubeletEvidence(_directory.File("proc")), new QueuedShutdown(systemctl ?? "/nowhere/systemctl"), ["/nowhere/crishim"], TimeProvider.System);
        string[] whole = arguments.Contains("--admin") || arguments.Contains("--config") ? arguments : [.. arguments, "--admin", _bed.SocketFile];
        using var output = new StringWriter();
        using var error = new StringWriter();
        ParseResult parse = new RootCommand { command.Command }.Parse(["drain", .. whole]);
        Assert.Empty(parse.Errors);
        int code = await parse.InvokeAsync(new InvocationConfiguration { Output = output, Error = error, ProcessTerminationTimeout = null });
        return (code, output.ToString(), error.ToString());
    }
}
