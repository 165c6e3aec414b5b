using System.Globalization;
using System.Text.RegularExpressions;

namespace CriShim.Discovery;

/// <summary>One fault of the options.</summary>
/// <param name="Place">Path of the setting, such as <c>apiServer.callTimeout</c>.</param>
/// <param name="Value">What was given.</param>
/// <param name="Rule">What is allowed.</param>
public sealed record DiscoveryOptionFault(string Place, string Value, string Rule)
{
    public override string ToString() => $"{Place}: \"{Value}\": {Rule}";
}

/// <summary>Checks options as a whole, so that an operator sees all faults at once.</summary>
public static partial class DiscoveryOptionsValidator
{
    public static IReadOnlyList<DiscoveryOptionFault> Validate(DiscoveryOptions options)
    {
        var faults = new List<DiscoveryOptionFault>();
        if (options.NodeName is { } node && (node.Length > 253 || !NodeNamePattern().IsMatch(node)))
        {
            faults.Add(new("nodeName", node, "must be a node's name: lower-case letters, digits, hyphens and dots, at most 253"));
        }

        CheckPath(faults, "nodeKubeconfigPath", options.NodeKubeconfigPath);
        if (options.MaxPodsPerSource is < 1 or > 20_000)
        {
            faults.Add(new("maxPodsPerSource", options.MaxPodsPerSource.ToString(CultureInfo.InvariantCulture), "must be from 1 to 20000"));
        }

        if (options.StaticManifests is { } manifests)
        {
            CheckPath(faults, "staticManifests.path", manifests.Path);
            CheckRange(faults, "staticManifests.pollInterval", manifests.PollInterval, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
        }

        if (options.ApiServer is { } api)
        {
            CheckPath(faults, "apiServer.kubeconfigPath", api.KubeconfigPath);
            CheckRange(faults, "apiServer.callTimeout", api.CallTimeout, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
            CheckRange(faults, "apiServer.watchDuration", api.WatchDuration, TimeSpan.FromSeconds(30), TimeSpan.FromHours(1));
            CheckRange(faults, "apiServer.maxRetryDelay", api.MaxRetryDelay, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
        }

        if (options.KubeletPods is { } kubelet)
        {
            CheckKubelet(faults, kubelet);
        }

        return faults;
    }

    private static void CheckKubelet(List<DiscoveryOptionFault> faults, KubeletPodsOptions options)
    {
        const string prefix = "kubeletPods.";
        bool isHttp = options.Address.IsAbsoluteUri && options.Address.Scheme == Uri.UriSchemeHttp;
        if (!options.Address.IsAbsoluteUri
            || !(isHttp || options.Address.Scheme == Uri.UriSchemeHttps)
            || !options.Address.IsLoopback
            || options.Address.UserInfo.Length > 0
            || options.Address.PathAndQuery != "/")
        {
            faults.Add(new(prefix + "address", options.Address.OriginalString,
                "must be http:// or https:// and a host on loopback without a path, such as https://127.0.0.1:10250"));
        }

        CheckRange(faults, prefix + "interval", options.Interval, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
        CheckRange(faults, prefix + "callTimeout", options.CallTimeout, TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(2));
        CheckPath(faults, prefix + "kubeconfigPath", options.KubeconfigPath);
        CheckPath(faults, prefix + "tokenFile", options.TokenFile);
        CheckPath(faults, prefix + "servingAuthorityFile", options.ServingAuthorityFile);
        if (options is { KubeconfigPath: not null, TokenFile: { } token })
        {
            faults.Add(new(prefix + "tokenFile", token, "must not be given together with kubeconfigPath"));
        }

        if (isHttp && (options.KubeconfigPath ?? options.TokenFile) is { } credentials)
        {
            faults.Add(new(prefix + (options.KubeconfigPath is null ? "tokenFile" : "kubeconfigPath"), credentials,
                "must not be given with an http address: credentials are sent over https only"));
        }
    }

    private static void CheckPath(List<DiscoveryOptionFault> faults, string place, string? path)
    {
        if (path is not null && (!path.StartsWith('/') || path.Contains('\0', StringComparison.Ordinal)))
        {
            faults.Add(new(place, path, "must be an absolute path"));
        }
    }

    private static void CheckRange(List<DiscoveryOptionFault> faults, string place, TimeSpan value, TimeSpan min, TimeSpan max)
    {
        if (value < min || value > max)
        {
            faults.Add(new(place, Show(value), $"must be from {Show(min)} to {Show(max)}"));
        }

        static string Show(TimeSpan time) => $"{time.TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture)}s";
    }

    [GeneratedRegex("^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*\\z", RegexOptions.CultureInvariant | RegexOptions.NonBacktracking)]
    private static partial Regex NodeNamePattern();
}
