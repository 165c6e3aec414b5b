using System.Net;
using System.Net.Sockets;
using System.Text;
using CriShim.Http;
using CriShim.Tests.Serving;
using Microsoft.Extensions.Logging;

namespace CriShim.Tests.Http;

public sealed class LocalHttpServerTests : IAsyncLifetime, IAsyncDisposable
{
    private readonly RecordedLog _log = new();
    private readonly LocalHttpServer _server;
    private Func<HttpRequest, HttpAnswer> _answer = request => HttpAnswer.Text(HttpStatusCode.OK, $"you asked for {request.Path}");

    public LocalHttpServerTests() => _server = new LocalHttpServer(
        new IPEndPoint(IPAddress.Loopback, 0), ["node-1"], (request, _) => ValueTask.FromResult(_answer(request)), _log, TimeProvider.System);

    Task IAsyncLifetime.InitializeAsync() => Task.CompletedTask;

    /// <summary>xunit knows no other way to end a test that takes its time for it.</summary>
    Task IAsyncLifetime.DisposeAsync() => DisposeAsync().AsTask();

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task Get_ByAnOrdinaryClient_GetsTheAnswerWithoutLeaveToLoadAnything()
    {
        using var client = new HttpClient();
        using HttpResponseMessage response = await client.GetAsync(new Uri($"http://{_server.Address}/metrics?name=x"));

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal("you asked for /metrics", await response.Content.ReadAsStringAsync());
        Assert.Equal("default-src 'none'; frame-ancestors 'none'", response.Headers.GetValues("Content-Security-Policy").Single());
        Assert.Equal("nosniff", response.Headers.GetValues("X-Content-Type-Options").Single());
    }

    [Fact]
    public async Task Head_OfAPage_HasItsLengthAndNoBody()
    {
        string answer = await SendAsync("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");

        Assert.StartsWith("HTTP/1.1 200 ", answer, StringComparison.Ordinal);
        Assert.Contains("Content-Length: 15\r\n", answer, StringComparison.Ordinal);
        Assert.EndsWith("\r\n\r\n", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("localhost")]
    [InlineData("LOCALHOST:9653")]
    [InlineData("127.0.0.1:1")]
    [InlineData("[::1]:9653")]
    [InlineData("10.1.2.3")]
    [InlineData("node-1:9653")]
    public async Task Get_ForThisHost_IsAnswered(string host) =>
        Assert.StartsWith("HTTP/1.1 200 ", await SendAsync($"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), StringComparison.Ordinal);

    // A page of attacker.example whose name was made to point at 127.0.0.1 has a browser ask so.
    [Theory]
    [InlineData("attacker.example")]
    [InlineData("attacker.example:9653")]
    [InlineData("localhost.attacker.example")]
    [InlineData("127.0.0.1.attacker.example:9653")]
    [InlineData("")]
    public async Task Get_ForAnotherHost_IsRefused(string host) =>
        Assert.StartsWith("HTTP/1.1 421 ", await SendAsync($"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), StringComparison.Ordinal);

    [Theory]
    [InlineData("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405)]
    [InlineData("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405)]
    [InlineData("GET / HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400)]
    [InlineData("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET /\u0001 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\nHost: localhost\r\n\r\n", 400)]
    [InlineData("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)]
    [InlineData("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 413)]
    [InlineData("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413)]
    public async Task Request_ThatIsNone_IsRefused(string request, int status) =>
        Assert.StartsWith($"HTTP/1.1 {status} ", await SendAsync(request), StringComparison.Ordinal);

    [Fact]
    public async Task Request_LongerThanAllowed_IsRefused()
    {
        string answer = await SendAsync($"GET / HTTP/1.1\r\nHost: localhost\r\nX: {new string('x', HttpRequest.MaxLength)}\r\n\r\n");

        Assert.StartsWith("HTTP/1.1 431 ", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_InSingleBytes_IsAnswered()
    {
        using Socket connection = await ConnectAsync();
        foreach (byte one in "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray())
        {
            await connection.SendAsync(new[] { one });
        }

        Assert.StartsWith("HTTP/1.1 200 ", await ReadAsync(connection), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answer_Throws_IsA500AndIsLogged()
    {
        _answer = _ => throw new InvalidOperationException("broken");

        Assert.StartsWith("HTTP/1.1 500 ", await SendAsync("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), StringComparison.Ordinal);
        Assert.Contains(_log.Lines, line => line.Level == LogLevel.Error);
    }

    [Fact]
    public async Task Connections_ThatSaySayNothing_KeepNobodyOutForLong()
    {
        var silent = new List<Socket>();
        try
        {
            for (int i = 0; i < 20; i++)
            {
                silent.Add(await ConnectAsync());
            }

            // It waits until the silent ones' time is up.
            Assert.StartsWith("HTTP/1.1 200 ", await SendAsync("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), StringComparison.Ordinal);
        }
        finally
        {
            silent.ForEach(socket => socket.Dispose());
        }
    }

    [Fact]
    public void Bind_AddressInUse_Throws() => Assert.Throws<SocketException>(() => new LocalHttpServer(
        _server.Address, [], (_, _) => ValueTask.FromResult(HttpAnswer.Text(HttpStatusCode.OK, "")), _log, TimeProvider.System));

    private async Task<string> SendAsync(string request)
    {
        using Socket connection = await ConnectAsync();
        await connection.SendAsync(Encoding.Latin1.GetBytes(request));
        return await ReadAsync(connection);
    }

    private async Task<Socket> ConnectAsync()
    {
        var connection = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await connection.ConnectAsync(_server.Address);
        return connection;
    }

    private static async Task<string> ReadAsync(Socket connection)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        var text = new StringBuilder();
        byte[] buffer = new byte[4096];
        int read;
        while ((read = await connection.ReceiveAsync(buffer, timeout.Token)) > 0)
        {
            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
        }

        return text.ToString();
    }
}
