using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace CriShim.Discovery.Access;

/// <summary>Whether a serving certificate comes from the authorities of a kubeconfig, by the rules that kubelet and kubectl go by.</summary>
internal sealed class ServingCertificateCheck : IDisposable
{
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly X509Certificate2Collection _authorities = [];

    /// <exception cref="CryptographicException">The PEM holds no certificate.</exception>
    public ServingCertificateCheck(string authoritiesPem)
    {
        _authorities.ImportFromPem(authoritiesPem);
        if (_authorities.Count == 0)
        {
            throw new CryptographicException("no certificate");
        }
    }

    public bool Check(X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        // Anything but an unknown authority, such as another name, is final.
        if (certificate is not X509Certificate2 serving || (errors & ~SslPolicyErrors.RemoteCertificateChainErrors) != 0)
        {
            return false;
        }

        // From a root of the list; else, as Go has it, from any certificate of the list: with an outside authority, a cluster's is often an
        // intermediate one whose root is not on the nodes.
        return Builds(serving, presented, X509VerificationFlags.NoFlag, out _)
            || (Builds(serving, presented, X509VerificationFlags.AllowUnknownCertificateAuthority, out bool isAnchored) && isAnchored);
    }

    public void Dispose()
    {
        foreach (X509Certificate2 authority in _authorities)
        {
            authority.Dispose();
        }
    }

    private bool Builds(X509Certificate2 serving, X509Chain? presented, X509VerificationFlags flags, out bool isAnchored)
    {
        using var chain = new X509Chain
        {
            ChainPolicy =
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                // Certificates of a cluster name no place to ask whether they are revoked, and nothing may be fetched while connecting.
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
                VerificationFlags = flags,
            },
        };
        chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ServerAuthentication));
        if (presented is not null)
        {
            chain.ChainPolicy.ExtraStore.AddRange(presented.ChainPolicy.ExtraStore);
        }

        bool isBuilt = chain.Build(serving);
        isAnchored = isBuilt && chain.ChainElements.Skip(1).Any(e => _authorities.Any(a => a.RawDataMemory.Span.SequenceEqual(e.Certificate.RawDataMemory.Span)));
        return isBuilt;
    }
}
