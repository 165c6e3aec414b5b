using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace CriShim.Discovery.Tests.Support;

/// <summary>A certificate authority of a test's own.</summary>
internal sealed class TestAuthority : IDisposable
{
    private readonly X509Certificate2 _certificate;

    public TestAuthority(string name = "test-ca", TestAuthority? issuer = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
        DateTimeOffset now = DateTimeOffset.UtcNow;
        if (issuer is null)
        {
            _certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
            return;
        }

        using X509Certificate2 signed = request.Create(issuer._certificate, now.AddDays(-1), now.AddDays(1), RandomNumberGenerator.GetBytes(8));
        _certificate = signed.CopyWithPrivateKey(key);
    }

    public string Pem => _certificate.ExportCertificatePem();

    public X509Certificate2 IssueServing(params string[] names)
    {
        var alternatives = new SubjectAlternativeNameBuilder();
        foreach (string name in names)
        {
            if (IPAddress.TryParse(name, out IPAddress? address))
            {
                alternatives.AddIpAddress(address);
            }
            else
            {
                alternatives.AddDnsName(name);
            }
        }

        return Issue("CN=serving", "1.3.6.1.5.5.7.3.1", alternatives.Build());
    }

    /// <summary>A caller's certificate, as PEM of certificate and key.</summary>
    public (string Certificate, string Key, string Thumbprint) IssueForUser(string commonName)
    {
        using X509Certificate2 issued = Issue($"O=system:nodes, CN={commonName}", "1.3.6.1.5.5.7.3.2", null);
        using ECDsa key = issued.GetECDsaPrivateKey()!;
        return (issued.ExportCertificatePem() + "\n", key.ExportECPrivateKeyPem() + "\n", issued.Thumbprint);
    }

    public void Dispose() => _certificate.Dispose();

    private X509Certificate2 Issue(string subject, string usage, X509Extension? alternatives)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        if (alternatives is not null)
        {
            request.CertificateExtensions.Add(alternatives);
        }

        DateTimeOffset now = DateTimeOffset.UtcNow;
        using X509Certificate2 signed = request.Create(_certificate, now.AddHours(-1), now.AddHours(1), RandomNumberGenerator.GetBytes(8));
        using X509Certificate2 withKey = signed.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
    }
}
