using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using CriShim.TestSupport.RawHttp2;
using Grpc.Net.Client;

namespace CriShim.TestSupport.Callers;

/// <summary>A caller on .NET's own HTTP/2 stack, which shares nothing with the proxy's or with the raw caller's.</summary>
public sealed class HttpCaller : IDisposable
{
    private readonly SocketsHttpHandler _handler;
    private readonly HttpClient _http;

    public HttpCaller(string socketPath)
    {
        _handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
#pragma warning disable CA2262 // Kibibytes, and so many are meant: metadata of a megabyte must come through.
            MaxResponseHeadersLength = 2048,
#pragma warning restore CA2262
            ActivityHeadersPropagator = null,
        };
        _http = new HttpClient(_handler, disposeHandler: false)
        {
            BaseAddress = new Uri("http://localhost"),
            Timeout = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>A whole call with a body of any bytes.</summary>
    public async Task<HttpAnswer> CallAsync(
        string path, byte[] body, IEnumerable<HeaderField>? extra = null, CancellationToken cancellation = default)
    {
        using HttpRequestMessage request = Request(path, new ByteArrayContent(body), extra);
        using HttpResponseMessage response = await _http
            .SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).Bounded($"a head from {path}");
        byte[] received = await response.Content.ReadAsByteArrayAsync(cancellation).Bounded($"a body from {path}");
        return new HttpAnswer((int)response.StatusCode, Flatten(response.Headers), received, Flatten(response.TrailingHeaders));
    }

    /// <summary>gRPC's own library on top; message sizes without limit.</summary>
    public GrpcChannel Channel() => GrpcChannel.ForAddress(
        "http://localhost",
        new GrpcChannelOptions { HttpHandler = _handler, MaxReceiveMessageSize = null, MaxSendMessageSize = null });

    public void Dispose()
    {
        _http.Dispose();
        _handler.Dispose();
    }

    private static HttpRequestMessage Request(string path, HttpContent content, IEnumerable<HeaderField>? extra)
    {
        content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        content.Headers.ContentLength = null;
        var request = new HttpRequestMessage(HttpMethod.Post, path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        request.Headers.TE.ParseAdd("trailers");
        foreach (HeaderField field in extra ?? [])
        {
            request.Headers.TryAddWithoutValidation(field.Name, field.Value);
        }

        return request;
    }

    private static List<HeaderField> Flatten(HttpResponseHeaders headers) =>
        [.. headers.NonValidated.SelectMany(header => header.Value.Select(value => new HeaderField(header.Key, value)))];
}

/// <summary>What the HTTP caller got.</summary>
public sealed record HttpAnswer(
    int HttpStatus, IReadOnlyList<HeaderField> Headers, byte[] Body, IReadOnlyList<HeaderField> Trailers)
{
    public string? Status =>
        Trailers.Concat(Headers).ValueOf("grpc-status");
}
