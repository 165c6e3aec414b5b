using System.Security;
using System.Text;
using CriShim.Discovery.Reading;

namespace CriShim.Discovery.Access;

/// <summary>
/// Reads a kubeconfig (v1 Config) and the files that it names. Read anew for every connection: the kubelet replaces its certificate through
/// a symbolic link (kubelet-client-current.pem), and tokens live for an hour.
/// </summary>
internal static class KubeconfigReader
{
    private const int MaxBytes = 1024 * 1024;

    /// <exception cref="SpecSourceException">It can't be used; says what and where, and nothing of credentials.</exception>
    public static ApiAccess Read(string path)
    {
        var file = new KubeconfigFile(path, ReadRoot(path));
        string contextName = file.Text(file.Root, "current-context") ?? throw file.Fault(file.Root, "current-context is missing");
        YamlMapping context = file.Named("contexts", contextName, "context");
        string clusterName = file.Text(context, "cluster") ?? throw file.Fault(context, "cluster is missing");
        YamlMapping cluster = file.Named("clusters", clusterName, "cluster");
        string? userName = file.Text(context, "user");
        YamlMapping? user = userName is null ? null : file.Named("users", userName, "user");
        if (user is not null)
        {
            RefuseOtherWays(file, user);
        }

        string? certificate = user is null ? null : file.DataOrFile(user, "client-certificate");
        string? key = user is null ? null : file.DataOrFile(user, "client-key");
        if ((certificate is null) != (key is null))
        {
            throw file.Fault(user!, "client-certificate and client-key must be given together");
        }

        Uri address = ReadAddress(file, cluster);
        return new ApiAccess
        {
            Address = address,
            ServingName = file.Text(cluster, "tls-server-name"),
            AuthoritiesPem = file.DataOrFile(cluster, "certificate-authority"),
            SkipsVerification = file.Text(cluster, "insecure-skip-tls-verify") is "true",
            Proxy = ReadProxy(file, cluster),
            CertificatePem = certificate,
            KeyPem = key,
            BearerToken = user is null ? null : ReadToken(file, user),
        };
    }

    /// <summary>A file that holds a token.</summary>
    /// <exception cref="SpecSourceException">It can't be read.</exception>
    public static string ReadTokenFile(string path)
    {
        string token = ReadFile(path).Trim();
        return token.Length > 0 && !token.AsSpan().ContainsAnyExceptInRange('!', '~')
            ? token
            : throw new SpecSourceException($"{path} holds no token");
    }

    /// <summary>A small text file.</summary>
    /// <exception cref="SpecSourceException">It can't be read.</exception>
    public static string ReadFile(string path)
    {
        try
        {
            byte[] content = SmallFile.Read(path, MaxBytes) ?? throw new SpecSourceException($"{path} has more than {MaxBytes} bytes");
            return Encoding.UTF8.GetString(content);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new SpecSourceException($"{path} does not exist");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SecurityException)
        {
            throw new SpecSourceException($"{path} cannot be read");
        }
    }

    private static YamlMapping ReadRoot(string path)
    {
        try
        {
            return YamlTree.Read(ReadFile(path)) as YamlMapping ?? throw new SpecSourceException($"{path} is no kubeconfig");
        }
        catch (YamlFaultException e)
        {
            throw new SpecSourceException($"{path}:{e.Line}: {e.Message}");
        }
    }

    private static void RefuseOtherWays(KubeconfigFile file, YamlMapping user)
    {
        foreach ((YamlScalar key, _) in user.Fields)
        {
            string? reason = key.Text switch
            {
                "exec" => "exec is not supported: crishim runs no credential plugins; use a client certificate, token or tokenFile",
                "auth-provider" => "auth-provider is not supported: use a client certificate, token or tokenFile",
                "username" or "password" => "username and password are not supported: no API server takes them since 1.19",
                "as" or "as-uid" or "as-groups" or "as-user-extra" => $"{key.Text} is not supported: use the credentials of the wanted user",
                _ => null,
            };
            if (reason is not null)
            {
                throw file.Fault(key, reason);
            }
        }
    }

    private static Uri ReadAddress(KubeconfigFile file, YamlMapping cluster)
    {
        string text = file.Text(cluster, "server") ?? throw file.Fault(cluster, "server is missing");
        if (!Uri.TryCreate(text, UriKind.Absolute, out Uri? address)
            || address.UserInfo.Length > 0
            || !(address.Scheme == Uri.UriSchemeHttps || (address.Scheme == Uri.UriSchemeHttp && address.IsLoopback)))
        {
            throw file.Fault(cluster["server"]!, "server must be an https URL (http on loopback only)");
        }

        return address;
    }

    private static Uri? ReadProxy(KubeconfigFile file, YamlMapping cluster)
    {
        if (file.Text(cluster, "proxy-url") is not { } text)
        {
            return null;
        }

        return Uri.TryCreate(text, UriKind.Absolute, out Uri? proxy) && proxy.Scheme is "http" or "https" or "socks5"
            ? proxy
            : throw file.Fault(cluster["proxy-url"]!, "proxy-url must be an http, https or socks5 URL");
    }

    private static string? ReadToken(KubeconfigFile file, YamlMapping user)
    {
        // The file goes first, as with kubectl: it is the one that is kept up to date.
        if (file.Text(user, "tokenFile") is { } path)
        {
            return ReadTokenFile(file.Resolve(path));
        }

        string? token = file.Text(user, "token");
        return token is null || !token.AsSpan().ContainsAnyExceptInRange('!', '~') ? token : throw file.Fault(user["token"]!, "token is no token");
    }

    private sealed class KubeconfigFile(string path, YamlMapping root)
    {
        public YamlMapping Root => root;

        public SpecSourceException Fault(YamlValue place, string reason) => new($"{path}:{place.Line}: {reason}");

        /// <summary>Relative paths are relative to the kubeconfig.</summary>
        public string Resolve(string other) => Path.GetFullPath(other, Path.GetDirectoryName(Path.GetFullPath(path))!);

        /// <summary>A field's text; null when it is missing, null or empty.</summary>
        public string? Text(YamlMapping from, string field) => from[field] switch
        {
            null => null,
            YamlScalar { IsPlain: true, Text: "~" or "null" } => null,
            YamlScalar { Text: "" } => null,
            YamlScalar scalar => scalar.Text,
            { } other => throw Fault(other, $"{field} must be a text"),
        };

        public YamlMapping Named(string list, string name, string field)
        {
            YamlMapping? entry = (root[list] as YamlSequence)?.Items.OfType<YamlMapping>().FirstOrDefault(e => Text(e, "name") == name);
            return entry?[field] as YamlMapping ?? throw Fault((YamlValue?)entry ?? root, $"{list} has no \"{name}\" with a {field}");
        }

        /// <summary>PEM from FIELD-data (base64), which goes first, or from the file FIELD names.</summary>
        public string? DataOrFile(YamlMapping from, string field)
        {
            if (Text(from, field + "-data") is { } data)
            {
                byte[] bytes = new byte[data.Length];
                return Convert.TryFromBase64String(data, bytes, out int length)
                    ? Encoding.UTF8.GetString(bytes.AsSpan(0, length))
                    : throw Fault(from[field + "-data"]!, $"{field}-data must be base64");
            }

            return Text(from, field) is { } file ? ReadFile(Resolve(file)) : null;
        }
    }
}
