using System.Net;
using System.Net.Sockets;
using System.Text;
using CriShim.Containerd.Runtime;
using CriShim.Node.Probes;
using CriShim.Node.Tests.Support;
using CriShim.Supervision.Sidecars;
using CriShim.TestSupport.Lab;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace CriShim.Node.Tests.Probes;

public sealed class StartupProbeTests
{
    [Theory]
    [InlineData("{exec: {command: [cat, /ready]}}", "ExecAction")]
    [InlineData("{httpGet: {port: 8080}}", "HttpGetAction")]
    [InlineData("{httpGet: {port: 8443, path: /healthz, scheme: HTTPS, httpHeaders: [{name: X-Probe, value: a}]}}", "HttpGetAction")]
    [InlineData("{tcpSocket: {port: 65535}}", "TcpSocketAction")]
    [InlineData("{grpc: {port: 9000, service: ready}}", "GrpcAction")]
    public void Read_WhatAPodsSpecMaySay_IsUnderstood(string probe, string action) =>
        Assert.Equal(action, StartupProbe.Read(Map(probe), out _)?.Action.GetType().Name);

    [Theory]
    [InlineData("{exec: {command: []}}", "exec.command")]
    [InlineData("{httpGet: {port: http}}", "port must be a number")]
    [InlineData("{httpGet: {port: \"8080\"}}", "port must be a number")]
    [InlineData("{tcpSocket: {port: 65536}}", "port must be a number")]
    [InlineData("{httpGet: {port: 80, path: other.example/x}}", "httpGet.path")]
    [InlineData("{httpGet: {port: 80, scheme: gopher}}", "httpGet.scheme")]
    [InlineData("{httpGet: {port: 80, httpHeaders: [{name: \"a b\", value: c}]}}", "httpGet.httpHeaders")]
    [InlineData("{grpc: {service: x}}", "port must be a number")]
    public void Parse_ProbeThatCanNotBeRun_IsNamedWithTheAnnotationsOtherFaults(string probe, string named)
    {
        SidecarAnnotation annotation = Parse(probe);
        Assert.Null(annotation.Find("proxy")!.StartupProbe);
        Assert.Contains(named, Assert.Single(annotation.Errors).Allowed, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("httpHeaders: [{name: Host, value: \"a b:c:d\"}]")]
    [InlineData("httpHeaders: [{name: Transfer-Encoding, value: chunked}]")]
    [InlineData("httpHeaders: [{name: X, value: \"\\u00e9\"}]")]
    [InlineData("path: \"/%\\\\[\"")]
    public async Task Ask_HeadersAndPathsThatNobodyAccepts_AreNoStartAndNoFault(string wishes)
    {
        await using ProberBed bed = await ProberBed.StartAsync();
        using var server = new OneAnswerServer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        Assert.False(await bed.AskAsync($"{{httpGet: {{port: {server.Port}, {wishes}}}}}"));
    }

    [Fact]
    public void Read_Numbers_AreThePodSpecsAndItsDefaults()
    {
        StartupProbe given = StartupProbe.Read(Map("{tcpSocket: {port: 1}, initialDelaySeconds: 3, periodSeconds: 4, timeoutSeconds: 5}"), out _)!;
        StartupProbe byDefault = StartupProbe.Read(Map("{tcpSocket: {port: 1}}"), out _)!;

        Assert.Equal((3, 4, 5), (given.InitialDelay.TotalSeconds, given.Period.TotalSeconds, given.Timeout.TotalSeconds));
        Assert.Equal((0, 10, 1), (byDefault.InitialDelay.TotalSeconds, byDefault.Period.TotalSeconds, byDefault.Timeout.TotalSeconds));
    }

    [Theory]
    [InlineData("200 OK", true)]
    [InlineData("204 No Content", true)]
    [InlineData("302 Found\r\nLocation: http://127.0.0.1:1/elsewhere", true)]
    [InlineData("404 Not Found", false)]
    [InlineData("503 Service Unavailable", false)]
    public async Task HttpGet_Answered_PassesFrom200To399WithoutFollowing(string status, bool passes)
    {
        using var server = new OneAnswerServer($"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        await using var bed = await ProberBed.StartAsync();

        Assert.Equal(passes, await bed.AskAsync($"{{httpGet: {{port: {server.Port}, path: /ready?x=1, httpHeaders: [{{name: X-Probe, value: a}}]}}}}"));

        string request = await server.Request;
        Assert.StartsWith("GET /ready?x=1 HTTP/1.1\r\n", request, StringComparison.Ordinal);
        Assert.Contains("X-Probe: a\r\n", request, StringComparison.Ordinal);
    }

    [Fact]
    public async Task HttpGet_OfSomethingThatIsNoHttp_DoesNotPass()
    {
        using var server = new OneAnswerServer("SSH-2.0-x\r\n");
        await using var bed = await ProberBed.StartAsync();

        Assert.False(await bed.AskAsync($"{{httpGet: {{port: {server.Port}}}}}"));
    }

    [Fact]
    public async Task TcpSocket_OpenAndClosed_TellsThemApart()
    {
        using var server = new OneAnswerServer("");
        // Taken, so that nobody else listens there, and refused all the same.
        using var closed = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        closed.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        await using var bed = await ProberBed.StartAsync();

        Assert.True(await bed.AskAsync($"{{tcpSocket: {{port: {server.Port}}}}}"));
        Assert.False(await bed.AskAsync($"{{tcpSocket: {{port: {((IPEndPoint)closed.LocalEndPoint!).Port}}}}}"));
    }

    [Fact]
    public async Task Grpc_OfSomethingThatIsNoGrpc_DoesNotPass()
    {
        using var server = new OneAnswerServer("HTTP/1.1 200 OK\r\n\r\n");
        await using var bed = await ProberBed.StartAsync();

        Assert.False(await bed.AskAsync($"{{grpc: {{port: {server.Port}}}}}"));
    }

    /// <summary>It would lead this process, which stands on the node's network, to any address that a pod likes.</summary>
    [Theory]
    [InlineData(302)]
    [InlineData(307)]
    [InlineData(308)]
    public async Task Grpc_Redirected_DoesNotPassAndIsNotFollowed(int status)
    {
        var asked = new System.Collections.Concurrent.ConcurrentQueue<string>();
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.ConfigureKestrel(options => options.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        await using WebApplication server = builder.Build();
        server.Run(context =>
        {
            asked.Enqueue(context.Request.Path.Value!);
            context.Response.StatusCode = status;
            context.Response.Headers.Location = $"http://{context.Request.Host}/elsewhere";
            return Task.CompletedTask;
        });
        await server.StartAsync();
        await using ProberBed bed = await ProberBed.StartAsync();

        Assert.False(await bed.AskAsync($"{{grpc: {{port: {new Uri(server.Urls.First()).Port}}}}}"));

        Assert.Equal("/grpc.health.v1.Health/Check", Assert.Single(asked));
    }

    [Fact]
    public async Task Exec_InTheContainer_PassesWithExitCode0()
    {
        await using var bed = await ProberBed.StartAsync();

        Assert.True(await bed.AskAsync("{exec: {command: [cat, /ready]}, timeoutSeconds: 3}"));
        bed.Backend.Fail("ExecSync", Grpc.Core.StatusCode.NotFound, "no such container");
        Assert.False(await bed.AskAsync("{exec: {command: [cat, /ready]}}"));

        Protocol.Runtime.V1.ExecSyncRequest exec = bed.Backend.Requests<Protocol.Runtime.V1.ExecSyncRequest>()[0];
        Assert.Equal(("c0", "cat /ready", 3L), (exec.ContainerId, string.Join(' ', exec.Cmd), exec.Timeout));
    }

    private static SidecarAnnotation Parse(string probe) => SidecarAnnotation.Parse(new Dictionary<string, string>
    {
        [SidecarAnnotation.SidecarsKey] = $"[{{name: proxy, startupProbe: {probe}}}]",
    });

    private static AnnotationMap Map(string probe)
    {
        SidecarAnnotation annotation = Parse(probe);
        Assert.Empty(annotation.Errors);
        return annotation.Find("proxy")!.StartupProbe!;
    }

    private sealed class ProberBed(FakeCri backend) : IAsyncDisposable
    {
        private readonly RuntimeAdapter _adapter = new(
            new RuntimeAdapterOptions { SocketPath = backend.SocketPath }, NullLogger.Instance);

        private readonly CancellationTokenSource _patience = new(NodeBed.Patience);

        public FakeCri Backend => backend;

        public static async Task<ProberBed> StartAsync() =>
            new(await FakeCri.StartAsync(Path.Combine(Path.GetTempPath(), $"crp-{Guid.NewGuid():N}.sock"), TimeProvider.System));

        public async Task<bool> AskAsync(string probe)
        {
            using var prober = new Prober(_adapter, TimeProvider.System);
            StartupProbe read = StartupProbe.Read(Map(probe), out _)! with { Timeout = NodeBed.Patience };
            return await prober.AskAsync(
                probe.Contains("timeoutSeconds", StringComparison.Ordinal) ? StartupProbe.Read(Map(probe), out _)! : read, "c0", IPAddress.Loopback,
                _patience.Token);
        }

        public async ValueTask DisposeAsync()
        {
            _adapter.Dispose();
            _patience.Dispose();
            await backend.DisposeAsync();
        }
    }

    /// <summary>Takes one connection on loopback, reads to an empty line, answers, and closes.</summary>
    private sealed class OneAnswerServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public OneAnswerServer(string answer)
        {
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            Request = ServeAsync(answer);
        }

        public int Port { get; }

        public Task<string> Request { get; }

        public void Dispose() => _listener.Dispose();

        private async Task<string> ServeAsync(string answer)
        {
            try
            {
                using TcpClient client = await _listener.AcceptTcpClientAsync();
                NetworkStream stream = client.GetStream();
                var request = new StringBuilder();
                byte[] buffer = new byte[4096];
                while (answer.Length > 0 && !request.ToString().Contains("\r\n\r\n", StringComparison.Ordinal))
                {
                    int read = await stream.ReadAsync(buffer);
                    if (read == 0)
                    {
                        break;
                    }

                    _ = request.Append(Encoding.ASCII.GetString(buffer, 0, read));
                }

                await stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
                return request.ToString();
            }
            catch (Exception closed) when (closed is SocketException or IOException or ObjectDisposedException)
            {
                return "";
            }
        }
    }
}
