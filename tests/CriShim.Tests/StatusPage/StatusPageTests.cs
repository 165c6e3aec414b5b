using System.Diagnostics;
using System.Net;
using CriShim.Discovery;
using CriShim.Http;
using CriShim.Linux.Tests;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using CriShim.StatusPage;
using CriShim.Tests.Serving;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Tests.StatusPage;

/// <summary>The page as a browser shows it.</summary>
public sealed class StatusPageTests : IAsyncLifetime, IAsyncDisposable
{
    private const string Hostile = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>\"'\u202E";

    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private readonly TempDirectory _directory = new();
    private readonly LocalHttpServer _server;
    private StatusView _view = View();

    public StatusPageTests() => _server = new LocalHttpServer(
        new IPEndPoint(IPAddress.Loopback, 0), [], (_, _) => ValueTask.FromResult(StatusPageHtml.Render(_view)), new RecordedLog(), TimeProvider.System);

    Task IAsyncLifetime.InitializeAsync() => Task.CompletedTask;

    /// <summary>xunit knows no other way to end a test that takes its time for it.</summary>
    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Page_WithPods_ShowsThemTheirSidecarsAndTheirLives()
    {
        _view = View(Pod("web-1", "proxy"));
        (string page, string errors) = await BrowseAsync("--dump-dom");

        Assert.Contains("shop/web-1", page, StringComparison.Ordinal);
        Assert.Contains(
            "<td>proxy</td><td>sidecar (native)</td><td class=\"bad\">backing off</td><td>1</td><td>137, 60s ago</td><td>2</td>"
            + "<td>starts in 4s, after 2 deaths in a row</td>", page, StringComparison.Ordinal);
        Assert.Equal(1, Count(page, "<svg "));
        Assert.Equal(2, Count(page, "<title>attempt "));
        Assert.Contains("+2m0s attempt 1 ended with exit code 1</title></circle>", page, StringComparison.Ordinal);
        Assert.Contains("</span> proxy: runs again as attempt 1, 90ms after its end</li>", page, StringComparison.Ordinal);
        Assert.Contains("<td>1, of which 1 are down</td>", page, StringComparison.Ordinal);
        Assert.Contains("<td class=\"bad\">containerd was not reached yet</td>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("Content Security Policy", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Page_NamesWithMarkup_AreTextAndNothingElse()
    {
        _view = View(Pod(Hostile, Hostile));
        (string page, string errors) = await BrowseAsync("--dump-dom");

        Assert.Contains("<title>crishim</title>", page, StringComparison.Ordinal);
        Assert.Contains("&lt;script&gt;document.title=", page, StringComparison.Ordinal);
        Assert.Equal(1, Count(page, "<svg "));
        Assert.DoesNotContain("<script", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<img", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain('\u202E', page);
        Assert.DoesNotContain("Content Security Policy", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Page_InABrowser_IsDrawn()
    {
        string blank = _directory.File("blank.png");
        string drawn = _directory.File("drawn.png");
        _view = View(Pod("web-1", "proxy"));
        await BrowseAsync($"--screenshot={drawn}", "--window-size=1000,700");
        await BrowseAsync("about:blank", $"--screenshot={blank}", "--window-size=1000,700");

        byte[] picture = await File.ReadAllBytesAsync(drawn);
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], picture[..4]);
        long empty = new FileInfo(blank).Length;
        Assert.True(picture.Length > empty * 3, $"{picture.Length} bytes, an empty page {empty}");
    }

    [Fact]
    public void Page_AskedFor_MayNeitherRunNorLoadAnything()
    {
        HttpAnswer answer = StatusPageHtml.Render(_view);

        Assert.StartsWith("default-src 'none'; style-src 'sha256-", answer.ContentSecurityPolicy, StringComparison.Ordinal);
        Assert.DoesNotContain("script-src", answer.ContentSecurityPolicy, StringComparison.Ordinal);
    }

    [Fact]
    public void Page_ThousandsOfPods_StaysBounded()
    {
        PodPage[] pods = [.. Enumerable.Range(0, StatusPageHtml.MaxPods).Select(i => Pod($"p{i}", "proxy"))];
        _view = View(pods) with { Node = new NodePage(pods, 3000, 3000, 0) };

        string page = System.Text.Encoding.UTF8.GetString(StatusPageHtml.Render(_view).Body);
        Assert.Equal(StatusPageHtml.MaxPods, Count(page, "<section "));
        Assert.Contains("2900 more are not shown; crishim pods shows all", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Page_PodsThatDieAllTheTime_StaysBoundedAndSaysWhatIsMissing()
    {
        PodPage[] pods = [.. Enumerable.Range(0, StatusPageHtml.MaxPods).Select(i => Pod($"p{i}", "proxy", lives: 300))];
        _view = View(pods);

        string page = System.Text.Encoding.UTF8.GetString(StatusPageHtml.Render(_view).Body);
        int shown = Count(page, "<section ");
        Assert.InRange(shown, 1, pods.Length - 1);
        Assert.InRange(page.Length, 1, 3 * 1024 * 1024);
        Assert.Contains($"{pods.Length - shown} more are not shown", page, StringComparison.Ordinal);
    }

    private static StatusView View(params PodPage[] pods) => new()
    {
        Now = Now,
        Version = "1.2.3",
        Mode = "on",
        Checks = [new("listener", null), new("backend", "containerd was not reached yet")],
        Sources = [new PodSpecSourceStatus("API server", PodSpecSourceState.Degraded, "cannot connect", Now, 0, 0)],
        Node = new NodePage(pods, pods.Length, pods.Length, pods.Sum(pod => pod.Down.Count)),
    };

    private static PodPage Pod(string name, string container, int lives = 2)
    {
        var pod = new Pod
        {
            Namespace = "shop", Name = name, SandboxId = "5a0d0b5f7c7f4d2a", IsReady = true,
            Containers =
            {
                new Container
                {
                    Name = container, Role = "sidecar", Kind = "native", State = "backing off", Attempt = 1, Deaths = 2, DeathsInRow = 2,
                    NextRestart = At(4), Attempts = { new Attempt { ContainerId = "c1", Attempt_ = 1, ExitCode = 137, FinishedAt = At(-60) } },
                },
            },
        };
        var row = new TimelineRow { Container = container, Role = "sidecar" };
        for (int i = 0; i < lives; i++)
        {
            row.Bars.Add(new TimelineBar { Kind = "running", From = At(-120), To = At(-60), Text = $"attempt {i}" });
            row.Marks.Add(new TimelineMark { Kind = "death", At = At(i == 0 ? -60 : 0), Text = $"attempt {i} ended with exit code {i}" });
        }

        return new PodPage(
            pod, new HashSet<string> { container },
            new GetTimelineResponse { Namespace = "shop", Name = name, From = At(-120), To = At(0), Rows = { row } },
            [new Event { At = At(-30), Container = container, Text = "runs again as attempt 1, 90ms after its end" }]);
    }

    private static Timestamp At(int seconds) => Timestamp.FromDateTimeOffset(Now.AddSeconds(seconds));

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    private async Task<(string Output, string Errors)> BrowseAsync(params string[] arguments)
    {
        string address = arguments.Contains("about:blank") ? "" : $"http://{_server.Address}/";
        var start = new ProcessStartInfo("chromium",
        [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--enable-logging=stderr", $"--user-data-dir={_directory.File($"profile-{Guid.NewGuid():N}")}",
            .. arguments, .. address.Length > 0 ? [address] : Array.Empty<string>(),
        ])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process chromium = Process.Start(start)!;
        try
        {
            Task<string> output = chromium.StandardOutput.ReadToEndAsync();
            Task<string> errors = chromium.StandardError.ReadToEndAsync();
            using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2));
            await chromium.WaitForExitAsync(limit.Token);
            Assert.True(chromium.ExitCode == 0, await errors);
            return (await output, await errors);
        }
        finally
        {
            if (!chromium.HasExited)
            {
                chromium.Kill(entireProcessTree: true);
            }
        }
    }
}
