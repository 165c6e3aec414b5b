using System.Net;
using System.Security.Cryptography;
using CriShim.Discovery.Access;
using Microsoft.Extensions.Logging;

namespace CriShim.Discovery;

/// <summary>
/// The name that this node goes by in the cluster. Asked for anew until it is certain: a kubeconfig may come only once the node has joined.
/// </summary>
public sealed class NodeNameResolver
{
    private readonly string? _kubeconfigPath;
    private readonly ILogger _log;
    private readonly Func<string> _hostName;
    private string? _certain;
    private string? _logged;

    public NodeNameResolver(string? configured, string? kubeconfigPath, ILogger<NodeNameResolver> log)
        : this(configured, kubeconfigPath, log, Dns.GetHostName)
    {
    }

    // Not Environment.MachineName, which ends at the first dot.
    internal NodeNameResolver(string? configured, string? kubeconfigPath, ILogger log, Func<string> hostName)
    {
        _certain = configured;
        _kubeconfigPath = kubeconfigPath;
        _log = log;
        _hostName = hostName;
    }

    /// <summary>The name as far as it is known now: configured, else of the certificate system:node:NAME, else the host's.</summary>
    public string Resolve()
    {
        if (Volatile.Read(ref _certain) is { } certain)
        {
            return certain;
        }

        if (FindInCertificate() is { } name)
        {
            Volatile.Write(ref _certain, name);
            Tell(name, "the kubeconfig's certificate");
            return name;
        }

        // As the kubelet makes it when it is not told otherwise.
        string host = _hostName().Trim().ToLowerInvariant();
        Tell(host, "the host's name");
        return host;
    }

    private string? FindInCertificate()
    {
        if (_kubeconfigPath is null)
        {
            return null;
        }

        try
        {
            return KubeconfigReader.Read(_kubeconfigPath).FindNodeName();
        }
        catch (Exception e) when (e is SpecSourceException or CryptographicException)
        {
            // Whoever needs the kubeconfig for more than the name says what is wrong with it.
            return null;
        }
    }

    private void Tell(string name, string origin)
    {
        if (Interlocked.Exchange(ref _logged, name) != name)
        {
            _log.NodeNameFound(name, origin);
        }
    }
}
