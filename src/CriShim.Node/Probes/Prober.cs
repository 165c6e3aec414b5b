using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using CriShim.Containerd.Runtime;
using CriShim.Protocol.Health.V1;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Sidecars;
using Grpc.Core;
using Grpc.Net.Client;

namespace CriShim.Node.Probes;

/// <summary>Asks a container whether it has started.</summary>
/// <remarks>
/// Pod authors write these probes, and this process stands on the node's network: a probe goes to the pod's own address and nowhere else.
/// Redirects are not followed, proxies not used, answers not read beyond their headers; certificates are not checked, as the kubelet does
/// not. So many at most go on at a time on a node.
/// </remarks>
internal sealed class Prober(RuntimeAdapter backend, TimeProvider time) : IDisposable
{
    private const int MaxAtOnce = 32;
    private const int MaxHeadersKilobytes = 16;

    private readonly SemaphoreSlim _places = new(MaxAtOnce);
    private readonly HttpMessageInvoker _http = new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
        PooledConnectionLifetime = TimeSpan.Zero,
        MaxResponseHeadersLength = MaxHeadersKilobytes,
#pragma warning disable CA5359 // A pod's own certificate is known to nobody; what a probe sends is the pod author's own.
        SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = static (_, _, _, _) => true },
#pragma warning restore CA5359
    });

    /// <summary>Once. Whatever goes wrong is no start.</summary>
    /// <param name="probe">The probe.</param>
    /// <param name="containerId">The container.</param>
    /// <param name="address">The pod's own address; not needed for a command.</param>
    /// <param name="cancellationToken">Nobody wants to know any more.</param>
    public async Task<bool> AskAsync(StartupProbe probe, string containerId, IPAddress? address, CancellationToken cancellationToken)
    {
        await _places.WaitAsync(cancellationToken).ConfigureAwait(false);
        using var limit = new CancellationTokenSource(probe.Timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
        try
        {
            return probe.Action switch
            {
                ExecAction exec => await ExecAsync(exec, containerId, probe.Timeout, cancellationToken).ConfigureAwait(false),
                HttpGetAction get when address is not null => await GetAsync(get, address, either.Token).ConfigureAwait(false),
                TcpSocketAction tcp when address is not null => await ConnectAsync(tcp, address, either.Token).ConfigureAwait(false),
                GrpcAction grpc when address is not null => await CheckAsync(grpc, address, either.Token).ConfigureAwait(false),
                _ => false,
            };
        }
        catch (Exception) when (!cancellationToken.IsCancellationRequested)
        {
            // Headers, paths and service names are a pod author's, and whoever sends them has more rules than are known here.
            return false;
        }
        finally
        {
            _ = _places.Release();
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _places.Dispose();
    }

    private static async Task<bool> ConnectAsync(TcpSocketAction tcp, IPAddress address, CancellationToken cancellationToken)
    {
        using var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(new IPEndPoint(address, tcp.Port), cancellationToken).ConfigureAwait(false);
        return true;
    }

    private static string Host(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{address}]" : address.ToString();

    private async Task<bool> ExecAsync(ExecAction exec, string containerId, TimeSpan timeout, CancellationToken cancellationToken)
    {
        CallResult<ExecSyncResponse> result = await backend.ExecSyncAsync(containerId, exec.Command, timeout, cancellationToken).ConfigureAwait(false);
        return result.Value is { ExitCode: 0 };
    }

    private async Task<bool> GetAsync(HttpGetAction get, IPAddress address, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{(get.IsHttps ? "https" : "http")}://{Host(address)}:{get.Port}{get.Path}");
        request.Headers.ConnectionClose = true;
        _ = request.Headers.TryAddWithoutValidation("User-Agent", "crishim-probe");
        foreach ((string name, string value) in get.Headers)
        {
            if (name.Equals("Host", StringComparison.OrdinalIgnoreCase))
            {
                request.Headers.Host = value;
            }
            else
            {
                _ = request.Headers.TryAddWithoutValidation(name, value);
            }
        }

        // An invoker answers at the headers; the body is closed unread.
        using HttpResponseMessage response = await _http.SendAsync(request, cancellationToken).ConfigureAwait(false);
        return (int)response.StatusCode is >= 200 and < 400;
    }

    private async Task<bool> CheckAsync(GrpcAction grpc, IPAddress address, CancellationToken cancellationToken)
    {
        using GrpcChannel channel = GrpcChannel.ForAddress($"http://{Host(address)}:{grpc.Port}", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler
            {
                AllowAutoRedirect = false, UseProxy = false, UseCookies = false, MaxResponseHeadersLength = MaxHeadersKilobytes,
            },
            DisposeHttpClient = true,
            MaxReceiveMessageSize = 4096,
        });
        HealthCheckResponse answer = await new Health.HealthClient(channel)
            .CheckAsync(new HealthCheckRequest { Service = grpc.Service }, cancellationToken: cancellationToken).ConfigureAwait(false);
        return answer.Status == HealthCheckResponse.Types.ServingStatus.Serving;
    }
}
