using System.Diagnostics;
using System.Net;
using CriShim.Discovery;
using CriShim.Http;
using CriShim.Linux.Tests;
using CriShim.Node;
using CriShim.Node.Journal;
using CriShim.StatusPage;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using ContainerEnded = CriShim.Node.Journal.ContainerEnded;
using ContainerStarted = CriShim.Node.Journal.ContainerStarted;
using LineageState = CriShim.Supervision.Supervisor.LineageState;
using LineageView = CriShim.Supervision.Supervisor.LineageView;
using CriShim.Tests.Serving;

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
        Assert.Contains("<td>proxy</td><td>native</td><td class=\"bad\">backing off</td><td>1</td>", page, StringComparison.Ordinal);
        Assert.Contains("restart in 4s", page, StringComparison.Ordinal);
        Assert.Equal(1, Count(page, "<svg class=\"timeline\""));
        Assert.Equal(1, Count(page, "<rect class=\"life failed\""));
        Assert.Equal(1, Count(page, "<rect class=\"life running\""));
        Assert.Contains("exit code 137", page, StringComparison.Ordinal);
        Assert.Contains("attempt 1 was started by crishim", page, StringComparison.Ordinal);
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
        _view = View([.. Enumerable.Range(0, 3000).Select(i => Pod($"p{i}", "proxy"))]);

        string page = System.Text.Encoding.UTF8.GetString(StatusPageHtml.Render(_view).Body);
        Assert.InRange(page.Length, 1, 5 * 1024 * 1024);
        Assert.Contains("2500 more are not shown", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Lives_EndWithoutAStart_IsAPointAtItsEnd()
    {
        ContainerLives one = Assert.Single(ContainerLives.Read(
            [new ContainerEnded(4, 1, false, Now) { At = Now, Pod = new("a", "b", "c", "d"), Container = "proxy", ContainerId = "c4" }]));

        Assert.Equal([new Life(4, Now, Now, 1)], one.Lives);
    }

    private static StatusView View(params (PodOverview, IReadOnlyList<Happening>)[] pods) => new()
    {
        Now = Now,
        Version = "1.2.3",
        Mode = "on",
        Checks = [new("listener", null), new("backend", "containerd was not reached yet")],
        Sources = [new PodSpecSourceStatus("API server", PodSpecSourceState.Degraded, "cannot connect", Now, 0, 0)],
        Pods = pods,
    };

    private static (PodOverview Pod, IReadOnlyList<Happening> Happenings) Pod(string name, string container)
    {
        var pod = new PodName("shop", name, "u1", "5a0d0b5f7c7f4d2a");
        var overview = new PodOverview
        {
            SandboxId = pod.SandboxId, Namespace = "shop", Name = name, Uid = "u1", IsReady = true, IsTerminating = false,
            Lineages =
            [
                new LineageView
                {
                    Name = container, Kind = SidecarKind.Native, State = LineageState.BackingOff, Attempt = 1, Due = Now.AddSeconds(4),
                    Tally = new DeathTally(), Notes = [],
                },
            ],
        };
        return (overview,
        [
            new ContainerStarted(0, false) { At = Now.AddMinutes(-2), Pod = pod, Container = container, ContainerId = "c0" },
            new ContainerEnded(0, 137, false, Now.AddMinutes(-1)) { At = Now.AddMinutes(-1), Pod = pod, Container = container, ContainerId = "c0" },
            new ContainerStarted(1, true) { At = Now.AddSeconds(-30), Pod = pod, Container = container, ContainerId = "c1" },
            new SidecarBackOff(1, TimeSpan.FromSeconds(4), 2) { At = Now.AddSeconds(-1), Pod = pod, Container = container, ContainerId = "c1" },
        ]);
    }

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
