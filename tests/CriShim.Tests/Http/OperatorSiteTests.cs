using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CriShim.Linux.Tests;
using CriShim.Tests.Serving;
using CriShim.TestSupport;

namespace CriShim.Tests.Http;

/// <summary>A serving process, with what operators read of it.</summary>
public sealed partial class OperatorSiteTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Metrics_OfAServingProcess_PassPromtool()
    {
        (string text, string contentType) = await ScrapeAsync(accept: null);

        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", contentType);
        Assert.Contains("\ncrishim_build_info{version=", text, StringComparison.Ordinal);
        Assert.Contains("\nprocess_resident_memory_bytes ", text, StringComparison.Ordinal);
        await PromtoolAsync(text, "check", "metrics");
    }

    [Fact]
    public async Task Metrics_NothingHasHappenedYet_CountersAreZeroAndNotAbsent()
    {
        (string text, _) = await ScrapeAsync(accept: null);

        // increase() sees the first event only of a series that was there before.
        foreach (string series in (ReadOnlySpan<string>)
        [
            "crishim_giveups_total", "crishim_annotation_errors_total", "crishim_restarts_total{cause=\"out_of_memory\"}",
            "crishim_holds_total{call=\"start\"}",
        ])
        {
            Assert.Contains($"\n{series} 0\n", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task AlertsAndDashboard_AskFor_MetricsThatThereAre()
    {
        (string text, _) = await ScrapeAsync(accept: null);
        HashSet<string> there = [.. Help().Matches(text).Select(match => match.Groups[1].Value)];
        foreach (string expression in Queries().Concat([await File.ReadAllTextAsync(Monitoring("alerts.yaml"))]))
        {
            Assert.All(Metric().Matches(expression), match =>
            {
                string family = Suffix().Replace(match.Value, "");
                Assert.True(there.Contains(match.Value) || there.Contains(family), $"{match.Value} of {expression} is no metric of crishim's");
            });
        }
    }

    [Fact]
    public async Task Metrics_OfAServingProcess_AreAllExplainedInOperations()
    {
        string operations = await File.ReadAllTextAsync(Path.Combine(Root(), "systemd", "operations.md"));
        (string text, _) = await ScrapeAsync(accept: null);

        Assert.All(
            Help().Matches(text).Select(match => match.Groups[1].Value),
            name => Assert.True(operations.Contains($"`{name}`", StringComparison.Ordinal), $"operations.md does not explain {name}"));
    }

    [Fact]
    public async Task Alerts_AsPrometheusReadsThem_AreSoundAndFireWhenTheyShould()
    {
        File.Copy(Monitoring("alerts.yaml"), _directory.File("alerts.yaml"));
        File.Copy(Path.Combine(Root(), "tests/CriShim.Tests/Metrics/alerts.test.yaml"), _directory.File("alerts.test.yaml"));

        await PromtoolAsync(null, "check", "rules", _directory.File("alerts.yaml"));
        await PromtoolAsync(null, "test", "rules", _directory.File("alerts.test.yaml"));
    }

    [Fact]
    public async Task Dashboard_AsGrafanaReadsIt_HasPanelsWithSoundQueries()
    {
        using JsonDocument dashboard = JsonDocument.Parse(await File.ReadAllTextAsync(Monitoring("dashboard.json")));
        JsonElement[] panels = [.. dashboard.RootElement.GetProperty("panels").EnumerateArray()];
        Assert.Equal(panels.Length, panels.Select(panel => panel.GetProperty("id").GetInt32()).Distinct().Count());
        Assert.All(panels, panel => Assert.Equal(24, panel.GetProperty("gridPos").GetProperty("w").GetInt32() * Beside(panels, panel)));

        // Prometheus reads a query as it reads a rule.
        string rules = string.Concat(Queries().Select((query, i) => $"  - record: query:{i}\n    expr: {JsonSerializer.Serialize(query)}\n"));
        await File.WriteAllTextAsync(
            _directory.File("queries.yaml"), "groups:\n- name: dashboard\n  rules:\n" + rules.Replace("$__rate_interval", "5m", StringComparison.Ordinal));
        await PromtoolAsync(null, "check", "rules", _directory.File("queries.yaml"));
    }

    [Fact]
    public async Task Metrics_AskedForAsPrometheusDoes_AreOpenMetrics()
    {
        (string text, string contentType) = await ScrapeAsync(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");

        Assert.StartsWith("application/openmetrics-text", contentType, StringComparison.Ordinal);
        Assert.EndsWith("\n# EOF\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Probes_WithoutContainerd_AreAliveAndNotReady()
    {
        int port = FreePort.Take();
        await using CrishimProcess crishim = Serve(port);
        Assert.Equal("READY=1", await crishim.Notified());
        using var client = new HttpClient();

        using HttpResponseMessage alive = await client.GetAsync(new Uri($"http://127.0.0.1:{port}/healthz"));
        using HttpResponseMessage ready = await client.GetAsync(new Uri($"http://127.0.0.1:{port}/readyz"));

        Assert.Equal((HttpStatusCode.OK, "[+] loop: ok\n"), (alive.StatusCode, await alive.Content.ReadAsStringAsync()));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
        Assert.Equal(
            """
            [+] listener: ok
            [-] backend: containerd was not reached yet
            [-] supervision: the node is not known yet: containerd was not listed since the start

            """,
            await ready.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Serve_AddressInUse_ServesCallersAndSaysSo()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        taken.Listen();
        int port = ((IPEndPoint)taken.LocalEndPoint!).Port;
        await using CrishimProcess crishim = Serve(port);

        Assert.Equal("READY=1", await crishim.Notified());
        crishim.Signal(PosixSignal.SIGTERM);
        Assert.Equal(0, await crishim.ExitCode());
        Assert.Contains($"status page are not served: 127.0.0.1:{port}: Address already in use", await crishim.Log(), StringComparison.Ordinal);
    }

    private async Task<(string Text, string ContentType)> ScrapeAsync(string? accept)
    {
        int port = FreePort.Take();
        await using CrishimProcess crishim = Serve(port);
        Assert.Equal("READY=1", await crishim.Notified());
        using var client = new HttpClient();
        if (accept is not null)
        {
            client.DefaultRequestHeaders.TryAddWithoutValidation("Accept", accept);
        }

        using HttpResponseMessage response = await client.GetAsync(new Uri($"http://127.0.0.1:{port}/metrics"));
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        return (await response.Content.ReadAsStringAsync(), response.Content.Headers.ContentType!.ToString());
    }

    private static int Beside(JsonElement[] panels, JsonElement panel) =>
        panels.Count(other => other.GetProperty("gridPos").GetProperty("y").GetInt32() == panel.GetProperty("gridPos").GetProperty("y").GetInt32());

    private static IEnumerable<string> Queries()
    {
        using JsonDocument dashboard = JsonDocument.Parse(File.ReadAllText(Monitoring("dashboard.json")));
        return
        [
            .. dashboard.RootElement.GetProperty("panels").EnumerateArray()
                .SelectMany(panel => panel.TryGetProperty("targets", out JsonElement targets) ? targets.EnumerateArray().ToArray() : [])
                .Select(target => target.GetProperty("expr").GetString()!),
        ];
    }

    private static string Monitoring(string file) => Path.Combine(Root(), "src/CriShim/Metrics", file);

    private static string Root()
    {
        string folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "CriShim.sln")))
        {
            folder = Path.GetDirectoryName(folder)!;
        }

        return folder;
    }

    /// <summary>Debian's package prometheus has it; tests/lab/packages.sh monitoring installs that.</summary>
    private static async Task PromtoolAsync(string? input, params string[] arguments)
    {
        using Process promtool = Process.Start(new ProcessStartInfo("promtool", arguments)
        {
            RedirectStandardInput = true, RedirectStandardError = true, RedirectStandardOutput = true,
        })!;
        Task<string> output = promtool.StandardOutput.ReadToEndAsync();
        Task<string> errors = promtool.StandardError.ReadToEndAsync();
        await promtool.StandardInput.WriteAsync(input ?? "");
        promtool.StandardInput.Close();
        await promtool.WaitForExitAsync();
        Assert.True(promtool.ExitCode == 0 && !(await errors).Contains("error", StringComparison.OrdinalIgnoreCase), $"{await output}{await errors}");
        if (input is not null)
        {
            // Its advice on names is an error here.
            Assert.Equal("", await errors);
        }
    }

    [GeneratedRegex(@"^# HELP (\S+)", RegexOptions.Multiline)]
    private static partial Regex Help();

    [GeneratedRegex(@"\b(crishim|process)_[a-z0-9_]+")]
    private static partial Regex Metric();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Suffix();

    private CrishimProcess Serve(int port) => CrishimProcess.Start(_directory, start =>
    {
        foreach (string argument in (ReadOnlySpan<string>)
        [
            "serve", "--listen", _directory.File("c.sock"), "--containerd", "/nowhere/containerd.sock", "--admin", "off",
            "--state-dir", _directory.File("state"), "--kubeconfig", _directory.File("no-kubeconfig"), "--pod-manifests", "off",
            "--metrics", $"127.0.0.1:{port}", "--config", ConfigFile(),
        ])
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["WATCHDOG_USEC"] = "60000000";
    });

    /// <summary>Everything is on that has metrics.</summary>
    private string ConfigFile()
    {
        string path = _directory.File("config.yaml");
        File.WriteAllText(
            path, "apiVersion: crishim.io/v1alpha1\nkind: CriShimConfiguration\ntracing: {endpoint: \"http://127.0.0.1:1\"}\n");
        return path;
    }
}
