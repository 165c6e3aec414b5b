using System.Net;
using CriShim.TestSupport;

namespace CriShim.RealContainerd.Tests.Sidecars;

/// <summary>What monitoring and people read of a sidecar that died.</summary>
public abstract class OperatorSiteTests(SidecarLab lab)
{
    [Fact]
    public async Task Site_AfterADeath_TellsOfTheRestart()
    {
        int port = FreePort.Take();
        await using SidecarRun run = await SidecarRun.StartAsync(lab, null, "--metrics", $"127.0.0.1:{port}");
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}/") };
        await run.DieAsync("3");
        await run.LoggedAsync("runs again");
        await run.SettlesAsync(1);

        string[] metrics = (await client.GetStringAsync(new Uri("metrics", UriKind.Relative))).Split('\n');
        Assert.Contains("crishim_restarts_total{cause=\"error_exit\"} 1", metrics);
        Assert.Contains("crishim_restart_latency_seconds_count 1", metrics);
        Assert.Contains("crishim_sidecars{kind=\"native\",state=\"running\"} 1", metrics);
        Assert.Contains("crishim_backend_events_connected 1", metrics);
        Assert.Contains(metrics, line => line.StartsWith("crishim_cri_calls_total{method=\"RunPodSandbox\",code=\"OK\"} 1", StringComparison.Ordinal));
        Assert.DoesNotContain(metrics, line => line.Contains(run.Kubelet.SandboxId, StringComparison.Ordinal));

        using HttpResponseMessage ready = await client.GetAsync(new Uri("readyz", UriKind.Relative));
        Assert.True(ready.StatusCode == HttpStatusCode.OK, await ready.Content.ReadAsStringAsync());
        string page = await client.GetStringAsync(client.BaseAddress);
        Assert.Contains("<title>attempt 0</title></rect>", page, StringComparison.Ordinal);
        Assert.Contains("<title>attempt 1</title></rect>", page, StringComparison.Ordinal);
        Assert.Contains("runs again as attempt 1", page, StringComparison.Ordinal);
        run.Check();
    }
}

[Collection(SidecarsOn16.Name)]
public sealed class OperatorSiteOn16Tests(Sidecars16 lab) : OperatorSiteTests(lab);

[Collection(SidecarsOn21.Name)]
public sealed class OperatorSiteOn21Tests(Sidecars21 lab) : OperatorSiteTests(lab);
