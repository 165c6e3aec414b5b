using System.Globalization;
using System.Net;
using CriShim.Linux;
using CriShim.Linux.Files;
using CriShim.Node.Logs;
using CriShim.Node.Limits;
using CriShim.Supervision;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;
using Microsoft.Extensions.Logging;

namespace CriShim.Configuration;

/// <summary>
/// Joins defaults, file and flags, in rising order of rank, and checks all of it: every fault is found in one go, those of values that a
/// flag overrides too, since they would come back with the flag's removal.
/// </summary>
internal sealed class ConfigurationLoader
{
    /// <summary>All there is, section by section; "" is the top level.</summary>
    private static readonly Dictionary<string, string[]> Known = new(StringComparer.Ordinal)
    {
        [""] = ["apiVersion", "kind", "listen", "containerd", "admin", "log", "shutdown", "supervision", "discovery", "kubelet", "metrics", "events", "tracing"],
        ["listen"] = ["address", "mode", "group"],
        ["containerd"] = ["address"],
        ["admin"] = ["address"],
        ["log"] = ["format", "level"],
        ["shutdown"] = ["runningCallsGrace"],
        ["supervision"] = ["mode", "stateDirectory", "relistInterval", "restart", "teardown", "logRotation", "podResources"],
        ["supervision.restart"] =
            ["cleanExit", "errorExit", "outOfMemory", "startFailed", "resetAfter", "jitter", "shownRunningFor", "nodeLimit", "giveUp", "annotationBounds"],
        ["supervision.restart.cleanExit"] = ["firstDelay", "initialDelay", "maxDelay"],
        ["supervision.restart.errorExit"] = ["firstDelay", "initialDelay", "maxDelay"],
        ["supervision.restart.outOfMemory"] = ["firstDelay", "initialDelay", "maxDelay"],
        ["supervision.restart.startFailed"] = ["firstDelay", "initialDelay", "maxDelay"],
        ["supervision.restart.nodeLimit"] = ["perSecond", "burst"],
        ["supervision.restart.giveUp"] = ["deaths", "within"],
        ["supervision.restart.annotationBounds"] = ["initialDelay", "maxDelay", "resetAfter"],
        ["supervision.restart.annotationBounds.initialDelay"] = ["least", "most"],
        ["supervision.restart.annotationBounds.maxDelay"] = ["least", "most"],
        ["supervision.restart.annotationBounds.resetAfter"] = ["least", "most"],
        ["supervision.teardown"] = ["maxGrace", "sidecarFloor", "unprovenHold", "notHeldUpTo", "impatientBelow", "impatientTotal", "gateLimit"],
        ["supervision.logRotation"] = ["maxSize", "maxFiles", "interval"],
        ["discovery"] = ["nodeName", "kubeconfig", "podManifests", "kubeletPods"],
        ["events"] = ["kubernetes"],
        ["tracing"] = ["endpoint"],
        ["metrics"] = ["address", "allowRemote"],
        ["kubelet"] = ["rootDirectory", "podLogsDirectory", "containerLogsDirectory"],
    };

    private readonly List<ConfigurationError> _errors = [];
    private readonly List<EffectiveSetting> _effective = [];
    private readonly HashSet<string> _faulty = new(StringComparer.Ordinal);
    private readonly Dictionary<string, YamlText> _fromFile = new(StringComparer.Ordinal);

    private ConfigurationLoader()
    {
    }

    /// <param name="flags">Override what the file says.</param>
    /// <param name="defaultFile">Read when the flags name no file; may be absent.</param>
    public static LoadedConfiguration Load(ServeFlags flags, string defaultFile = CriShimConfiguration.DefaultFile) =>
        new ConfigurationLoader().LoadAll(flags, defaultFile);

    private LoadedConfiguration LoadAll(ServeFlags flags, string defaultFile)
    {
        string? file = flags.Config ?? (Path.Exists(defaultFile) ? defaultFile : null);
        if (file is { Length: 0 })
        {
            _errors.Add(new ConfigurationError(ServeFlags.ConfigName, null, "", "must be the path of a file"));
        }
        else if (file is not null)
        {
            ReadFile(file);
        }

        _ = Take("apiVersion", null, null, CriShimConfiguration.ApiVersion, SettingRules.Exactly(CriShimConfiguration.ApiVersion));
        _ = Take("kind", null, null, CriShimConfiguration.Kind, SettingRules.Exactly(CriShimConfiguration.Kind));
        string listen = Take<string>("listen.address", ServeFlags.ListenName, flags.Listen, "unix:///run/crishim/crishim.sock", SettingRules.SocketAddress);
        UnixFileMode mode = Take<UnixFileMode>("listen.mode", null, null, "0660", SettingRules.SocketMode);
        string ownGroup = UnixGroup.Current.ToString(CultureInfo.InvariantCulture);
        SocketGroup group = Take<SocketGroup>("listen.group", null, null, ownGroup, SettingRules.Group);
        string containerd = Take<string>(
            "containerd.address", ServeFlags.ContainerdName, flags.Containerd, "unix:///run/containerd/containerd.sock", SettingRules.SocketAddress);
        string? admin = Take<string?>(
            "admin.address", ServeFlags.AdminName, flags.Admin, AdminConfiguration.DefaultAddress, SettingRules.OptionalSocketAddress);
        LogFormat format = Take<LogFormat>("log.format", ServeFlags.LogFormatName, flags.LogFormat, "console", SettingRules.Format);
        LogLevel level = Take<LogLevel>("log.level", ServeFlags.LogLevelName, flags.LogLevel, "info", SettingRules.Level);
        TimeSpan grace = Take<TimeSpan>("shutdown.runningCallsGrace", null, null, "10s", SettingRules.RunningCallsGrace);
        SupervisionMode supervise = Take<SupervisionMode>("supervision.mode", ServeFlags.SuperviseName, flags.Supervise, "on", SettingRules.Mode);
        string stateDirectory = Take<string>(
            "supervision.stateDirectory", ServeFlags.StateDirectoryName, flags.StateDirectory, "/run/crishim/state", SettingRules.AbsolutePath);
        TimeSpan relist = TakeDuration("supervision.relistInterval", TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10));
        RestartOptions restart = TakeRestart();
        TeardownOptions teardown = TakeTeardown();
        LogRotationOptions logRotation = TakeLogRotation();
        PodResourcesMode podResources =
            Take<PodResourcesMode>("supervision.podResources", null, null, "leave", SettingRules.PodResources);
        string? nodeName = Take<string?>("discovery.nodeName", ServeFlags.NodeNameName, flags.NodeName, "auto", SettingRules.NodeName);
        string? kubeconfig = Take<string?>(
            "discovery.kubeconfig", ServeFlags.KubeconfigName, flags.Kubeconfig, "auto", SettingRules.OptionalPath("/etc/kubernetes/kubelet.conf"));
        string? podManifests = Take<string?>(
            "discovery.podManifests", ServeFlags.PodManifestsName, flags.PodManifests, "auto", SettingRules.OptionalPath("/etc/kubernetes/manifests"));
        Uri? kubeletPods = Take<Uri?>("discovery.kubeletPods", null, null, "off", SettingRules.KubeletAddress);
        var files = new ContainerFileRoots();
        string kubeletRoot = Take<string>("kubelet.rootDirectory", null, null, Path.GetDirectoryName(files.KubeletPods)!, SettingRules.AbsolutePath);
        string podLogs = Take<string>("kubelet.podLogsDirectory", null, null, files.PodLogs, SettingRules.AbsolutePath);
        string containerLogs = Take<string>("kubelet.containerLogsDirectory", null, null, files.ContainerLogs, SettingRules.AbsolutePath);
        MetricsConfiguration metrics = TakeMetrics(flags.Metrics);
        Uri? traces = Take<Uri?>("tracing.endpoint", null, null, "off", SettingRules.HttpAddress);
        bool writesEvents = Take<bool>("events.kubernetes", null, null, "on", SettingRules.OnOrOff);
        CheckSocketsDiffer("listen.address", listen, "containerd.address", containerd, "calls would go round in a circle");
        CheckSocketsDiffer("listen.address", listen, "admin.address", admin, "the kubelet's calls and crishim's own need a socket each");
        CheckSocketsDiffer("containerd.address", containerd, "admin.address", admin, "crishim would take containerd's place");

        return new LoadedConfiguration
        {
            File = file,
            Errors = [.. _errors.OrderBy(e => e.Position)],
            Effective = _effective,
            Configuration = _errors.Count > 0 ? null : new CriShimConfiguration
            {
                Listen = new ListenConfiguration { SocketPath = listen, Mode = mode, Group = group },
                Containerd = new ContainerdConfiguration { SocketPath = containerd },
                Admin = new AdminConfiguration { SocketPath = admin },
                Log = new LogConfiguration { Format = format, Level = level },
                Shutdown = new ShutdownConfiguration { RunningCallsGrace = grace },
                Supervision = new SupervisionConfiguration
                {
                    Mode = supervise, StateDirectory = stateDirectory, RelistInterval = relist, Restart = restart, Teardown = teardown,
                    LogRotation = logRotation, PodResources = podResources,
                },
                Discovery = new DiscoveryConfiguration
                {
                    NodeName = nodeName, Kubeconfig = kubeconfig, PodManifests = podManifests, KubeletPods = kubeletPods,
                },
                Metrics = metrics,
                Tracing = new TracingConfiguration { Endpoint = traces },
                Events = new EventsConfiguration { WritesKubernetesEvents = writesEvents },
                ContainerFiles = files with { PodLogs = podLogs, ContainerLogs = containerLogs, KubeletPods = Path.Combine(kubeletRoot, "pods") },
            },
        };
    }

    private RestartOptions TakeRestart()
    {
        const string place = "supervision.restart";
        var defaults = new RestartOptions();
        int deaths = Take($"{place}.giveUp.deaths", null, null, "0", SettingRules.WholeNumber(0, 10_000));
        TimeSpan within = TakeDuration($"{place}.giveUp.within", new GiveUpOptions().Within, TimeSpan.FromSeconds(1), TimeSpan.FromHours(24));
        var restart = new RestartOptions
        {
            CleanExit = TakeSteps($"{place}.cleanExit", defaults.CleanExit),
            ErrorExit = TakeSteps($"{place}.errorExit", defaults.ErrorExit),
            OutOfMemory = TakeSteps($"{place}.outOfMemory", defaults.OutOfMemory),
            StartFailed = TakeSteps($"{place}.startFailed", defaults.StartFailed),
            ResetAfter = TakeDuration($"{place}.resetAfter", defaults.ResetAfter, TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)),
            Jitter = Take($"{place}.jitter", null, null, Text(defaults.Jitter), SettingRules.Number(0, 1)),
            ShownRunningFor = TakeDuration($"{place}.shownRunningFor", defaults.ShownRunningFor, TimeSpan.Zero, TimeSpan.FromSeconds(10)),
            NodeLimit = new NodeLimitOptions
            {
                PerSecond = Take($"{place}.nodeLimit.perSecond", null, null, Text(defaults.NodeLimit.PerSecond), SettingRules.Number(0.1, 1000)),
                Burst = Take($"{place}.nodeLimit.burst", null, null, Text(defaults.NodeLimit.Burst), SettingRules.WholeNumber(1, 10_000)),
            },
            GiveUp = deaths == 0 ? null : new GiveUpOptions { Deaths = deaths, Within = within },
            Bounds = new AnnotationBounds
            {
                InitialDelay = TakeBounds($"{place}.annotationBounds.initialDelay", defaults.Bounds.InitialDelay),
                MaxDelay = TakeBounds($"{place}.annotationBounds.maxDelay", defaults.Bounds.MaxDelay),
                ResetAfter = TakeBounds($"{place}.annotationBounds.resetAfter", defaults.Bounds.ResetAfter),
            },
        };

        // What holds between settings.
        foreach (SettingError error in RestartOptionsValidator.Validate(restart, place))
        {
            if (!_faulty.Contains(error.Place) && !_faulty.Any(path => path.StartsWith(error.Place + ".", StringComparison.Ordinal)))
            {
                EffectiveSetting? setting = _effective.Find(s => s.Path == error.Place);
                _errors.Add(new ConfigurationError(setting?.Origin ?? error.Place, error.Place, error.Value, error.Allowed));
            }
        }

        return restart;
    }

    private MetricsConfiguration TakeMetrics(string? flag)
    {
        const string place = "metrics.address";
        IPEndPoint? address = Take<IPEndPoint?>(place, ServeFlags.MetricsName, flag, MetricsConfiguration.DefaultAddress, SettingRules.TcpAddress);
        bool allowRemote = Take<bool>("metrics.allowRemote", null, null, "false", SettingRules.YesOrNo);
        if (address is not null && !allowRemote && !IPAddress.IsLoopback(address.Address) && !_faulty.Contains(place))
        {
            EffectiveSetting given = _effective.Find(s => s.Path == place)!;
            _errors.Add(new ConfigurationError(
                given.Origin, given.Origin == ServeFlags.MetricsName ? null : place, given.Text,
                "must be a loopback address, such as 127.0.0.1:9653, unless metrics.allowRemote is true: names of pods and containers are read there"));
        }

        return new MetricsConfiguration { Address = address, AllowsRemote = allowRemote };
    }

    private TeardownOptions TakeTeardown()
    {
        const string place = "supervision.teardown";
        var defaults = new TeardownOptions();
        TimeSpan second = TimeSpan.FromSeconds(1);
        TimeSpan minute = TimeSpan.FromMinutes(1);
        return new TeardownOptions
        {
            MaxGrace = TakeDuration($"{place}.maxGrace", defaults.MaxGrace, second, TimeSpan.FromHours(24)),
            SidecarFloor = TakeDuration($"{place}.sidecarFloor", defaults.SidecarFloor, TimeSpan.Zero, minute),
            UnprovenHold = TakeDuration($"{place}.unprovenHold", defaults.UnprovenHold, TimeSpan.Zero, TimeSpan.FromSeconds(5)),
            NotHeldUpTo = TakeDuration($"{place}.notHeldUpTo", defaults.NotHeldUpTo, TimeSpan.Zero, minute),
            ImpatientBelow = TakeDuration($"{place}.impatientBelow", defaults.ImpatientBelow, TimeSpan.Zero, minute),
            ImpatientTotal = TakeDuration($"{place}.impatientTotal", defaults.ImpatientTotal, second, minute),
            GateLimit = TakeDuration($"{place}.gateLimit", defaults.GateLimit, TimeSpan.Zero, minute),
        };
    }

    private LogRotationOptions TakeLogRotation()
    {
        const string place = "supervision.logRotation";
        var defaults = new LogRotationOptions();
        return new LogRotationOptions
        {
            MaxSize = Take($"{place}.maxSize", null, null, "10Mi", SettingRules.Bytes("16Ki", "1Ti")),
            // As the kubelet has it: the one that is written, and at least one before it.
            MaxFiles = Take($"{place}.maxFiles", null, null, Text(defaults.MaxFiles), SettingRules.WholeNumber(2, 1000)),
            Interval = TakeDuration($"{place}.interval", defaults.Interval, TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)),
        };
    }

    private BackoffSteps TakeSteps(string path, BackoffSteps defaults) => new()
    {
        FirstDelay = TakeDuration($"{path}.firstDelay", defaults.FirstDelay, TimeSpan.Zero, TimeSpan.FromHours(1)),
        InitialDelay = TakeDuration($"{path}.initialDelay", defaults.InitialDelay, TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(1)),
        MaxDelay = TakeDuration($"{path}.maxDelay", defaults.MaxDelay, TimeSpan.FromMilliseconds(1), TimeSpan.FromHours(1)),
    };

    private DurationBounds TakeBounds(string path, DurationBounds defaults) => new(
        TakeDuration($"{path}.least", defaults.Least, TimeSpan.Zero, TimeSpan.FromHours(1)),
        TakeDuration($"{path}.most", defaults.Most, TimeSpan.Zero, TimeSpan.FromHours(1)));

    private TimeSpan TakeDuration(string path, TimeSpan byDefault, TimeSpan least, TimeSpan most) =>
        Take(path, null, null, GoDuration.Format(byDefault), SettingRules.Duration(least, most));

    private static string Text(IFormattable number) => number.ToString(null, CultureInfo.InvariantCulture);

    private void ReadFile(string file)
    {
        switch (YamlFile.Read(file, _errors))
        {
            case null or YamlFault:
                return;
            case YamlMap map:
                ReadSection("", map);
                return;
            case YamlNode node:
                _errors.Add(ConfigurationError.At(node.Place, null, (node as YamlText)?.Value, $"must be a map with the keys {ListOf("")}"));
                return;
        }
    }

    private void ReadSection(string section, YamlMap map)
    {
        foreach (YamlEntry entry in map.Entries)
        {
            string path = section.Length == 0 ? entry.Key : $"{section}.{entry.Key}";
            if (!Known[section].Contains(entry.Key))
            {
                _errors.Add(ConfigurationError.At(
                    entry.Place, ConfigurationError.PathOf(section, entry.Key), null, $"is unknown; must be {Spelling.OneOf(Known[section], entry.Key)}"));
            }
            else if (Known.ContainsKey(path))
            {
                // "listen:" with nothing behind it says nothing, as in Kubernetes' own files.
                if (entry.Value is YamlMap inner)
                {
                    ReadSection(path, inner);
                }
                else if (entry.Value is not (YamlFault or YamlText { IsNull: true }))
                {
                    _errors.Add(ConfigurationError.At(
                        entry.Value.Place, path, (entry.Value as YamlText)?.Value, $"must be a map with the keys {ListOf(path)}"));
                }
            }
            else if (entry.Value is YamlText { IsNull: false } text)
            {
                _fromFile.Add(path, text);
            }
            else if (entry.Value is not YamlFault)
            {
                string what = entry.Value switch { YamlMap => "a map", YamlList => "a list", _ => "nothing" };
                _errors.Add(ConfigurationError.At(entry.Value.Place, path, null, $"must be a single value, not {what}"));
            }
        }
    }

    /// <returns>The value of highest rank; where it is faulty, the default, to have something to go on with.</returns>
    private T Take<T>(string path, string? flagName, string? flag, string defaultText, SettingRules.Rule<T> rule)
    {
        if (!rule(defaultText, out T value, out string fault))
        {
            throw new InvalidOperationException($"the default of {path} breaks its own rule: {fault}");
        }

        var effective = new EffectiveSetting(path, defaultText, "default");
        if (_fromFile.TryGetValue(path, out YamlText? text))
        {
            if (rule(text.Value, out T fromFile, out fault))
            {
                value = fromFile;
                effective = new EffectiveSetting(path, text.Value, text.Place.ToString());
            }
            else
            {
                _ = _faulty.Add(path);
                _errors.Add(ConfigurationError.At(text.Place, path, text.Value, fault));
            }
        }

        if (flag is not null)
        {
            if (rule(flag, out T fromFlag, out fault))
            {
                value = fromFlag;
                effective = new EffectiveSetting(path, flag, flagName!);
            }
            else
            {
                _ = _faulty.Add(path);
                _errors.Add(new ConfigurationError(flagName!, null, flag, fault));
            }
        }

        _effective.Add(effective);
        return value;
    }

    /// <summary>A crishim that is its own backend, say, would forward its first call to itself for ever.</summary>
    private void CheckSocketsDiffer(string otherPath, string otherSocket, string path, string? socket, string reason)
    {
        if (socket is null || _faulty.Overlaps([path, otherPath]) || !UnixSocketPath.AreSame(otherSocket, socket))
        {
            return;
        }

        EffectiveSetting given = _effective.Find(s => s.Path == path)!;
        EffectiveSetting other = _effective.Find(s => s.Path == otherPath)!;
        // Defaults differ, so that at least one of the two has a place; blame that one.
        (EffectiveSetting blamed, EffectiveSetting kept) = given.IsDefault ? (other, given) : (given, other);
        _errors.Add(new ConfigurationError(
            blamed.Origin,
            blamed.Origin.StartsWith("--", StringComparison.Ordinal) ? null : blamed.Path,
            blamed.Text,
            $"must differ from {kept.Path}, which is the same socket ({kept.Origin}): {reason}"));
    }

    private static string ListOf(string section) => string.Join(", ", Known[section]);
}
