using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using CriShim.Discovery.Access;
using CriShim.Discovery.Tests.Support;

namespace CriShim.Discovery.Tests.Access;

public sealed class ServingCertificateCheckTests : IDisposable
{
    private readonly TestAuthority _root = new("root");

    [Fact]
    public void Check_FromTheAuthority_IsTrusted()
    {
        using X509Certificate2 serving = _root.IssueServing("127.0.0.1");

        Assert.True(Check(_root.Pem, serving, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void Check_AnotherName_IsNotTrusted()
    {
        using X509Certificate2 serving = _root.IssueServing("127.0.0.1");

        Assert.False(Check(_root.Pem, serving, SslPolicyErrors.RemoteCertificateChainErrors | SslPolicyErrors.RemoteCertificateNameMismatch));
        Assert.False(Check(_root.Pem, serving, SslPolicyErrors.RemoteCertificateNameMismatch));
    }

    [Fact]
    public void Check_AuthorityOfTheSameName_IsNotTrusted()
    {
        using var forger = new TestAuthority("root");
        using X509Certificate2 serving = forger.IssueServing("127.0.0.1");

        Assert.False(Check(_root.Pem, serving, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void Check_IntermediateAuthorityWithoutItsRoot_IsTrusted()
    {
        using var intermediate = new TestAuthority("cluster-ca", _root);
        using X509Certificate2 serving = intermediate.IssueServing("127.0.0.1");

        Assert.True(Check(intermediate.Pem, serving, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void Check_ForgedIntermediateAuthority_IsNotTrusted()
    {
        using var intermediate = new TestAuthority("cluster-ca", _root);
        using var forger = new TestAuthority("cluster-ca");
        using X509Certificate2 serving = forger.IssueServing("127.0.0.1");

        Assert.False(Check(intermediate.Pem, serving, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void Check_CallersCertificate_IsNotTrusted()
    {
        // Every node has one of these from the same authority.
        using X509Certificate2 node = X509Certificate2.CreateFromPem(_root.IssueForUser("system:node:b").Certificate);

        Assert.False(Check(_root.Pem, node, SslPolicyErrors.RemoteCertificateChainErrors));
    }

    [Fact]
    public void New_NoCertificate_IsRefused() => Assert.ThrowsAny<CryptographicException>(() => new ServingCertificateCheck("no PEM"));

    public void Dispose() => _root.Dispose();

    private static bool Check(string authorities, X509Certificate2 serving, SslPolicyErrors errors)
    {
        using var check = new ServingCertificateCheck(authorities);
        return check.Check(serving, null, errors);
    }
}
