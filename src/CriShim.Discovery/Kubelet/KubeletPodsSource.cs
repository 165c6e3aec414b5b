using CriShim.Discovery.Access;
using CriShim.Discovery.Reading;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery.Kubelet;

/// <summary>
/// The kubelet's <c>GET /pods</c>, read again and again: for nodes without a kubeconfig for the API server, or whose kubelet has pods that
/// no API server knows. It lists static pods under the UID that CRI shows.
/// </summary>
public sealed class KubeletPodsSource(KubeletPodsOptions options, NodeNameResolver nodeName, TimeProvider time, ILogger<KubeletPodsSource> log)
    : IPodSpecSource
{
    private const int MaxPodBytes = 4 * 1024 * 1024;
    private const int MaxListed = 20_000;

    /// <summary>A kubelet that refuses the credentials goes on refusing them, and writes each refusal to its log.</summary>
    private static readonly TimeSpan MaxRetryDelay = TimeSpan.FromMinutes(5);

    public string Name => "kubelet /pods";

    public PodIdentity Identity => PodIdentity.Uid;

    public async Task RunAsync(IPodFactsSink sink, CancellationToken cancellationToken)
    {
        var backoff = new RetryBackoff(options.Interval, MaxRetryDelay, Random.Shared);
        var rejected = new HashSet<string>(StringComparer.Ordinal);
        using var connection = new KeptConnection();
        while (true)
        {
            TimeSpan delay;
            try
            {
                ApiAccess access = ReadAccess();
                _ = connection.Use(access);
                sink.ReplaceAll(await ReadPodsAsync(connection.Current!, access, rejected, cancellationToken).ConfigureAwait(false));
                sink.Report(PodSpecSourceState.Synced);
                backoff.Reset();
                delay = options.Interval * (0.9 + (Random.Shared.NextDouble() / 5));
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested && FindReason(e) is not null)
            {
                sink.Report(PodSpecSourceState.Degraded, $"{options.Address.GetLeftPart(UriPartial.Authority)}: {FindReason(e)}");
                delay = backoff.Next();
                if (e is SpecSourceException { Failure: SpecSourceFailure.Unauthorized })
                {
                    connection.Drop();
                }
            }

            await Task.Delay(delay, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private static string? FindReason(Exception e) => e switch
    {
        SpecSourceException => e.Message,
        PodSpecException => "what it sent " + e.Message,
        _ => ApiConnection.FindReason(e),
    };

    private async Task<List<SeenPod>> ReadPodsAsync(
        ApiConnection connection, ApiAccess access, HashSet<string> rejected, CancellationToken cancellationToken)
    {
        using var deadline = new CallDeadline(options.CallTimeout, time, cancellationToken);
        try
        {
            using HttpResponseMessage response = await connection.GetAsync("/pods", access.BearerToken, deadline.Token).ConfigureAwait(false);
            using Stream body = await response.Content.ReadAsStreamAsync(deadline.Token).ConfigureAwait(false);
            using var buffer = new JsonStreamBuffer(body, MaxPodBytes);
            var pods = new List<SeenPod>();
            var reader = new PodListReader(buffer, pod => Keep(pods, pod, rejected), fault => Reject(rejected, fault));
            _ = await reader.ReadAsync(deadline.Token).ConfigureAwait(false);
            return pods;
        }
        catch (OperationCanceledException) when (deadline.IsOver)
        {
            throw new SpecSourceException($"no whole answer within {options.CallTimeout.TotalSeconds:0.###} s");
        }
    }

    /// <summary>
    /// By default a kubelet's serving certificate is one that it signed itself, in the node's name: there is nothing to verify it against, and
    /// 127.0.0.1 is not in it. On loopback the other end is a process of this node, though not always the kubelet: while that is down, a pod
    /// of the host's network could take its port. It would get no key from a client certificate, but it would get a bearer token; and it could
    /// tell us of pods, which does no more than choose how containers of this node are restarted. So a certificate goes before a token, and
    /// <see cref="KubeletPodsOptions.ServingAuthorityFile"/> closes the gap.
    /// </summary>
    private ApiAccess ReadAccess()
    {
        ApiAccess? user = options.KubeconfigPath is { } kubeconfig ? KubeconfigReader.Read(kubeconfig) : null;
        string? token = user is null
            ? (options.TokenFile is { } file ? KubeconfigReader.ReadTokenFile(file) : null)
            : (user.CertificatePem is null ? user.BearerToken : null);
        string? authorities = options.ServingAuthorityFile is { } path ? KubeconfigReader.ReadFile(path) : null;
        return new ApiAccess
        {
            Address = options.Address,
            AuthoritiesPem = authorities,
            ServingName = authorities is null ? null : nodeName.Resolve(),
            SkipsVerification = authorities is null,
            CertificatePem = user?.CertificatePem,
            KeyPem = user?.KeyPem,
            BearerToken = token,
        };
    }

    private void Keep(List<SeenPod> pods, PodDocument pod, HashSet<string> rejected)
    {
        if (pods.Count < MaxListed)
        {
            if (pod.Loss is { } loss)
            {
                Reject(rejected, $"{pod.Facts.Namespace}/{pod.Facts.Name}: {loss}");
            }

            pods.Add(new SeenPod(pod.Facts, pod.IsFinished));
        }
    }

    private void Reject(HashSet<string> rejected, string fault)
    {
        if (rejected.Count < 100 && rejected.Add(fault))
        {
            log.PodRejected(Name, fault);
        }
    }
}
