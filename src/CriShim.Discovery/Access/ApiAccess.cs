using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace CriShim.Discovery.Access;

/// <summary>
/// Where an API is and how to be let in: what a kubeconfig says, with the files that it names read. A class and no record: a record's
/// ToString would print the secrets.
/// </summary>
internal sealed class ApiAccess
{
    public required Uri Address { get; init; }

    /// <summary>The name in the serving certificate, where it is not the address's host.</summary>
    public string? ServingName { get; init; }

    /// <summary>PEM of the certificates that the serving certificate must come from; null: the system's.</summary>
    public string? AuthoritiesPem { get; init; }

    /// <summary>The serving certificate is not looked at.</summary>
    public bool SkipsVerification { get; init; }

    public Uri? Proxy { get; init; }

    /// <summary>PEM of the certificate, and of those between it and its root.</summary>
    public string? CertificatePem { get; init; }

    public string? KeyPem { get; init; }

    /// <summary>Sent with each call, so that a new one needs no new connection.</summary>
    public string? BearerToken { get; init; }

    /// <summary>Changes with everything that a connection is made from.</summary>
    public string ConnectionFingerprint()
    {
        string[] parts =
        [
            Address.AbsoluteUri, ServingName ?? "", AuthoritiesPem ?? "", SkipsVerification.ToString(), Proxy?.AbsoluteUri ?? "",
            CertificatePem ?? "", KeyPem ?? "",
        ];
        return Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', parts))));
    }

    /// <summary>The NAME of a node's certificate, which the kubelet is known by as system:node:NAME; null when it is no node's.</summary>
    public string? FindNodeName()
    {
        if (CertificatePem is null)
        {
            return null;
        }

        const string prefix = "system:node:";
        using X509Certificate2 certificate = X509Certificate2.CreateFromPem(CertificatePem);
        string commonName = certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        return commonName.StartsWith(prefix, StringComparison.Ordinal) && commonName.Length > prefix.Length ? commonName[prefix.Length..] : null;
    }

    public override string ToString() => Address.ToString();
}
