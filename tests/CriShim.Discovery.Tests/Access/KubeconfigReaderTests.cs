using System.Text;
using CriShim.Discovery.Access;
using CriShim.Discovery.Tests.Support;

namespace CriShim.Discovery.Tests.Access;

public sealed class KubeconfigReaderTests : IDisposable
{
    private const string Secret = "hunter2";

    private readonly ScratchDirectory _scratch = new();

    [Fact]
    public void Read_InlineData_IsDecoded()
    {
        ApiAccess access = Read("""
            client-certificate-data: Y2VydA==
                client-key-data: a2V5
            """);

        Assert.Equal(new Uri("https://10.0.0.1:6443"), access.Address);
        Assert.Equal("ca", access.AuthoritiesPem);
        Assert.Equal(("cert", "key"), (access.CertificatePem, access.KeyPem));
        Assert.Null(access.BearerToken);
        Assert.False(access.SkipsVerification);
    }

    [Fact]
    public void Read_Files_AreRelativeToTheKubeconfigAndReadAnew()
    {
        _scratch.Write("pki/first.pem", "first");
        File.CreateSymbolicLink(_scratch.File("pki/current.pem"), "first.pem");
        const string user = """
            client-certificate: pki/current.pem
                client-key: pki/current.pem
            """;
        Assert.Equal("first", Read(user).CertificatePem);

        _scratch.Write("pki/second.pem", "second");
        File.CreateSymbolicLink(_scratch.File("pki/next"), "second.pem");
        File.Move(_scratch.File("pki/next"), _scratch.File("pki/current.pem"), overwrite: true);

        Assert.Equal("second", Read(user).CertificatePem);
    }

    [Fact]
    public void Read_DataAndFile_DataGoesFirst()
    {
        ApiAccess access = Read("""
            client-certificate: /nowhere
                client-certificate-data: Y2VydA==
                client-key: /nowhere
                client-key-data: a2V5
            """);

        Assert.Equal("cert", access.CertificatePem);
    }

    [Fact]
    public void Read_TokenFileAndToken_FileGoesFirst()
    {
        _scratch.Write("token", "from-file\n");

        Assert.Equal("from-file", Read("tokenFile: token\n    token: inline").BearerToken);
        Assert.Equal("inline", Read("token: inline").BearerToken);
    }

    [Theory]
    [InlineData("exec: {command: hunter2}", 18, "exec is not supported: crishim runs no credential plugins; use a client certificate, token or tokenFile")]
    [InlineData("auth-provider: {name: hunter2}", 18, "auth-provider is not supported: use a client certificate, token or tokenFile")]
    [InlineData("password: hunter2", 18, "username and password are not supported: no API server takes them since 1.19")]
    [InlineData("as: hunter2", 18, "as is not supported: use the credentials of the wanted user")]
    [InlineData("client-certificate-data: \"%hunter2\"", 18, "client-certificate-data must be base64")]
    [InlineData("client-certificate-data: Y2VydA==", 18, "client-certificate and client-key must be given together")]
    [InlineData("token: \"hunter2 hunter2\"", 18, "token is no token")]
    [InlineData("token: [hunter2]", 18, "token must be a text")]
    public void Read_UserThatCantBeUsed_NamesLineAndReasonAndNoSecret(string user, int line, string reason)
    {
        SpecSourceException e = Assert.Throws<SpecSourceException>(() => Read(user));

        Assert.Equal($"{_scratch.File("kubeconfig")}:{line}: {reason}", e.Message);
        Assert.DoesNotContain(Secret, e.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("current-context: default", "", 1, "current-context is missing")]
    [InlineData("current-context: default", "current-context: other", 1, "contexts has no \"other\" with a context")]
    [InlineData("cluster: the-cluster", "cluster: other", 1, "clusters has no \"other\" with a cluster")]
    [InlineData("user: the-user", "user: other", 1, "users has no \"other\" with a user")]
    [InlineData("server: https://10.0.0.1:6443", "server: http://10.0.0.1:8080", 12, "server must be an https URL (http on loopback only)")]
    [InlineData("server: https://10.0.0.1:6443", "server: https://a:b@10.0.0.1:6443", 12, "server must be an https URL (http on loopback only)")]
    [InlineData("server: https://10.0.0.1:6443", "server: [", 12, "is no valid YAML")]
    public void Read_BadKubeconfig_NamesLineAndReason(string good, string bad, int line, string reason)
    {
        string path = _scratch.Write("kubeconfig", Text("token: x").Replace(good, bad, StringComparison.Ordinal));

        Assert.Equal($"{path}:{line}: {reason}", Assert.Throws<SpecSourceException>(() => KubeconfigReader.Read(path)).Message);
    }

    [Fact]
    public void Read_NoFile_SaysSo() =>
        Assert.Equal("/nowhere/kubeconfig does not exist", Assert.Throws<SpecSourceException>(() => KubeconfigReader.Read("/nowhere/kubeconfig")).Message);

    [Fact]
    public void FindNodeName_NodesCertificate_GivesIt()
    {
        using var authority = new TestAuthority();
        (string certificate, string key, _) = authority.IssueForUser("system:node:Node-A.example");
        (string other, string otherKey, _) = authority.IssueForUser("kubernetes-admin");

        Assert.Equal("Node-A.example", Read(User(certificate, key)).FindNodeName());
        Assert.Null(Read(User(other, otherKey)).FindNodeName());
        Assert.Null(Read("token: x").FindNodeName());
    }

    [Fact]
    public void ToString_Access_HoldsNoSecret() => Assert.Equal("https://10.0.0.1:6443/", Read("token: " + Secret).ToString());

    public void Dispose() => _scratch.Dispose();

    private static string User(string certificate, string key) =>
        $"client-certificate-data: {Convert.ToBase64String(Encoding.UTF8.GetBytes(certificate))}\n    client-key-data: {Convert.ToBase64String(Encoding.UTF8.GetBytes(key))}";

    private ApiAccess Read(string user) => KubeconfigReader.Read(_scratch.Write("kubeconfig", Text(user)));

    private static string Text(string user) => $"""
        apiVersion: v1
        kind: Config
        current-context: default
        contexts:
        - name: default
          context:
            cluster: the-cluster
            user: the-user
        clusters:
        - name: the-cluster
          cluster:
            server: https://10.0.0.1:6443
            certificate-authority-data: Y2E=
            extensions: []
        users:
        - name: the-user
          user:
            {user}
        """;
}
