using System.Net;
using System.Net.Sockets;
using CriShim.Benchmarks.Backend;

namespace CriShim.Benchmarks.Load;

/// <summary>Makes single calls on a socket and sees everything that comes back; h2load sees neither body nor trailers.</summary>
internal sealed class CriCaller : IDisposable
{
    private readonly HttpMessageInvoker _invoker;

    /// <summary><paramref name="connect"/> gives the connection that the calls travel on.</summary>
    public CriCaller(Func<CancellationToken, ValueTask<Socket>> connect)
    {
        _invoker = new HttpMessageInvoker(new SocketsHttpHandler
        {
            InitialHttp2StreamWindowSize = 1 << 20,
            ConnectCallback = async (_, cancellation) => new NetworkStream(await connect(cancellation), ownsSocket: true),
        });
    }

    public static CriCaller On(string socketPath) => new(async cancellation =>
    {
        var socket = NewSocket();
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation);
        return socket;
    });

    public static Socket NewSocket() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <summary>The framed response of a call that succeeded.</summary>
    /// <exception cref="MeasurementException">It failed, in whatever way.</exception>
    public async Task<byte[]> CallAsync(CannedCall call, CancellationToken cancellation)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"http://localhost{call.Path}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(call.Request) { Headers = { ContentType = new("application/grpc") } },
            Headers = { { "te", "trailers" } },
        };
        try
        {
            using var response = await _invoker.SendAsync(request, cancellation);
            var body = await response.Content.ReadAsByteArrayAsync(cancellation);
            var status = Status(response.TrailingHeaders) ?? Status(response.Headers);
            return response.StatusCode == HttpStatusCode.OK && status == "0"
                ? body
                : throw new MeasurementException($"{call.Path} got HTTP {(int)response.StatusCode}, grpc-status {status ?? "none"}");
        }
        catch (Exception failure) when (failure is HttpRequestException or IOException)
        {
            throw new MeasurementException($"{call.Path} failed: {failure.Message}", failure);
        }
    }

    public void Dispose() => _invoker.Dispose();

    private static string? Status(System.Net.Http.Headers.HttpHeaders headers) =>
        headers.TryGetValues("grpc-status", out var values) ? string.Join(',', values) : null;
}
