using System.Globalization;
using CriShim.Supervision.Sidecars;

namespace CriShim.Node.Probes;

/// <summary>How a probe asks.</summary>
internal abstract record ProbeAction;

/// <summary>A command in the container: exit code 0.</summary>
internal sealed record ExecAction(IReadOnlyList<string> Command) : ProbeAction;

/// <summary>A GET: a status from 200 to 399, as for the kubelet.</summary>
internal sealed record HttpGetAction(int Port, string Path, bool IsHttps, IReadOnlyList<(string Name, string Value)> Headers) : ProbeAction;

/// <summary>A connection that is accepted.</summary>
internal sealed record TcpSocketAction(int Port) : ProbeAction;

/// <summary>gRPC's health service: SERVING.</summary>
internal sealed record GrpcAction(int Port, string Service) : ProbeAction;

/// <summary>A startup probe with the pod spec's own fields and defaults.</summary>
internal sealed record StartupProbe
{
    private const int MaxHeaders = 16;
    private const int MaxText = 1024;
    private const int MaxWords = 64;

    public required ProbeAction Action { get; init; }

    public TimeSpan InitialDelay { get; init; }

    public TimeSpan Period { get; init; } = TimeSpan.FromSeconds(10);

    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>So many in a row, and it has failed.</summary>
    public int FailureThreshold { get; init; } = 3;

    /// <summary>Null, with what is wrong in <paramref name="fault"/>, where it can't be run. That there is one action is known already.</summary>
    public static StartupProbe? Read(AnnotationMap map, out string fault)
    {
        fault = "";
        ProbeAction? action = null;
        foreach ((string key, AnnotationNode node) in map.Entries)
        {
            action = (key, node) switch
            {
                ("exec", AnnotationMap body) => ReadExec(body, ref fault),
                ("httpGet", AnnotationMap body) => ReadHttpGet(body, ref fault),
                ("tcpSocket", AnnotationMap body) => ReadPort(body, ref fault) is { } port ? new TcpSocketAction(port) : null,
                ("grpc", AnnotationMap body) => ReadPort(body, ref fault) is { } port ? new GrpcAction(port, Text(body, "service")) : null,
                _ => action,
            };
        }

        return action is null ? null : new StartupProbe
        {
            Action = action,
            InitialDelay = Seconds(map, "initialDelaySeconds", 0),
            Period = Seconds(map, "periodSeconds", 10),
            Timeout = Seconds(map, "timeoutSeconds", 1),
            FailureThreshold = int.TryParse(Text(map, "failureThreshold"), NumberStyles.None, CultureInfo.InvariantCulture, out int failures) ? failures : 3,
        };
    }

    private static ExecAction? ReadExec(AnnotationMap body, ref string fault)
    {
        if (body.Entries.GetValueOrDefault("command") is AnnotationList { Items: { Count: > 0 and <= MaxWords } items }
            && items.All(item => item is AnnotationScalar { Text.Length: <= MaxText }))
        {
            return new ExecAction([.. items.Select(item => ((AnnotationScalar)item).Text)]);
        }

        fault = $"exec.command must be a list of 1 to {MaxWords} texts";
        return null;
    }

    private static HttpGetAction? ReadHttpGet(AnnotationMap body, ref string fault)
    {
        if (ReadPort(body, ref fault) is not { } port)
        {
            return null;
        }

        string path = Text(body, "path") is { Length: > 0 } given ? given : "/";
        string scheme = Text(body, "scheme");
        if (path[0] != '/' || path.Length > MaxText || path.Any(c => char.IsControl(c) || c > 126))
        {
            fault = "httpGet.path must be a path that starts with /";
            return null;
        }

        if (scheme is not ("" or "HTTP" or "HTTPS"))
        {
            fault = "httpGet.scheme must be HTTP or HTTPS";
            return null;
        }

        var headers = new List<(string, string)>();
        if (body.Entries.GetValueOrDefault("httpHeaders") is AnnotationList list)
        {
            foreach (AnnotationNode item in list.Items.Take(MaxHeaders))
            {
                if (item is not AnnotationMap header || Text(header, "name") is not { Length: > 0 } name
                    || !name.All(c => char.IsAsciiLetterOrDigit(c) || c == '-') || Text(header, "value").Any(char.IsControl))
                {
                    fault = "httpGet.httpHeaders must be a list of objects with name and value";
                    return null;
                }

                headers.Add((name, Text(header, "value")));
            }
        }

        return new HttpGetAction(port, path, scheme == "HTTPS", headers);
    }

    private static int? ReadPort(AnnotationMap body, ref string fault)
    {
        if (body.Entries.GetValueOrDefault("port") is AnnotationScalar { IsQuoted: false, Text: var text }
            && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and <= 65_535)
        {
            return port;
        }

        fault = "port must be a number from 1 to 65535: only the kubelet knows the names of ports";
        return null;
    }

    private static string Text(AnnotationMap map, string key) => (map.Entries.GetValueOrDefault(key) as AnnotationScalar)?.Text ?? "";

    private static TimeSpan Seconds(AnnotationMap map, string key, int byDefault) =>
        TimeSpan.FromSeconds(int.TryParse(Text(map, key), NumberStyles.None, CultureInfo.InvariantCulture, out int value) ? value : byDefault);
}
