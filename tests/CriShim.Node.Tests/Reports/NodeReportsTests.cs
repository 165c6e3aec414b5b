using System.Text.Json;
using CriShim.Discovery;
using CriShim.Node.Journal;
using CriShim.Node.Reports;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Admin.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Backends;
using CriShim.TestSupport.Lab;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Container = CriShim.Protocol.Admin.V1.Container;

namespace CriShim.Node.Tests.Reports;

/// <summary>What people's tools are told of pods that live on a small containerd.</summary>
public sealed class NodeReportsTests
{
    private const string Secret = "hunter2";

    [Fact]
    public async Task List_AfterADeath_HasTheLineageWithTrueExits()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 3);
        await bed.RunsAsync(1);

        Pod pod = Assert.Single((await bed.Reports.ListAsync(withUsage: true, CancellationToken.None)).Pods);

        Assert.Equal(("default", "pod", NodeBed.Sandbox, true), (pod.Namespace, pod.Name, pod.SandboxId, pod.IsReady));
        Container proxy = Assert.Single(pod.Containers);
        Assert.Equal(("sidecar", "native", "annotation", "running"), (proxy.Role, proxy.Kind, proxy.KnownBy, proxy.State));
        Assert.Equal(("c1", 1, 1L), (proxy.ContainerId, proxy.Attempt, proxy.Deaths));
        Assert.Equal([(0, "c0", true, 3), (1, "c1", false, 0)], proxy.Attempts.Select(one => (one.Attempt_, one.ContainerId, one.HasExitCode, one.ExitCode)));
        Assert.Equal("attempt 0 ended with exit code 3: restarted at once", proxy.Attempts[0].Decision);
        Assert.Equal((false, true), (proxy.Attempts[0].IsOurs, proxy.Attempts[1].IsOurs));
        Assert.Equal((0.025, 3 << 20), (proxy.Resources.CpuUsage, proxy.Resources.MemoryUsage));
    }

    [Fact]
    public async Task List_ASidecarThatBacksOff_SaysWhenItIsStarted()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with
        {
            Restart = options.Restart with { ErrorExit = options.Restart.ErrorExit with { FirstDelay = TimeSpan.FromSeconds(50), MaxDelay = TimeSpan.FromSeconds(50) } },
        });

        bed.Backend.Exit("c0", 1);

        Container? proxy = null;
        await Condition.BecomesTrueAsync("it backs off", NodeBed.Patience, async () =>
            (proxy = (await bed.Reports.ListAsync(false, CancellationToken.None)).Pods[0].Containers[0]).State == "backing off");
        Assert.Equal(TimeSpan.FromSeconds(50), (proxy!.NextRestart - proxy.Attempts[0].FinishedAt).ToTimeSpan());
        ExplainResponse explained = await bed.Reports.ExplainAsync("pod", CancellationToken.None);
        Assert.Contains(explained.Statements, one => one is { Container: "proxy", IsWarning: true }
            && one.Text.StartsWith("is down: attempt 0 ended with exit code 1", StringComparison.Ordinal));
        // Once, though the end, the decision and the back-off are things that happened each.
        Assert.Equal(["ContainerStarted", "RestartDecided"], explained.Trail.Select(one => one.Kind));
    }

    [Fact]
    public async Task List_AfterARestartOfCrishim_StillKnowsTheExits()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 3);
        await bed.RunsAsync(1);
        await bed.EndAsync();

        bed.Start();

        Pod? pod = null;
        await Condition.BecomesTrueAsync("the pod is known", NodeBed.Patience, async () =>
            (pod = (await bed.Reports.ListAsync(false, CancellationToken.None)).Pods.FirstOrDefault())?.Containers.Count > 0);
        Assert.Equal(3, pod!.Containers[0].Attempts.Single(one => one.ContainerId == "c0").ExitCode);
        GetTimelineResponse timeline = bed.Reports.Timeline("pod");
        Assert.Equal(["running", "running"], timeline.Rows.Single(row => row.Container == "proxy").Bars.Where(bar => bar.Kind == "running").Select(bar => bar.Kind));
    }

    [Fact]
    public async Task Describe_ACompletedSidecar_TellsItsTrueExitCode()
    {
        await using NodeBed bed = await StartAdoptedAsync();
        await bed.RunAsync(NodeBed.Create(name: "app"));
        bed.Backend.Exit("c1", 0);
        await Condition.BecomesTrueAsync("the sidecar has ended", NodeBed.Patience, () => bed.Ended.Count == 2);

        JsonElement said = default;
        await Condition.BecomesTrueAsync("its end is told", NodeBed.Patience, () =>
            (said = Parse(bed.Node.DescribeContainer("c0"))).GetProperty("state").GetString() == "completed"
            && said.GetProperty("attempts").EnumerateArray().All(one => one.TryGetProperty("exitCode", out _) && one.TryGetProperty("shownCompleted", out _)));

        Assert.Equal(("sidecar", "adopted", "pod spec and annotation"), (Text(said, "role"), Text(said, "kind"), Text(said, "knownBy")));
        JsonElement attempt = Assert.Single(said.GetProperty("attempts").EnumerateArray());
        Assert.Equal((143, true), (attempt.GetProperty("exitCode").GetInt32(), attempt.GetProperty("shownCompleted").GetBoolean()));
        Assert.True(said.GetProperty("pod").GetProperty("mainsCompleted").GetBoolean());
        JsonElement main = Parse(bed.Node.DescribeContainer("c1"));
        Assert.Equal(("main", "exited"), (Text(main, "role"), Text(main, "state")));
    }

    [Fact]
    public async Task Journal_OfAPodThatCompletedBeforeARestartOfCrishim_DoesNotTellOfItAgain()
    {
        await using NodeBed bed = await StartAdoptedAsync();
        await bed.RunAsync(NodeBed.Create(name: "app"));
        bed.Backend.Exit("c1", 0);
        await Condition.BecomesTrueAsync("the sidecar has ended", NodeBed.Patience, () => bed.Ended.Count == 2);
        Assert.Single(bed.Journal.Of(NodeBed.Sandbox).OfType<MainsCompleted>());
        await bed.StopSandboxAsync();

        await bed.EndAsync();
        bed.Start();
        await bed.KnownAsync();
        await Condition.BecomesTrueAsync(
            "it is known to have completed", NodeBed.Patience,
            async () => (await bed.Reports.ListAsync(false, CancellationToken.None)).Pods.FirstOrDefault()?.HaveMainsCompleted == true);

        Assert.Empty(bed.Journal.Of(NodeBed.Sandbox).OfType<MainsCompleted>());
    }

    [Fact]
    public async Task Reports_OfAnEmulatedSidecar_TellWhatIsShownOfItAlsoAfterARestartOfCrishim()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"init"}]""";
        await bed.BeginAsync();
        _ = await bed.IsMaskedAsync();
        bed.Backend.Exit("c0", 7);
        await bed.RunsAsync(1);
        ExplainResponse before = await bed.Reports.ExplainAsync("pod", CancellationToken.None);
        GetTimelineResponse drawn = bed.Reports.Timeline("pod");
        await bed.EndAsync();

        bed.Start();
        await bed.Node.ReadyAsync(CancellationToken.None);
        ExplainResponse after = await bed.Reports.ExplainAsync("pod", CancellationToken.None);

        Assert.Equal(
            ["ContainerStarted", "CompletionShown", "RestartDecided", "SidecarRestored"], before.Trail.Select(one => one.Kind));
        foreach (ExplainResponse explained in (ExplainResponse[])[before, after])
        {
            Container proxy = Assert.Single(explained.Pod.Containers);
            Assert.Equal(("running", "c1", "c0"), (proxy.State, proxy.ContainerId, proxy.ShownId));
            Assert.Contains(explained.Statements, one => one.Container == "proxy"
                && one.Text.StartsWith("is shown to the kubelet and other callers as completed, since ", StringComparison.Ordinal)
                && one.Text.EndsWith("by the id c0: that id reaches whichever attempt runs", StringComparison.Ordinal));
        }

        Assert.Equal(before.Pod.Containers[0].ShownCompletedAt, after.Pod.Containers[0].ShownCompletedAt);
        foreach (GetTimelineResponse timeline in (GetTimelineResponse[])[drawn, bed.Reports.Timeline("pod")])
        {
            Assert.Single(timeline.Rows.SelectMany(row => row.Marks), mark => mark.Kind == "completed");
        }

        JsonElement described = Parse(bed.Node.DescribeContainer("c0"));
        Assert.Equal("c0", Text(described, "shownId"));
        Assert.Equal(before.Pod.Containers[0].ShownCompletedAt.ToDateTimeOffset(), described.GetProperty("shownCompletedAt").GetDateTimeOffset());
    }

    [Fact]
    public async Task Explain_AnEmulatedSidecarBeforeItsProbePasses_SaysWhatThePodWaitsFor()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"init","startupProbe":{"exec":{"command":["true"]}}}]""";
        RelayHold probe = bed.Backend.Hold("ExecSync", HoldPoint.Received);
        await bed.BeginAsync();
        await probe.ReachedAsync();

        ExplainResponse waiting = await bed.Reports.ExplainAsync("pod/proxy", CancellationToken.None);
        probe.Release();
        _ = await bed.IsMaskedAsync();
        ExplainResponse shown = await bed.Reports.ExplainAsync("pod/proxy", CancellationToken.None);

        const string Text = "has not started yet, by its startup probe";
        Assert.Contains(waiting.Statements, one => one.Text.StartsWith(Text, StringComparison.Ordinal));
        Assert.DoesNotContain(shown.Statements, one => one.Text.StartsWith(Text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Explain_AnEmulatedSidecarThatHasEnded_SaysHowAndNotThatItCompleted()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"init"}]""";
        await bed.BeginAsync();
        _ = await bed.IsMaskedAsync();

        await bed.StopSandboxAsync();

        // The answer to its stop may come before the event that has its exit code.
        ExplainResponse explained = new();
        await Condition.BecomesTrueAsync("its exit code is told", NodeBed.Patience, async () =>
            (explained = await bed.Reports.ExplainAsync("pod/proxy", CancellationToken.None)).Statements.Any(
                one => one.Text.StartsWith("does not run: attempt 0 ended with exit code 143", StringComparison.Ordinal)));
        Assert.Equal("exited", Assert.Single(explained.Pod.Containers).State);
    }

    [Fact]
    public async Task Page_OfANodeWithMorePodsThanAskedFor_HasThoseInTroubleFirst()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with
        {
            Restart = options.Restart with { ErrorExit = options.Restart.ErrorExit with { FirstDelay = TimeSpan.FromHours(1), MaxDelay = TimeSpan.FromHours(1) } },
        });
        foreach (string sandbox in (string[])["sandbox-1", "sandbox-2"])
        {
            bed.RunSandbox(sandbox);
            await bed.RunAsync(NodeBed.Create(sandbox: sandbox));
        }

        bed.Backend.Exit("c1", 3);
        await Condition.BecomesTrueAsync("one is down", NodeBed.Patience, () => bed.Reports.Page(1, 10).Down == 1);
        NodePage page = bed.Reports.Page(1, 10);

        Assert.Equal((3, 3), (page.All, page.Sidecars));
        PodPage pod = Assert.Single(page.Pods);
        Assert.Equal(("sandbox-1", "proxy"), (pod.Pod.SandboxId, Assert.Single(pod.Down)));
        // As explain and timeline tell it.
        ExplainResponse explained = await bed.Reports.ExplainAsync("sandbox-1", CancellationToken.None);
        Assert.Equal(explained.Trail, pod.Trail);
        Assert.Equal(["RestartDecided"], bed.Reports.Page(1, 1).Pods[0].Trail.Select(one => one.Kind));
        TimelineRow row = Assert.Single(pod.Timeline.Rows);
        Assert.Equal(["running", "backing off"], row.Bars.Select(bar => bar.Kind));
        Assert.Equal(["death"], row.Marks.Select(mark => mark.Kind));
    }

    [Fact]
    public async Task Page_OfAPodThatHasEnded_CallsNothingDown()
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        await bed.StopSandboxAsync();

        NodePage page = bed.Reports.Page(10, 10);
        Assert.Equal((1, 0, 0), (page.All, page.Sidecars, page.Down));
        Container proxy = Assert.Single(Assert.Single(page.Pods).Pod.Containers);
        Assert.Equal(("exited", "the pod ends, and it was this container's turn to end"), (proxy.State, proxy.Why));
    }

    [Fact]
    public async Task Describe_PodAndNode_AreJsonOfTheirOwn()
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { Version = "9.9" });

        JsonElement pod = Parse(bed.Node.DescribePod(NodeBed.Sandbox));
        JsonElement node = Parse(bed.Node.DescribeNode());

        Assert.Equal(("pod", "proxy"), (Text(pod, "name"), Text(pod.GetProperty("containers")[0], "name")));
        Assert.Equal(("9.9", "on"), (Text(node, "version"), Text(node, "supervisionMode")));
        Assert.Equal((1, 1), (node.GetProperty("pods").GetInt32(), node.GetProperty("sidecars").GetInt32()));
        Assert.Null(bed.Node.DescribeContainer("unknown"));
        Assert.Null(bed.Node.DescribePod("unknown"));
    }

    [Fact]
    public async Task Reports_OfAPodWithSecrets_TellNone()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = $$$$"""[{"name":"proxy","kind":"native","startupProbe":{"exec":{"command":["{{{{Secret}}}}"]}}},{"name":"{{{{Secret}}}}!"},{"name":"x","kind":"{{{{Secret}}}}"}]""";
        bed.Start();
        await bed.KnownAsync();
        bed.RunSandbox();
        CreateContainerRequest request = NodeBed.Create(env: Secret);
        request.Config.Command.Add(Secret);
        request.Config.Args.Add(Secret);
        request.Config.Annotations.Add("io.kubernetes.container.preStopHandler", $$$"""{"exec":{"command":["{{{Secret}}}"]}}""");
        request.Config.Annotations.Add("token", Secret);
        await bed.RunAsync(request);
        bed.Backend.Exit("c0", 1);
        await bed.RunsAsync(1);
        await bed.StopSandboxAsync();

        string told = (await bed.Reports.ListAsync(true, CancellationToken.None)).ToString() + await bed.Reports.ExplainAsync("pod", CancellationToken.None)
            + await bed.Reports.EventsAsync(0, TimeSpan.Zero, "", CancellationToken.None) + bed.Reports.Timeline("pod")
            + bed.Node.DescribeContainer("c0") + bed.Node.DescribePod(NodeBed.Sandbox) + string.Join('\n', bed.Log.All);

        Assert.Contains("TeardownEnded", told, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, told, StringComparison.Ordinal);
    }

    // ---- Which pod is meant ------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("pod", "")]
    [InlineData("default/pod", "")]
    [InlineData("sand", "")]
    [InlineData("sandbox-0", "")]
    [InlineData("pod/proxy", "proxy")]
    [InlineData("default/pod/proxy", "proxy")]
    [InlineData("sandbox-0/proxy", "proxy")]
    public async Task Explain_OnePodIsCalledSo_IsAboutIt(string subject, string container)
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        ExplainResponse explained = await bed.Reports.ExplainAsync(subject, CancellationToken.None);

        Assert.Equal((NodeBed.Sandbox, container), (explained.Pod.SandboxId, explained.Container));
        Assert.Contains(explained.Statements, one => one is { Container: "proxy" } && one.Text.StartsWith("runs: attempt 0, since ", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("nobody", "no pod \"nobody\" is known")]
    [InlineData("san", "no pod \"san\" is known")]
    [InlineData("other/pod", "no pod \"other/pod\" is known")]
    [InlineData("pod/nothing", "pod default/pod has no container \"nothing\": it has proxy")]
    [InlineData("", "no pod \"\" is known")]
    [InlineData("a/b/c/d", "no pod \"a/b/c/d\" is known")]
    [InlineData("po\nd", "no pod \"po?d\" is known")]
    public async Task Explain_NothingIsCalledSo_IsNotFound(string subject, string message)
    {
        await using NodeBed bed = await NodeBed.StartAsync();

        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => bed.Reports.ExplainAsync(subject, CancellationToken.None));

        Assert.Equal(StatusCode.NotFound, refused.StatusCode);
        Assert.StartsWith(message, refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Explain_PodsOfTwoNamespaces_ListsThem()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        AddPod(bed, "sandbox-1", "other");

        RpcException refused = await Assert.ThrowsAsync<RpcException>(() => bed.Reports.ExplainAsync("pod", CancellationToken.None));

        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Contains("default/pod (sandbox-0)", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Contains("other/pod (sandbox-1)", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal("sandbox-1", (await bed.Reports.ExplainAsync("other/pod", CancellationToken.None)).Pod.SandboxId);
    }

    [Fact]
    public async Task Explain_APodWithASandboxFromBefore_IsAboutTheOneThatIsReady()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        AddPod(bed, "sandbox-1", "default");
        await bed.StopSandboxAsync();

        Assert.Equal("sandbox-1", (await bed.Reports.ExplainAsync("pod", CancellationToken.None)).Pod.SandboxId);
        Assert.Equal(NodeBed.Sandbox, (await bed.Reports.ExplainAsync(NodeBed.Sandbox, CancellationToken.None)).Pod.SandboxId);
    }

    [Fact]
    public async Task Explain_APodThatIsGone_TellsWhatIsRemembered()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        await bed.StopSandboxAsync();
        bed.Node.OnPodSandboxRemoved(NodeBed.Sandbox);

        ExplainResponse explained = await bed.Reports.ExplainAsync("default/pod/proxy", CancellationToken.None);

        Assert.True(explained.IsGone);
        Assert.Contains(explained.Trail, one => one.Kind == "TeardownEnded");
        Assert.Equal("ending", bed.Reports.Timeline("pod").Rows[0].Bars[0].Kind);
    }

    // ---- Words -------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(SupervisionMode.Observe, "supervision only observes on this node")]
    [InlineData(SupervisionMode.Off, "supervision is off on this node")]
    public async Task Explain_SupervisionThatDoesNothing_SaysSo(SupervisionMode mode, string text)
    {
        await using NodeBed bed = await NodeBed.StartAsync(options: options => options with { Mode = mode });

        Assert.Contains(Texts(await bed.Reports.ExplainAsync("pod", CancellationToken.None)), one => one.StartsWith(text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Explain_AnAnnotationThatIsWrong_SaysWhatIsAllowedAndWhatToDo()
    {
        await using NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = """[{"name":"proxy","kind":"sidecar"}]""";
        bed.Start();
        bed.RunSandbox();

        Assert.Contains(
            "annotation crishim.io/sidecars[0].kind must be native, init or plain. Until it is mended, and the pod created anew, that part of it is ignored",
            Texts(await bed.Reports.ExplainAsync("pod", CancellationToken.None)));
    }

    [Fact]
    public async Task Explain_ANameThatTheSpecHasNot_SaysSo()
    {
        await using NodeBed bed = await StartAdoptedAsync("""[{"name":"proxy"},{"name":"ghost"}]""");

        Assert.Contains(
            Texts(await bed.Reports.ExplainAsync("pod", CancellationToken.None)),
            one => one.StartsWith("annotation crishim.io/sidecars must be the name of a container of the pod: proxy, app. ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Explain_ASidecarThatComesAfterAMain_SaysThatTheMainDidNotWait()
    {
        await using NodeBed bed = await StartAdoptedAsync(
            """[{"name":"proxy","startupProbe":{"exec":{"command":["ready"]}}}]""", startsFirst: "app");

        Assert.Contains(
            Texts(await bed.Reports.ExplainAsync("pod", CancellationToken.None)),
            one => one.StartsWith("has a startup probe, but comes after main container app in the spec", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Explain_ASidecarThatTheKubeletStopped_SaysThatItIsTheirs()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        await bed.StopAsync("c0", 1);

        await Condition.BecomesTrueAsync("it says so", NodeBed.Patience, async () =>
            Texts(await bed.Reports.ExplainAsync("pod", CancellationToken.None)).Any(one => one.Contains("stopped it: it is theirs", StringComparison.Ordinal)));
    }

    // ---- Events and timeline -----------------------------------------------------------------------------------------

    [Fact]
    public async Task Events_WhenNothingHasHappened_WaitUntilSomethingDoes()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        long cursor = (await bed.Reports.EventsAsync(0, TimeSpan.Zero, "", CancellationToken.None)).Cursor;

        Task<GetEventsResponse> waiting = bed.Reports.EventsAsync(cursor, NodeBed.Patience, "pod/proxy", CancellationToken.None);
        Assert.False(waiting.IsCompleted);
        bed.Backend.Exit("c0", 3);

        Event first = (await waiting).Events[0];
        Assert.Equal(("ContainerEnded", "proxy", "attempt 0 ended with exit code 3"), (first.Kind, first.Container, first.Text));
    }

    [Fact]
    public async Task Events_OfAnotherContainer_AreNotTold()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        await bed.RunAsync(NodeBed.Create(name: "app"));

        GetEventsResponse events = await bed.Reports.EventsAsync(0, TimeSpan.Zero, "pod/app", CancellationToken.None);

        Assert.Equal(["app"], events.Events.Select(one => one.Container));
    }

    [Fact]
    public async Task Timeline_OfALife_HasItsBarsAndMarks()
    {
        await using NodeBed bed = await NodeBed.StartAsync();
        bed.Backend.Exit("c0", 3);
        await bed.RunsAsync(1);
        await bed.StopSandboxAsync();
        await Condition.BecomesTrueAsync(
            "its end is told", NodeBed.Patience, () => bed.Reports.Timeline("pod").Rows.Any(row => row.Container == "proxy" && row.Marks.Any(mark => mark.Kind == "end")));

        GetTimelineResponse timeline = bed.Reports.Timeline("pod");

        TimelineRow pod = timeline.Rows[0];
        TimelineRow proxy = timeline.Rows.Single(row => row.Container == "proxy");
        Assert.Equal(("", "ending", false), (pod.Container, pod.Bars[0].Kind, pod.Bars[0].IsOpen));
        Assert.Contains(pod.Marks, mark => mark.Kind == "end" && mark.Text.StartsWith("has ended after ", StringComparison.Ordinal));
        Assert.Contains(proxy.Marks, mark => mark is { Kind: "end" } && mark.Text == "attempt 1 ended with exit code 143");
        Assert.Equal(["running", "running", "down"], proxy.Bars.Select(bar => bar.Kind));
        Assert.All(proxy.Bars, bar => Assert.False(bar.IsOpen));
        Assert.Equal(["death", "end", "stop"], proxy.Marks.Select(mark => mark.Kind).Order());
        Assert.True(timeline.From.ToDateTimeOffset() <= proxy.Bars[0].From.ToDateTimeOffset());
        Assert.True(timeline.To.ToDateTimeOffset() >= pod.Bars[0].To.ToDateTimeOffset());
    }

    [Fact]
    public async Task Timeline_OfAHeldStart_ShowsHowLongItWaited()
    {
        await using NodeBed bed = await StartAdoptedAsync(
            """[{"name":"proxy","startupProbe":{"exec":{"command":["ready"]},"periodSeconds":1}}]""", probeFails: true);
        string main = await bed.CreateAsync(NodeBed.Create(name: "app"));
        Assert.False(await bed.Node.BeforeStartAsync(main, DateTime.MaxValue, CancellationToken.None));
        bed.Backend.Start(new StartContainerRequest { ContainerId = main });
        bed.Node.OnStarted(main);

        GetTimelineResponse timeline = bed.Reports.Timeline("pod");

        Assert.Equal(["held", "running"], timeline.Rows.Single(row => row.Container == "app").Bars.Select(bar => bar.Kind).Order());
        Assert.Contains(timeline.Rows.Single(row => row.Container == "proxy").Marks, mark => mark.Kind == "gate");
    }

    private static IEnumerable<string> Texts(ExplainResponse explained) => explained.Statements.Select(statement => statement.Text);

    private static void AddPod(NodeBed bed, string sandbox, string @namespace)
    {
        PodSandboxConfig config = NodeBed.PodConfig();
        config.Metadata.Namespace = @namespace;
        bed.Backend.AddSandbox(sandbox, config);
        bed.Node.OnPodSandboxRan(sandbox, config);
    }

    private static async Task<NodeBed> StartAdoptedAsync(string sidecars = """["proxy"]""", bool probeFails = false, string? startsFirst = null)
    {
        NodeBed bed = await NodeBed.PrepareAsync();
        bed.Sidecars = sidecars;
        bed.Facts = new PodFactsIndex(10, TimeProvider.System, NullLogger<PodFactsIndex>.Instance);
        bed.Facts.Add("test", Discovery.PodIdentity.Uid).Upsert(new SeenPod(new PodFacts
        {
            Uid = "uid",
            Namespace = "default",
            Name = "pod",
            RestartPolicy = PodRestartPolicy.Never,
            Containers = [new ContainerFacts("proxy", ContainerRole.Plain), new ContainerFacts("app", ContainerRole.Plain)],
        }));
        bed.Options = bed.Options with { IsSpecSourceConfigured = true };
        if (probeFails)
        {
            bed.Backend.Fail("ExecSync", StatusCode.Unknown, "not ready");
        }

        bed.Start();
        await bed.KnownAsync();
        bed.RunSandbox();
        if (startsFirst is not null)
        {
            await bed.RunAsync(NodeBed.Create(name: startsFirst));
        }

        await bed.RunAsync(NodeBed.Create());
        return bed;
    }

    private static JsonElement Parse(string? json)
    {
        using JsonDocument document = JsonDocument.Parse(json!);
        return document.RootElement.Clone();
    }

    private static string Text(JsonElement element, string property) => element.GetProperty(property).GetString()!;
}
