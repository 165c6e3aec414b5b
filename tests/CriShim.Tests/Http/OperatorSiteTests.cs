using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CriShim.Linux.Tests;
using CriShim.Tests.Serving;

namespace CriShim.Tests.Http;

/// <summary>A serving process, with what operators read of it.</summary>
public sealed class OperatorSiteTests : IDisposable
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
        await PromtoolAsync(text);
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
        int port = FreePort();
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
        int port = FreePort();
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

    internal static async Task PromtoolAsync(string metrics)
    {
        using Process promtool = Process.Start(new ProcessStartInfo("promtool", ["check", "metrics"])
        {
            RedirectStandardInput = true, RedirectStandardError = true, RedirectStandardOutput = true,
        })!;
        Task<string> output = promtool.StandardOutput.ReadToEndAsync();
        Task<string> errors = promtool.StandardError.ReadToEndAsync();
        await promtool.StandardInput.WriteAsync(metrics);
        promtool.StandardInput.Close();
        await promtool.WaitForExitAsync();
        Assert.True(promtool.ExitCode == 0 && (await errors).Length == 0, $"{await output}{await errors}");
    }

    private CrishimProcess Serve(int port) => CrishimProcess.Start(_directory, start =>
    {
        foreach (string argument in (ReadOnlySpan<string>)
        [
            "serve", "--listen", _directory.File("c.sock"), "--containerd", "/nowhere/containerd.sock", "--admin", "off",
            "--state-dir", _directory.File("state"), "--kubeconfig", "off", "--pod-manifests", "off", "--metrics", $"127.0.0.1:{port}",
        ])
        {
            start.ArgumentList.Add(argument);
        }
    });

    internal static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
