using System.CommandLine;
using System.Text.Json;
using System.Xml.Linq;
using CriShim.Commands;
using CriShim.Commands.Pods;
using CriShim.Protocol.Admin.V1;
using CriShim.Tests.Admin;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace CriShim.Tests.Commands;

/// <summary>pods, explain, events, timeline and version, as an operator's shell sees them.</summary>
public sealed class OperatorCommandsTests : IAsyncLifetime
{
    private static readonly DateTimeOffset Noon = new(2026, 5, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly TempDirectory _directory = new();
    private readonly AdminBed _bed;

    public OperatorCommandsTests() => _bed = new AdminBed(_directory);

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        await _bed.DisposeAsync();
        _directory.Dispose();
    }

    // ---- pods --------------------------------------------------------------------------------------------------------

    [Fact]
    public void PodTree_OfAPod_ShowsEachContainerInColumns()
    {
        var terminal = new Terminal(TextWriter.Null, false, false, () => (0, 0));

        IReadOnlyList<string> lines = PodTree.Draw(new ListPodsResponse { Pods = { Shop() } }, terminal, Noon);

        Assert.Equal(
            [
                "POD / CONTAINER  ROLE              STATE        ATTEMPT  LAST EXIT  CPU USE/REQ/LIMIT  MEMORY USE/LIMIT  WHY",
                "default/shop                       ready                            37m/150m/-         42Mi/-",
                "├─ proxy         sidecar (native)  backing off  3        1, 5s ago  25m/100m/1         20Mi/128Mi        starts in 500ms, after 2 deaths in a row",
                "└─ app           main              running      0                   12m/50m/-          22Mi/-",
            ],
            lines);
    }

    [Fact]
    public void PodTree_OnANarrowColouredTerminal_CutsAndColoursAndKeepsTheReason()
    {
        var terminal = new Terminal(TextWriter.Null, true, true, () => (60, 20));

        IReadOnlyList<string> lines = PodTree.Draw(new ListPodsResponse { Pods = { Shop() } }, terminal, Noon);

        Assert.Equal(
            [
                "\e[1mPOD / CONTAINER  ROLE              STATE        ATTEMPT  LA…\e[0m",
                "default/shop                       ready".PadRight(59) + '…',
                "\e[31m├─ proxy         sidecar (native)  backing off  3        1,…\e[0m",
                "\e[31m│    starts in 500ms, after 2 deaths in a row\e[0m",
                "└─ app           main              running      0".PadRight(59) + '…',
            ],
            lines);
    }

    [Fact]
    public async Task Pods_Json_IsOneObjectWithTheLineage()
    {
        _bed.Reports.Pods = new ListPodsResponse { Pods = { Shop() } };

        (int code, string output, string error) = await RunAsync("pods", "-o", "json");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        using JsonDocument json = JsonDocument.Parse(output);
        JsonElement pod = Assert.Single(json.RootElement.GetProperty("pods").EnumerateArray());
        JsonElement proxy = pod.GetProperty("containers")[0];
        Assert.Equal(("shop", "proxy", "native", 3), (Text(pod, "name"), Text(proxy, "name"), Text(proxy, "kind"), proxy.GetProperty("attempt").GetInt32()));
        Assert.Equal(1, proxy.GetProperty("attempts")[0].GetProperty("exitCode").GetInt32());
        Assert.Equal("2026-05-01T12:00:00.5+00:00", Text(proxy, "nextRestart"));
        Assert.Equal(0.1, proxy.GetProperty("resources").GetProperty("cpuRequest").GetDouble());
    }

    [Fact]
    public async Task Pods_None_SaysSo() => Assert.Equal((ExitCode.Success, "No pods are known.\n", ""), await RunAsync("pods"));

    [Fact]
    public async Task Pods_NamesWithEscapeSequences_ReachNoTerminal()
    {
        Pod pod = Shop();
        pod.Name = "shop\e[2J\r\u202e";
        pod.Containers[0].Name = "pro\nxy";
        _bed.Reports.Pods = new ListPodsResponse { Pods = { pod } };

        (_, string output, _) = await RunAsync("pods");

        Assert.Contains(@"default/shop\u001b[2J\u000d\u202e", output, StringComparison.Ordinal);
        Assert.Contains(@"pro\u000axy", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', output);
    }

    [Theory]
    [InlineData("pods")]
    [InlineData("explain shop")]
    [InlineData("events")]
    [InlineData("timeline shop")]
    public async Task Commands_NothingServes_SayWhichSocketAndWhatToDo(string arguments)
    {
        await _bed.DisposeAsync();

        (int code, string output, string error) = await RunAsync(arguments.Split(' '));

        Assert.Equal((ExitCode.Failure, ""), (code, output));
        Assert.Equal($"crishim: no crishim serves at unix://{_bed.SocketFile} (there is no such socket); 'systemctl status crishim' may say why\n", error);
    }

    // ---- explain -----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Explain_APod_SaysWhatIsAndWhatHappened()
    {
        _bed.Reports.Explained = Explained();

        (int code, string output, string error) = await RunAsync("explain", "default/shop");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        Assert.Equal(["default/shop"], _bed.Reports.Subjects);
        Assert.Equal(
            """
            Pod default/shop, sandbox 5a4db0f7c0de
              - its spec is known from: apiserver

            Container proxy
              - is down: attempt 3 ended with exit code 1

            What happened (UTC)
              2026-05-01
              12:00:00.000  proxy: attempt 3 ended with exit code 1
              12:00:00.001  its sandbox is being ended

            """.ReplaceLineEndings("\n"),
            output);
    }

    [Fact]
    public async Task Explain_Json_HasStatementsAndTrail()
    {
        _bed.Reports.Explained = Explained();

        (_, string output, _) = await RunAsync("explain", "shop", "-o", "json");

        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal("proxy", Text(json.RootElement.GetProperty("statements")[1], "container"));
        Assert.Equal("ContainerEnded", Text(json.RootElement.GetProperty("trail")[0], "kind"));
        Assert.Equal("shop", Text(json.RootElement.GetProperty("pod"), "name"));
    }

    [Fact]
    public async Task Explain_SeveralPodsAreCalledSo_ListsThemAndFails()
    {
        _bed.Reports.Refusal = new RpcException(new Status(StatusCode.FailedPrecondition, "2 pods are called \"shop\": a/shop (1), b/shop (2)"));

        (int code, string output, string error) = await RunAsync("explain", "shop");

        Assert.Equal((ExitCode.Failure, "", "crishim: 2 pods are called \"shop\": a/shop (1), b/shop (2)\n"), (code, output, error));
    }

    [Fact]
    public async Task Explain_NothingThatNamesAPod_IsWrongUsage()
    {
        (int code, _, string error) = await RunAsync("explain", "sh\aop");

        Assert.Equal(ExitCode.Usage, code);
        Assert.StartsWith(@"crishim: ""sh\u0007op"" must be a pod's name", error, StringComparison.Ordinal);
    }

    // ---- events ------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Events_AllThatIsKept_OneALineUntilThereAreNoMore()
    {
        _bed.Reports.Events.Enqueue(new GetEventsResponse { Events = { Ended("shop") }, Cursor = 7 });
        _bed.Reports.Events.Enqueue(new GetEventsResponse { Events = { Ended("shop\e[31m") }, Cursor = 8 });

        (int code, string output, string error) = await RunAsync("events");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        Assert.Equal([" after 0", " after 7", " after 8"], _bed.Reports.Subjects);
        Assert.Equal(
            "2026-05-01T12:00:00.000Z  default/shop/proxy  ContainerEnded: attempt 3 ended with exit code 1\n"
            + "2026-05-01T12:00:00.000Z  default/shop\\u001b[31m/proxy  ContainerEnded: attempt 3 ended with exit code 1\n",
            output);
    }

    [Fact]
    public async Task Events_Json_IsAnObjectALine()
    {
        _bed.Reports.Events.Enqueue(new GetEventsResponse { Events = { Ended("shop"), Ended("shop") }, Cursor = 7, IsGap = true });

        (_, string output, string error) = await RunAsync("events", "shop/proxy", "-o", "json");

        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(2, lines.Length);
        using JsonDocument json = JsonDocument.Parse(lines[0]);
        Assert.Equal(("ContainerEnded", "proxy"), (Text(json.RootElement, "kind"), Text(json.RootElement, "container")));
        Assert.Equal("crishim: some events are missing that are not kept any more\n", error);
        Assert.Equal("shop/proxy after 0", _bed.Reports.Subjects[0]);
    }

    // ---- timeline ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Timeline_Text_DrawsBarsMarksAndMoments()
    {
        _bed.Reports.Drawn = Drawn();

        (int code, string output, string error) = await RunAsync("timeline", "shop");

        Assert.Equal((ExitCode.Success, ""), (code, error));
        string[] lines = output.Split('\n');
        Assert.Equal("Pod default/shop, sandbox 5a4db0f7c0de", lines[0]);
        Assert.Matches("^\\(pod\\)            +=+$", lines[1]);
        Assert.Matches("^proxy \\(sidecar\\)  █+✗~+█+▽█*■$", lines[2]);
        Assert.Contains("█ runs  ~ backs off  ▽ its turn to end  ■ ended  ✗ died", output, StringComparison.Ordinal);
        Assert.Contains("  +4s        proxy: attempt 0 ended with exit code 1\n", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\e', output);
    }

    [Fact]
    public async Task Timeline_Svg_IsAPictureWithoutMarkupOfPods()
    {
        _bed.Reports.Drawn = Drawn();
        _bed.Reports.Drawn.Rows[1].Container = "<script>alert(1)</script>";
        string file = _directory.File("shop.svg");

        (int code, string output, string error) = await RunAsync("timeline", "shop", "--svg", file);

        Assert.Equal((ExitCode.Success, "", ""), (code, output, error));
        XDocument svg = XDocument.Parse(await File.ReadAllTextAsync(file));
        Assert.Equal("svg", svg.Root!.Name.LocalName);
        Assert.DoesNotContain(svg.Descendants(), element => element.Name.LocalName == "script");
        Assert.Equal(4, svg.Descendants().Count(element => element.Name.LocalName == "rect" && element.Elements().Any()));
        Assert.Equal(3, svg.Descendants().Count(element => element.Name.LocalName == "circle" && element.Elements().Any()));
    }

    [Fact]
    public async Task Timeline_SvgThatCannotBeWritten_SaysSoAndFails()
    {
        _bed.Reports.Drawn = Drawn();

        (int code, _, string error) = await RunAsync("timeline", "shop", "--svg", _directory.File("absent/shop.svg"));

        Assert.Equal(ExitCode.Failure, code);
        Assert.StartsWith("crishim: --svg: ", error, StringComparison.Ordinal);
    }

    // ---- version, completion, manual ---------------------------------------------------------------------------------

    [Fact]
    public async Task Version_SomethingServes_TellsItAndItsBackend()
    {
        (int code, string output, _) = await RunAsync("version");
        (_, string json, _) = await RunAsync("version", "-o", "json");

        Assert.Equal(ExitCode.Success, code);
        Assert.Contains($"\nserving: crishim {VersionCommand.Version} at unix:///run/crishim/crishim.sock, supervision on\n", output, StringComparison.Ordinal);
        Assert.Contains("\nbackend: containerd v2.1.3 at unix:///run/containerd/containerd.sock\n", output, StringComparison.Ordinal);
        using JsonDocument parsed = JsonDocument.Parse(json);
        Assert.Equal(
            (VersionCommand.Version, "v2.1.3"),
            (Text(parsed.RootElement.GetProperty("serving"), "version"), Text(parsed.RootElement.GetProperty("backend"), "version")));
    }

    [Fact]
    public async Task Version_NothingServes_TellsItsOwnAndSucceeds()
    {
        await _bed.DisposeAsync();

        (int code, string output, _) = await RunAsync("version", "-o", "json");

        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal((ExitCode.Success, VersionCommand.Version), (code, Text(json.RootElement, "version")));
        Assert.StartsWith("no crishim serves at unix://", Text(json.RootElement, "notServing"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Suggest_APodArgument_GivesPodsThatAShellCanTake()
    {
        Pod evil = Shop();
        evil.Name = "$(reboot)";
        _bed.Reports.Pods = new ListPodsResponse { Pods = { Shop(), evil } };
        string line = $"crishim explain --admin {_bed.SocketFile} def";

        using var output = new StringWriter();
        int code = await CommandLine.RunAsync([$"[suggest:{line.Length}]", line], output, TextWriter.Null);

        Assert.Equal(ExitCode.Success, code);
        Assert.Equal("default/shop", Assert.Single(output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries)));
    }

    [Theory]
    [InlineData("bash", "complete -o default -F _crishim crishim")]
    [InlineData("zsh", "compdef _crishim crishim")]
    [InlineData("fish", "complete -c crishim")]
    public async Task Completion_OfAShell_IsAScriptForIt(string shell, string part)
    {
        (int code, string output, _) = await RunBareAsync("completion", shell);

        Assert.Equal(ExitCode.Success, code);
        Assert.Contains(part, output, StringComparison.Ordinal);
    }

    /// <summary>As a file of $fpath, at the first key already; zsh's own part of it, which needs a terminal, is told apart.</summary>
    [Fact]
    public async Task Completion_OfZsh_CompletesCommands()
    {
        (_, string script, _) = await RunBareAsync("completion", "zsh");
        string program = await SuggestingProgramAsync();
        await File.WriteAllTextAsync(_directory.File("_crishim"), script);
        string run = $$"""
            fpath=({{Path.GetDirectoryName(program)}} $fpath)
            compdef() { }
            compadd() { shift; print -rl -- "$@" }
            _files() { print files }
            autoload -Uz _crishim
            words=({{program}} e); BUFFER='crishim e'; CURSOR=9
            _crishim
            _crishim
            """;

        Assert.Equal("events\nexplain\npods\nevents\nexplain\npods\n", await ShellAsync("zsh", "-f", "-c", run));
    }

    [Fact]
    public async Task Completion_OfFish_CompletesCommands()
    {
        (_, string script, _) = await RunBareAsync("completion", "fish");
        string program = await SuggestingProgramAsync();
        await File.WriteAllTextAsync(_directory.File("crishim.fish"), script);
        string run = $"set -x PATH {Path.GetDirectoryName(program)} $PATH; source {_directory.File("crishim.fish")}; complete -C 'crishim e'";

        Assert.Equal("events\nexplain\n", await ShellAsync("fish", "--no-config", "-c", run));
    }

    /// <summary>A crishim that knows what completes "crishim e", and "pods" that does not.</summary>
    private async Task<string> SuggestingProgramAsync()
    {
        string program = _directory.File("crishim");
        await File.WriteAllTextAsync(program, "#!/bin/sh\n[ \"$1\" = '[suggest:9]' ] && [ \"$2\" = 'crishim e' ] && printf 'events\\nexplain\\npods\\n'\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.UserWrite);
        return program;
    }

    private async Task<string> ShellAsync(string shell, params string[] arguments)
    {
        var start = new System.Diagnostics.ProcessStartInfo(shell, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["HOME"] = Path.GetDirectoryName(_directory.File("x"));
        using var process = System.Diagnostics.Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.Equal("", await errors);
        return output;
    }

    [Fact]
    public async Task Completion_OfBash_CompletesCommands()
    {
        (_, string script, _) = await RunBareAsync("completion", "bash");
        string file = _directory.File("completion.bash");
        string program = await SuggestingProgramAsync();
        await File.WriteAllTextAsync(file, script);
        string run = $"source {file}; COMP_LINE='crishim e' COMP_POINT=9 COMP_CWORD=1 COMP_WORDS=({program} e); _crishim; echo \"${{COMPREPLY[*]}}\"";

        Assert.Equal("events explain\n", await ShellAsync("bash", "-c", run));
    }

    [Fact]
    public async Task Manual_OfAllCommands_NamesThemWithTheirOptions()
    {
        (int code, string output, _) = await RunBareAsync("manual");

        Assert.Equal(ExitCode.Success, code);
        Assert.StartsWith(".TH CRISHIM 8 ", output, StringComparison.Ordinal);
        foreach (string command in (string[])["serve", "drain", "pods", "explain POD[/CONTAINER]", "events [POD[/CONTAINER]]", "timeline POD", "version", "completion bash|zsh|fish"])
        {
            Assert.Contains($".SS \"crishim {command}\"\n", output, StringComparison.Ordinal);
        }

        Assert.Contains("\\fB\\-\\-watch\\fR, \\fB\\-w\\fR", output, StringComparison.Ordinal);
        Assert.DoesNotContain("crishim manual", output, StringComparison.Ordinal);
        Assert.DoesNotContain(output.Split('\n'), line => line.StartsWith('\''));
    }

    private static Pod Shop() => new()
    {
        Namespace = "default",
        Name = "shop",
        Uid = "uid",
        SandboxId = "5a4db0f7c0de",
        IsReady = true,
        RestartPolicy = "Always",
        Resources = new Resources { CpuRequest = 0.15, CpuUsage = 0.037, MemoryUsage = 42 << 20 },
        Containers =
        {
            new Container
            {
                Name = "proxy",
                Role = "sidecar",
                Kind = "native",
                KnownBy = "pod spec",
                State = "backing off",
                ContainerId = "c3",
                Attempt = 3,
                Deaths = 4,
                DeathsInRow = 2,
                NextRestart = Timestamp.FromDateTimeOffset(Noon.AddMilliseconds(500)),
                Resources = new Resources { CpuRequest = 0.1, CpuLimit = 1, MemoryLimit = 128 << 20, CpuUsage = 0.025, MemoryUsage = 20 << 20 },
                Attempts =
                {
                    new Attempt
                    {
                        Attempt_ = 3, ContainerId = "c3", State = "exited", ExitCode = 1, FinishedAt = Timestamp.FromDateTimeOffset(Noon.AddSeconds(-5)),
                    },
                },
            },
            new Container
            {
                Name = "app",
                Role = "main",
                State = "running",
                Resources = new Resources { CpuRequest = 0.05, CpuUsage = 0.012, MemoryUsage = 22 << 20 },
            },
        },
    };

    private static ExplainResponse Explained() => new()
    {
        Pod = Shop(),
        Statements =
        {
            new Statement { Text = "its spec is known from: apiserver" },
            new Statement { Container = "proxy", Text = "is down: attempt 3 ended with exit code 1", IsWarning = true },
        },
        Trail =
        {
            Ended("shop"),
            new Event { At = Timestamp.FromDateTimeOffset(Noon.AddMilliseconds(1)), Kind = "TeardownBegan", Text = "its sandbox is being ended" },
        },
    };

    private static Event Ended(string pod) => new()
    {
        At = Timestamp.FromDateTimeOffset(Noon),
        Kind = "ContainerEnded",
        Namespace = "default",
        Pod = pod,
        SandboxId = "5a4db0f7c0de",
        Container = "proxy",
        ContainerId = "c3",
        Text = "attempt 3 ended with exit code 1",
    };

    private static GetTimelineResponse Drawn()
    {
        TimelineBar Bar(string kind, double from, double to, string text) => new()
        {
            Kind = kind, From = Timestamp.FromDateTimeOffset(Noon.AddSeconds(from)), To = Timestamp.FromDateTimeOffset(Noon.AddSeconds(to)), Text = text,
        };
        TimelineMark Mark(string kind, double at, string text) => new() { Kind = kind, At = Timestamp.FromDateTimeOffset(Noon.AddSeconds(at)), Text = text };
        return new GetTimelineResponse
        {
            Namespace = "default",
            Name = "shop",
            SandboxId = "5a4db0f7c0de",
            From = Timestamp.FromDateTimeOffset(Noon),
            To = Timestamp.FromDateTimeOffset(Noon.AddSeconds(10)),
            Rows =
            {
                new TimelineRow { Role = "pod", Bars = { Bar("ending", 8, 10, "its sandbox is being ended") } },
                new TimelineRow
                {
                    Container = "proxy",
                    Role = "sidecar",
                    Bars = { Bar("running", 0, 4, "attempt 0"), Bar("backing off", 4, 5, "backs off"), Bar("running", 5, 10, "attempt 1") },
                    Marks =
                    {
                        Mark("death", 4, "attempt 0 ended with exit code 1"), Mark("stop", 9, "its turn to end"),
                        Mark("end", 10, "attempt 1 ended with exit code 0"),
                    },
                },
            },
        };
    }

    [Theory]
    [InlineData("pods", "--watch", "-o", "json")]
    [InlineData("pods", "--watch")]
    [InlineData("events", "--follow")]
    public async Task Following_ACrishimThatIsAway_WaitsForItAndSaysSoOnce(params string[] arguments)
    {
        foreach (StatusCode next in (ReadOnlySpan<StatusCode>)
            [StatusCode.OK, StatusCode.Unavailable, StatusCode.Internal, StatusCode.OK, StatusCode.Unavailable, StatusCode.PermissionDenied])
        {
            _bed.Reports.Codes.Enqueue(next);
        }

        _bed.Reports.Pods = new ListPodsResponse { Pods = { Shop() } };
        for (int i = 0; i < 6; i++)
        {
            _bed.Reports.Events.Enqueue(new GetEventsResponse { Cursor = i, Events = { Ended("shop") } });
        }

        (int code, string output, string error) = await RunInNoTimeAsync(arguments);

        string away = $"crishim: crishim is away (unix://{_bed.SocketFile}); waiting\n";
        Assert.Equal(1, code);
        Assert.StartsWith(away + away + "crishim: ", error, StringComparison.Ordinal);
        Assert.Contains("as the test says", error, StringComparison.Ordinal);
        Assert.Equal(2, output.Split("shop").Length - 1);
    }

    [Theory]
    [InlineData("pods", "--watch")]
    [InlineData("events", "--follow")]
    public async Task Following_ACrishimThatNeverAnswered_FailsAtOnce(params string[] arguments)
    {
        _bed.Reports.Codes.Enqueue(StatusCode.Unavailable);

        (int code, string output, string error) = await RunInNoTimeAsync(arguments);

        Assert.Equal((1, ""), (code, output));
        Assert.DoesNotContain("waiting", error, StringComparison.Ordinal);
    }

    /// <summary>With pauses that take no time.</summary>
    private async Task<(int Code, string Output, string Error)> RunInNoTimeAsync(string[] arguments)
    {
        var hasty = new HastyTime();
        Command command = arguments[0] == "pods" ? new PodsCommand(hasty).Command : new EventsCommand(hasty).Command;
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = await command.Parse([.. arguments[1..], "--admin", _bed.SocketFile])
            .InvokeAsync(new InvocationConfiguration { Output = output, Error = error });
        return (code, output.ToString(), error.ToString());
    }

    private sealed class HastyTime : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, dueTime == Timeout.InfiniteTimeSpan ? dueTime : TimeSpan.FromMilliseconds(1), period);
    }

    private static string Text(JsonElement element, string property) => element.GetProperty(property).GetString()!;

    private Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments) => RunBareAsync([.. arguments, "--admin", _bed.SocketFile]);

    private static async Task<(int Code, string Output, string Error)> RunBareAsync(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = await CommandLine.RunAsync(arguments, output, error);
        return (code, output.ToString(), error.ToString());
    }
}
