using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace CriShim.Discovery.Access;

/// <summary>Calls to one API with one set of TLS credentials. HTTP/1.1: there is one call at a time, and a watch costs no HTTP/2 windows.</summary>
internal sealed class ApiConnection : IDisposable
{
    private const int MaxReasonLength = 200;

    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly string? _servingName;
    private readonly HttpMessageInvoker _calls;
    private readonly IDisposable?[] _owned;

    private ApiConnection(ApiAccess access, HttpMessageInvoker calls, IDisposable?[] owned)
    {
        Address = access.Address;
        Fingerprint = access.ConnectionFingerprint();
        _servingName = access.ServingName;
        _calls = calls;
        _owned = owned;
    }

    public Uri Address { get; }

    public string Fingerprint { get; }

    /// <summary>Connects with the first call, not here.</summary>
    /// <exception cref="SpecSourceException">The certificates can't be used.</exception>
    public static ApiConnection Open(ApiAccess access)
    {
        ServingCertificateCheck? check = null;
        X509Certificate2? certificate = null;
        X509Certificate2Collection? chain = null;
        try
        {
            var tls = new SslClientAuthenticationOptions();
            if (access.SkipsVerification)
            {
#pragma warning disable CA5359 // Chosen by whoever asks for access, for the reasons written there.
                tls.RemoteCertificateValidationCallback = AcceptAny;
#pragma warning restore CA5359
            }
            else if (access.AuthoritiesPem is { } authorities)
            {
                check = new ServingCertificateCheck(authorities);
                ServingCertificateCheck used = check;
                tls.RemoteCertificateValidationCallback = (_, serving, presented, errors) => used.Check(serving, presented, errors);
            }

            if (access.CertificatePem is { } pem)
            {
                certificate = X509Certificate2.CreateFromPem(pem, access.KeyPem);
                chain = [];
                chain.ImportFromPem(pem);
                chain.RemoveAt(0);
                // Offline: nothing may be fetched to complete the chain.
                tls.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, chain, offline: true);
            }

            var handler = new SocketsHttpHandler
            {
                SslOptions = tls,
                ConnectTimeout = ConnectTimeout,
                ConnectCallback = ConnectAsync,
                // A redirect would take the credentials elsewhere.
                AllowAutoRedirect = false,
                UseCookies = false,
                AutomaticDecompression = DecompressionMethods.None,
                ActivityHeadersPropagator = null,
                MaxConnectionsPerServer = 2,
                PooledConnectionIdleTimeout = TimeSpan.FromSeconds(90),
                MaxResponseDrainSize = 64 * 1024,
            };
            if (access.Address.IsLoopback)
            {
                handler.UseProxy = false;
            }
            else if (access.Proxy is { } proxy)
            {
                handler.Proxy = new WebProxy(proxy);
            }

            return new ApiConnection(access, new HttpMessageInvoker(handler), [check, certificate, .. chain ?? []]);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            // A certificate is replaced while it is read, and no longer fits its key; or it never was one.
            check?.Dispose();
            certificate?.Dispose();
            throw new SpecSourceException(check is null && access.AuthoritiesPem is not null && !access.SkipsVerification
                ? "the certificate authorities cannot be read"
                : "the client certificate and its key cannot be used");
        }
    }

    /// <summary>Sends one GET.</summary>
    /// <returns>A response of status 200 whose body is still to be read.</returns>
    /// <exception cref="SpecSourceException">No answer, or another status.</exception>
    public async Task<HttpResponseMessage> GetAsync(string pathAndQuery, string? bearerToken, CancellationToken cancellationToken)
    {
        using var request = NewRequest(HttpMethod.Get, pathAndQuery, bearerToken);
        return Demand(await SendAsync(request, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Sends one object.</summary>
    /// <returns>A response of whatever status, whose body is still to be read.</returns>
    /// <exception cref="SpecSourceException">No answer.</exception>
    public async Task<HttpResponseMessage> WriteAsync(
        HttpMethod method, string path, string mediaType, byte[] body, string? bearerToken, CancellationToken cancellationToken)
    {
        using var request = NewRequest(method, path, bearerToken);
        request.Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue(mediaType) } };
        return await SendAsync(request, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same response, where its status is 200 or 201.</summary>
    /// <exception cref="SpecSourceException">Another status; the response is disposed of.</exception>
    public static HttpResponseMessage Demand(HttpResponseMessage response)
    {
        if (response.StatusCode is HttpStatusCode.OK or HttpStatusCode.Created)
        {
            return response;
        }

        using (response)
        {
            throw Refusal(response);
        }
    }

    /// <summary>How long the other side asks to be left alone, which may be any time; null: it says nothing. A date counts by its own clock.</summary>
    public static TimeSpan? RetryAfterOf(HttpResponseMessage response) =>
        response.Headers.RetryAfter is { } asked ? asked.Delta ?? (asked.Date - response.Headers.Date) : null;

    private HttpRequestMessage NewRequest(HttpMethod method, string pathAndQuery, string? bearerToken)
    {
        // A server address may have a path of its own (a proxy that serves many clusters).
        var request = new HttpRequestMessage(method, new Uri(Address.GetLeftPart(UriPartial.Path).TrimEnd('/') + pathAndQuery))
        {
            Version = HttpVersion.Version11,
        };
        // SocketsHttpHandler takes the name to ask for and to verify (SNI) from here, whatever its TLS options say.
        request.Headers.Host = _servingName;
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        request.Headers.UserAgent.Add(new ProductInfoHeaderValue("crishim", null));
        if (bearerToken is not null)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", bearerToken);
        }

        return request;
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await _calls.SendAsync(request, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (FindReason(e) is not null)
        {
            throw new SpecSourceException(FindReason(e)!);
        }
    }

    /// <summary>What to tell operators of a failed call or a broken body; null when it is no such fault.</summary>
    public static string? FindReason(Exception e) => e switch
    {
        HttpRequestException { HttpRequestError: HttpRequestError.NameResolutionError } => "its name cannot be resolved",
        HttpRequestException { InnerException: SocketException socket } => $"cannot connect: {Shorten(socket.Message)}",
        HttpRequestException { InnerException: AuthenticationException tls } => $"TLS: {Shorten((tls.InnerException ?? tls).Message)}",
        HttpRequestException http => Shorten((http.InnerException ?? http).Message),

        // What SocketsHttpHandler makes of its ConnectTimeout, which TLS counts into; nobody has cancelled anything.
        TaskCanceledException { InnerException: TimeoutException } => "cannot connect in time",
        HttpIOException or IOException or SocketException => "the connection was lost",
        _ => null,
    };

    public void Dispose()
    {
        _calls.Dispose();
        foreach (IDisposable? owned in _owned)
        {
            owned?.Dispose();
        }
    }

    private static SpecSourceException Refusal(HttpResponseMessage response)
    {
        TimeSpan? retryAfter = RetryAfterOf(response);
        int status = (int)response.StatusCode;
        return status switch
        {
            401 => new("the credentials are refused (401)", SpecSourceFailure.Unauthorized, retryAfter),
            403 => new("these credentials may not read pods here (403)", SpecSourceFailure.Forbidden, retryAfter),
            410 => new("the version is gone (410)", SpecSourceFailure.Gone, retryAfter),
            429 or >= 500 => new($"answered with status {status}", retryAfter: retryAfter),
            _ => new($"answered with status {status}", SpecSourceFailure.VersionUnknown, retryAfter),
        };
    }

    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            // A watch is silent for minutes: without this, a node that lost its network would take its silence for peace.
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
            socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 3);
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static bool AcceptAny(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) => true;

    private static string Shorten(string text) => text.Length > MaxReasonLength ? text[..MaxReasonLength] : text;
}
