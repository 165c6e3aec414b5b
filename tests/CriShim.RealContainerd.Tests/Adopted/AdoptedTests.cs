using CriShim.Protocol.Runtime.V1;
using CriShim.RealContainerd.Tests.Sidecars;

namespace CriShim.RealContainerd.Tests.Adopted;

/// <summary>What callers are shown of a plain container that is looked after as a sidecar, from its start to its end after the main's.</summary>
public abstract class AdoptedTests(SidecarLab lab)
{
    private const string App = AdoptedPod.App;

    // ---- Completion --------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("Never")]
    [InlineData("OnFailure")]
    public async Task MainCompletes_SidecarIsEndedAfterItAndShownCompleted(string policy)
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, pod => pod.RestartPolicy = policy);
        await using SidecarWatch watch = SidecarWatch.Start(run);

        run.EndMain();

        ContainerStatus shown = await run.IsShownCompletedAsync(143);
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
        Assert.Equal(shown, await run.IsShownCompletedAsync(143));
    }

    [Fact]
    public async Task MainCompletes_SidecarThatIgnoresSigtermIsKilledAndShownCompleted()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, pod =>
        {
            pod.Grace = 2;
            pod.OnTerm = AdoptedPod.Ignore;
        });
        await using SidecarWatch watch = SidecarWatch.Start(run);

        run.EndMain();

        await run.IsShownCompletedAsync(137);
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
    }

    [Fact]
    public async Task MainFails_UnderNever_SidecarIsEndedAsWell()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, pod => pod.MainExitCode = 1);
        await using SidecarWatch watch = SidecarWatch.Start(run);

        run.EndMain();

        await run.IsShownCompletedAsync(143);
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
        Assert.Equal(1, (await AdoptedRun.StatusAsync(run.Caller, run.IdOf(App))).ExitCode);
    }

    [Fact]
    public async Task MainFails_UnderOnFailure_SidecarServesItsNextInstance()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, pod => (pod.RestartPolicy, pod.MainExitCode) = ("OnFailure", 1));
        await using SidecarWatch watch = SidecarWatch.Start(run);

        run.EndMain();
        await run.BecomesTrueAsync("the main has failed", async () =>
            (await AdoptedRun.StatusAsync(run.Caller, run.IdOf(App))).State == ContainerState.ContainerExited);
        await run.StartContainerAsync(await run.CreateContainerAsync(App, 1));
        await run.HappensAsync("app up", 2);
        Assert.DoesNotContain("proxy TERM", run.Lines);
        run.EndMain(1);

        await run.IsShownCompletedAsync(143);
        Assert.Equal(["app end", "app up", "app end", "proxy TERM"], run.Lines.TakeLast(4));
        await watch.CheckAsync();
    }

    // ---- Deaths ------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("Never")]
    [InlineData("OnFailure")]
    public async Task SidecarDies_WhileTheMainRuns_IsReplacedUnseen(string policy)
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, pod => pod.RestartPolicy = policy);
        await using SidecarWatch watch = SidecarWatch.Start(run);

        await run.KillProxyAsync();
        await run.IsShownAsync(ContainerState.ContainerRunning, 1);
        await run.HappensAsync("proxy up", 2);
        await watch.CheckAsync();
        run.EndMain();

        Assert.Equal(1u, (await run.IsShownCompletedAsync(143)).Metadata.Attempt);
        run.AssertEndedAfterMain();
        await watch.CheckAsync();
    }

    [Fact]
    public async Task SidecarDies_AndWouldBeBackTooLate_StaysAsItDied()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(
            lab, pod => pod.Wishes = "\"restart\": {\"initialDelay\": \"30s\", \"maxDelay\": \"30s\"}");
        await run.KillProxyAsync();
        await run.IsShownAsync(ContainerState.ContainerRunning, 1);
        await using SidecarWatch watch = SidecarWatch.Start(run, mayFail: true);

        string last = await run.KillProxyAsync();
        ContainerStatus shown = await run.IsShownAsync(ContainerState.ContainerExited, 1);
        Assert.Equal((137, "Error"), (shown.ExitCode, shown.Reason));
        run.EndMain();
        await run.BecomesTrueAsync("the main has completed", async () =>
            (await AdoptedRun.StatusAsync(run.Caller, run.IdOf(App))).State == ContainerState.ContainerExited);
        await run.HappensAsync("app end");

        await watch.CheckAsync();
        Assert.Equal(shown, await AdoptedRun.StatusAsync(run.Caller, last));
        Assert.Equal(2, run.Lines.Count(line => line == "proxy up"));
        run.CheckLog();
    }

    // ---- The start ---------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("\"exec\": {\"command\": [\"/bin/sh\", \"-c\", \"[ -e /record/ready ]\"]}")]
    [InlineData("\"tcpSocket\": {\"port\": 8080}")]
    [InlineData("\"httpGet\": {\"port\": 8080, \"path\": \"/ready\"}")]
    public async Task StartupProbe_GatesTheMainsStart(string probe)
    {
        string serve = $"{AdoptedPod.Await(probe.Contains("http", StringComparison.Ordinal) ? "listen" : "ready")}; httpd -p 8080 -h /record";
        await using AdoptedRun run = await AdoptedRun.StartAsync(lab, withMain: false, change: pod =>
        {
            pod.Wishes = $"\"startupProbe\": {{{probe}, \"periodSeconds\": 1}}";
            pod.OnStart = serve;
        });
        string main = await run.CreateContainerAsync(App);
        run.Open("listen");

        Task start = run.StartContainerAsync(main);
        await run.LoggedAsync("waits for a sidecar's startup probe");
        Assert.Single(run.Relay.Methods, method => method == "StartContainer");
        run.Open("ready");
        await start;

        await run.LoggedAsync("wait no more for sidecar proxy: Passed");
        await run.HappensAsync("app up");
        run.EndMain();
        await run.IsShownCompletedAsync(143);
    }

    [Fact]
    public async Task StartupProbe_ThatDoesNotPass_LetsAnImpatientCallerGoInTime()
    {
        await using AdoptedRun run = await AdoptedRun.StartAsync(
            lab, pod => pod.Wishes = "\"startupProbe\": {\"exec\": {\"command\": [\"/bin/false\"]}, \"periodSeconds\": 1}", withMain: false);
        string main = await run.CreateContainerAsync(App);

        // Of these 10 s belong to the start itself.
        await run.StartContainerAsync(main, patience: 12);

        await run.LoggedAsync("wait no more for sidecar proxy: TookTooLong");
        await run.HappensAsync("app up");
        run.EndMain();
        await run.IsShownCompletedAsync(143);
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class AdoptedOn16Tests(Sidecars16 lab) : AdoptedTests(lab);

[Collection(SidecarsOn17.Name)]
public sealed class AdoptedOn17Tests(Sidecars17 lab) : AdoptedTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class AdoptedOn21Tests(Sidecars21 lab) : AdoptedTests(lab);
