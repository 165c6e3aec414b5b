using System.Text;
using CriShim.Configuration;
using CriShim.Node.Logs;
using CriShim.Node.Limits;
using Microsoft.Extensions.Logging;

namespace CriShim.Tests.Configuration;

public sealed class ConfigurationLoaderTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private string ConfigFile => _directory.File("c.yaml");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Load_NeitherFileNorFlags_GivesDefaults()
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags(), _directory.File("absent.yaml"));

        Assert.Empty(loaded.Errors);
        Assert.Null(loaded.File);
        CriShimConfiguration configuration = loaded.Configuration!;
        Assert.Equal("/run/crishim/crishim.sock", configuration.Listen.SocketPath);
        Assert.Equal(Convert.ToInt32("0660", 8), (int)configuration.Listen.Mode);
        Assert.Equal(CriShim.Linux.UnixGroup.Current, configuration.Listen.Group.Id);
        Assert.Equal("/run/containerd/containerd.sock", configuration.Containerd.SocketPath);
        Assert.Equal(LogFormat.Console, configuration.Log.Format);
        Assert.Equal(LogLevel.Information, configuration.Log.Level);
        Assert.Equal(TimeSpan.FromSeconds(10), configuration.Shutdown.RunningCallsGrace);
        Assert.Equal("/var/lib/kubelet/pods", configuration.ContainerFiles.KubeletPods);
        Assert.Equal("/var/log/containers", configuration.ContainerFiles.ContainerLogs);
    }

    [Fact]
    public void Load_FullFile_GivesAllOfIt()
    {
        CriShimConfiguration configuration = Valid("""
            apiVersion: crishim.io/v1alpha1
            kind: CriShimConfiguration
            listen:
              address: unix:///run/a.sock
              mode: 0600
              group: tty
            containerd:
              address: /run/b.sock
            log:
              format: json
              level: warn
            shutdown:
              runningCallsGrace: 1m30s
            kubelet:
              rootDirectory: /srv/kubelet/
              podLogsDirectory: /srv/logs
              containerLogsDirectory: /srv/containers
            """);

        Assert.Equal("/run/a.sock", configuration.Listen.SocketPath);
        Assert.Equal(Convert.ToInt32("0600", 8), (int)configuration.Listen.Mode);
        Assert.Equal(new SocketGroup("tty", 5), configuration.Listen.Group);
        Assert.Equal("/run/b.sock", configuration.Containerd.SocketPath);
        Assert.Equal(LogFormat.Json, configuration.Log.Format);
        Assert.Equal(LogLevel.Warning, configuration.Log.Level);
        Assert.Equal(TimeSpan.FromSeconds(90), configuration.Shutdown.RunningCallsGrace);
        Assert.Equal("/srv/kubelet/pods", configuration.ContainerFiles.KubeletPods);
        Assert.Equal("/srv/logs", configuration.ContainerFiles.PodLogs);
        Assert.Equal("/srv/containers", configuration.ContainerFiles.ContainerLogs);
    }

    [Fact]
    public void Load_LogRotationAndPodResources_AreTheKubeletsDefaultsAndWhatIsGiven()
    {
        SupervisionConfiguration byDefault = Valid("").Supervision;
        Assert.Equal(new LogRotationOptions { MaxSize = 10 << 20, MaxFiles = 5, Interval = TimeSpan.FromSeconds(10) }, byDefault.LogRotation);
        Assert.Equal(PodResourcesMode.Leave, byDefault.PodResources);

        SupervisionConfiguration given = Valid("supervision: {logRotation: {maxSize: 1.5Mi, maxFiles: 3, interval: 1m}, podResources: raise}").Supervision;
        Assert.Equal(new LogRotationOptions { MaxSize = 3 << 19, MaxFiles = 3, Interval = TimeSpan.FromMinutes(1) }, given.LogRotation);
        Assert.Equal(PodResourcesMode.Raise, given.PodResources);
    }

    /// <summary>YamlDotNet throws something else than its own exceptions here.</summary>
    [Fact]
    public void Load_TextThatTheParserStumblesOver_IsAnError()
    {
        File.WriteAllText(ConfigFile, "supervision: {restart: {e\nrorExit: {maxDelay: 10s}}}\n");

        Assert.Contains("is no valid YAML", Assert.Single(ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }, ConfigFile).Errors).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_KeyWithTerminalEscapes_IsShownAsText()
    {
        File.WriteAllText(ConfigFile, "\"a\\e[2J\\nb\": 1\n");

        string error = Assert.Single(ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }, ConfigFile).Errors).ToString();

        Assert.Contains(""" "a\u001b[2J\nb": is unknown""", error, StringComparison.Ordinal);
    }

    /// <summary>Also where the YAML itself is at fault there.</summary>
    [Fact]
    public void Load_AliasBelowAKeyWithControlCharacters_IsShownAsText()
    {
        File.WriteAllText(ConfigFile, "\"<\\u0085\": *a\n");

        // The key itself is at fault, too.
        string error = Assert.Single(
            ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }, ConfigFile).Errors,
            fault => fault.Rule.StartsWith("must not be an alias", StringComparison.Ordinal)).ToString();

        Assert.EndsWith(""" "<\u0085": "*a": must not be an alias: write the value itself""", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("# only a comment\n")]
    [InlineData("---\n")]
    [InlineData("{}")]
    [InlineData("listen:\nlog:\n")]
    [InlineData("\uFEFFlog: {level: info}")]
    [InlineData("{\"log\": {\"level\": \"info\"}}")] // JSON is YAML.
    public void Load_FileThatSaysLittle_GivesDefaultsForTheRest(string yaml) =>
        Assert.Equal("/run/crishim/crishim.sock", Valid(yaml).Listen.SocketPath);

    [Fact]
    public void Load_FlagsAndFile_FlagsWin()
    {
        Write("listen: {address: /run/file.sock}\nlog: {level: error, format: json}");

        LoadedConfiguration loaded = ConfigurationLoader.Load(
            new ServeFlags { Config = ConfigFile, Listen = "/run/flag.sock", Containerd = "unix:///run/c.sock", LogLevel = "debug" });

        Assert.Equal("/run/flag.sock", loaded.Configuration!.Listen.SocketPath);
        Assert.Equal("/run/c.sock", loaded.Configuration.Containerd.SocketPath);
        Assert.Equal(LogLevel.Debug, loaded.Configuration.Log.Level);
        Assert.Equal(LogFormat.Json, loaded.Configuration.Log.Format);
    }

    [Fact]
    public void Load_DefaultFileExists_IsRead()
    {
        Write("log: {level: error}");

        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags(), ConfigFile);

        Assert.Equal(ConfigFile, loaded.File);
        Assert.Equal(LogLevel.Error, loaded.Configuration!.Log.Level);
    }

    // Place, setting, value and what is allowed: line by line.
    [Theory]
    [InlineData("apiVersion: v1", "1:13: apiVersion: \"v1\": must be crishim.io/v1alpha1")]
    [InlineData("kind: KubeletConfiguration", "1:7: kind: \"KubeletConfiguration\": must be CriShimConfiguration")]
    [InlineData("a: 1", "1:1: a: is unknown; must be one of apiVersion, kind, listen, containerd, admin, log, shutdown, supervision, discovery, kubelet, metrics, events or tracing")]
    [InlineData("Listen: {}", "1:1: Listen: is unknown; must be one of apiVersion, kind, listen, containerd, admin, log, shutdown, supervision, discovery, kubelet, metrics, events or tracing; did you mean listen?")]
    [InlineData("log:\n  lvl: info", "2:3: log.lvl: is unknown; must be one of format or level")]
    [InlineData("log:\n  levle: info", "2:3: log.levle: is unknown; must be one of format or level; did you mean level?")]
    [InlineData("containerd:\n  socket: /a", "2:3: containerd.socket: is unknown; must be address")]
    [InlineData("listen: /run/a.sock", "1:9: listen: \"/run/a.sock\": must be a map with the keys address, mode, group")]
    [InlineData("listen:\n- a", "2:1: listen: must be a map with the keys address, mode, group")]
    [InlineData("hello", "1:1: \"hello\": must be a map with the keys apiVersion, kind, listen, containerd, admin, log, shutdown, supervision, discovery, kubelet, metrics, events, tracing")]
    [InlineData("[a, b]", "1:1: must be a map with the keys apiVersion, kind, listen, containerd, admin, log, shutdown, supervision, discovery, kubelet, metrics, events, tracing")]
    [InlineData("log: {level: }", "1:14: log.level: must be a single value, not nothing")]
    [InlineData("log: {level: ~}", "1:14: log.level: must be a single value, not nothing")]
    [InlineData("log: {level: [info]}", "1:14: log.level: must be a single value, not a list")]
    [InlineData("log: {level: {a: b}}", "1:14: log.level: must be a single value, not a map")]
    [InlineData("log: {level: ''}", "1:14: log.level: \"\": must be one of trace, debug, info, warn or error")]
    [InlineData("log: {level: INFO}", "1:14: log.level: \"INFO\": must be one of trace, debug, info, warn or error; did you mean info?")]
    [InlineData("log: {format: yes}", "1:15: log.format: \"yes\": must be one of console or json")]
    [InlineData("log: {level: info, level: warn}", "1:20: log.level: must be given once; it is already in line 1")]
    [InlineData("log: {}\nlog: {}", "2:1: log: must be given once; it is already in line 1")]
    [InlineData("log: {? [a] : b}", "1:9: log: must have simple keys")]
    [InlineData("log: &x {}", "1:6: log: \"&x\": must not have an anchor")]
    [InlineData("log: !!map {}", "1:6: log: \"tag:yaml.org,2002:map\": must not have a tag")]
    [InlineData("log: {}\n---\nlog: {}", "2:1: must be the only document of the file")]
    [InlineData("listen: {address: run/a.sock}", "1:19: listen.address: \"run/a.sock\": must be unix:// and an absolute path (unix:///run/...), or an absolute path")]
    [InlineData("listen: {address: 'unix://run/a.sock'}", "1:19: listen.address: \"unix://run/a.sock\": must be unix:// and an absolute path (unix:///run/...), or an absolute path")]
    [InlineData("listen: {address: 'tcp://1.2.3.4:5'}", "1:19: listen.address: \"tcp://1.2.3.4:5\": must be unix:// and an absolute path (unix:///run/...), or an absolute path")]
    [InlineData("listen: {address: /run/}", "1:19: listen.address: \"/run/\": must be the path of a socket, not of a directory")]
    [InlineData("listen: {mode: 660}", "1:16: listen.mode: \"660\": must be four octal digits that start with 0, such as \"0660\"")]
    [InlineData("listen: {mode: '0680'}", "1:16: listen.mode: \"0680\": must be four octal digits that start with 0, such as \"0660\"")]
    [InlineData("listen: {mode: '4660'}", "1:16: listen.mode: \"4660\": must be four octal digits that start with 0, such as \"0660\"")]
    [InlineData("listen: {mode: '0666'}", "1:16: listen.mode: \"0666\": must not give anything to others (the last digit must be 0): whoever can connect can become root on the node")]
    [InlineData("listen: {mode: '0060'}", "1:16: listen.mode: \"0060\": must let the owner read and write (the second digit must be 6 or 7)")]
    [InlineData("listen: {group: no-such-group}", "1:17: listen.group: \"no-such-group\": must be the name of a group that exists on this node, or a group id")]
    [InlineData("shutdown: {runningCallsGrace: 10}", "1:31: shutdown.runningCallsGrace: \"10\": must be a duration such as 10s, 500ms or 1m30s, from 0s to 10m0s")]
    [InlineData("shutdown: {runningCallsGrace: -1s}", "1:31: shutdown.runningCallsGrace: \"-1s\": must be a duration such as 10s, 500ms or 1m30s, from 0s to 10m0s")]
    [InlineData("shutdown: {runningCallsGrace: 11m}", "1:31: shutdown.runningCallsGrace: \"11m\": must be a duration such as 10s, 500ms or 1m30s, from 0s to 10m0s")]
    [InlineData("supervision: {podResources: sum}", "1:29: supervision.podResources: \"sum\": must be one of leave or raise")]
    [InlineData("supervision: {logRotation: {maxSize: 10MB}}", "1:38: supervision.logRotation.maxSize: \"10MB\": must be a size such as 500Ki, 10Mi or 1Gi, from 16Ki to 1Ti")]
    [InlineData("supervision: {logRotation: {maxSize: 1Ki}}", "1:38: supervision.logRotation.maxSize: \"1Ki\": must be a size such as 500Ki, 10Mi or 1Gi, from 16Ki to 1Ti")]
    [InlineData("supervision: {logRotation: {maxFiles: 1}}", "1:39: supervision.logRotation.maxFiles: \"1\": must be a whole number from 2 to 1000")]
    [InlineData("log: {level: \"a\\nb\\e[31m\"}", "1:14: log.level: \"a\\nb\\u001b[31m\": must be one of trace, debug, info, warn or error")]
    public void Load_FaultyFile_SaysPlaceSettingValueAndRule(string yaml, string error)
    {
        LoadedConfiguration loaded = Load(yaml);

        Assert.Null(loaded.Configuration);
        Assert.Equal($"{ConfigFile}:{error}", Assert.Single(loaded.Errors).ToString());
    }

    [Fact]
    public void Load_ManyFaultsInFileAndFlags_SaysAllInOrder()
    {
        Write("""
            kind: Pod
            listen:
              mode: 777
              adress: /run/x
            log:
              level: loud
            """);

        LoadedConfiguration loaded = ConfigurationLoader.Load(
            new ServeFlags { Config = ConfigFile, Listen = "x", Containerd = "", LogFormat = "xml", LogLevel = "quiet" });

        Assert.Null(loaded.Configuration);
        Assert.Equal(
            [
                $"{ConfigFile}:1:7", $"{ConfigFile}:3:9", $"{ConfigFile}:4:3", $"{ConfigFile}:6:10",
                "--listen", "--containerd", "--log-format", "--log-level",
            ],
            loaded.Errors.Select(e => e.Place));
    }

    [Fact]
    public void Load_FaultyFlag_SaysFlagValueAndRule()
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { LogLevel = "inof" }, _directory.File("absent.yaml"));

        Assert.Equal(
            "--log-level: \"inof\": must be one of trace, debug, info, warn or error; did you mean info?", Assert.Single(loaded.Errors).ToString());
    }

    [Fact]
    public void Load_FlagOverFaultyValue_StillSaysTheFault()
    {
        Write("log: {level: loud}");

        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile, LogLevel = "info" });

        Assert.Equal($"{ConfigFile}:1:14", Assert.Single(loaded.Errors).Place);
    }

    [Fact]
    public void Load_AliasBomb_IsRefusedWithoutBeingExpanded()
    {
        var yaml = new StringBuilder("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for (int i = 1; i < 50; i++)
        {
            yaml.Append(System.Globalization.CultureInfo.InvariantCulture, $"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n");
        }

        LoadedConfiguration loaded = Load(yaml.ToString());

        Assert.Null(loaded.Configuration);
        Assert.Contains(loaded.Errors, e => e.Rule.StartsWith("must not be an alias", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("[", "]")]
    [InlineData("{a: ", "}")]
    public void Load_NestedWithoutEnd_IsRefused(string open, string close)
    {
        string yaml = string.Concat(Enumerable.Repeat(open, 10_000)) + string.Concat(Enumerable.Repeat(close, 10_000));

        Assert.Contains("nests deeper than 16 levels", Assert.Single(Load(yaml).Errors).Rule, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("log: {level: info")]
    [InlineData("log: \"open")]
    [InlineData("a: b: c")]
    [InlineData("log: *nowhere")]
    [InlineData("log: 'a\u0000b'")]
    public void Load_NoYaml_IsOneErrorWithItsPlace(string yaml)
    {
        ConfigurationError error = Assert.Single(Load(yaml).Errors);

        Assert.Matches(@"^.+c\.yaml:\d+:\d+$", error.Place);
    }

    [Fact]
    public void Load_FileOfOneMebibyte_IsRead()
    {
        Write("#" + new string('x', YamlFile.MaxBytes - 1));

        Assert.Empty(ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }).Errors);
    }

    [Fact]
    public void Load_FileBeyondOneMebibyte_IsRefused()
    {
        Write("#" + new string('x', YamlFile.MaxBytes));

        AssertOnlyError("must have at most 1 MiB");
    }

    [Fact]
    public void Load_EndlessFile_IsRefused()
    {
        File.CreateSymbolicLink(ConfigFile, "/dev/zero");

        AssertOnlyError("must have at most 1 MiB");
    }

    [Fact]
    public void Load_NotUtf8_IsRefused()
    {
        File.WriteAllBytes(ConfigFile, [0xff, 0xfe, 0x00]);

        AssertOnlyError("must be UTF-8 text");
    }

    [Fact]
    public void Load_NamedFileIsMissing_IsRefused() => AssertOnlyError("does not exist");

    [Fact]
    public void Load_NamedFileIsADirectory_IsRefused()
    {
        Directory.CreateDirectory(ConfigFile);

        AssertOnlyError("is a directory");
    }

    [Fact]
    public void Load_MissingFileAndFaultyFlag_SaysBoth()
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile, LogLevel = "x" });

        Assert.Equal([ConfigFile, "--log-level"], loaded.Errors.Select(e => e.Place));
    }

    [Fact]
    public void Load_ListenIsContainerdsSocket_BlamesWhatWasGiven()
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(
            new ServeFlags { Listen = "/run/../run/containerd/containerd.sock" }, _directory.File("absent.yaml"));

        ConfigurationError error = Assert.Single(loaded.Errors);
        Assert.Equal("--listen", error.Place);
        Assert.Contains("calls would go round in a circle", error.Rule, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_SameSocketTwiceInFile_SaysWhereBothAre()
    {
        LoadedConfiguration loaded = Load("listen:\n  address: /run/x.sock\ncontainerd:\n  address: unix:///run/x.sock");

        Assert.Equal(
            $"{ConfigFile}:4:12: containerd.address: \"unix:///run/x.sock\": must differ from listen.address, which is the same socket "
            + $"({ConfigFile}:2:12): calls would go round in a circle",
            Assert.Single(loaded.Errors).ToString());
    }

    [Fact]
    public void Load_AdminIsTheCallersSocket_IsRefused()
    {
        LoadedConfiguration loaded = Load("listen:\n  address: /run/x.sock\nadmin:\n  address: unix:///run/x.sock");

        Assert.Equal(
            $"{ConfigFile}:4:12: admin.address: \"unix:///run/x.sock\": must differ from listen.address, which is the same socket "
            + $"({ConfigFile}:2:12): the kubelet's calls and crishim's own need a socket each",
            Assert.Single(loaded.Errors).ToString());
    }

    [Fact]
    public void Load_AdminIsContainerdsSocket_IsRefused()
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Admin = "/run/containerd/containerd.sock" }, _directory.File("absent.yaml"));

        ConfigurationError error = Assert.Single(loaded.Errors);
        Assert.Equal("--admin", error.Place);
        Assert.Contains("must differ from containerd.address", error.Rule, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("off", null)]
    [InlineData("/run/a.sock", "/run/a.sock")]
    [InlineData("unix:///run/a.sock", "/run/a.sock")]
    public void Load_AdminAddress_IsASocketOrOff(string text, string? path) =>
        Assert.Equal(path, Load($"admin: {{address: {text}}}").Configuration!.Admin.SocketPath);

    [Fact]
    public void Load_AdminAddressOfAnotherKind_SaysWhatIsAllowed()
    {
        LoadedConfiguration loaded = Load("admin: {address: 'localhost:1'}");

        Assert.Equal(
            $"{ConfigFile}:1:18: admin.address: \"localhost:1\": must be unix:// and an absolute path (unix:///run/...), or an absolute path, or off",
            Assert.Single(loaded.Errors).ToString());
    }

    [Fact]
    public void ToYaml_OfAnyConfiguration_ReadsBackAsTheSame()
    {
        Write("listen: {address: '/run/a \"b\" #c.sock', mode: 0600}\nlog: {format: json}");
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile, LogLevel = "error" });
        string yaml = loaded.ToYaml();

        Assert.Equal(loaded.Configuration, Valid(yaml));
        Assert.Contains($"# {ConfigFile}:1:19\n", yaml, StringComparison.Ordinal);
        Assert.Contains("# --log-level\n", yaml, StringComparison.Ordinal);
        Assert.Contains("# default\n", yaml, StringComparison.Ordinal);
    }

    [Fact]
    public void ToYaml_LongValue_IsWrittenToItsEnd()
    {
        string directory = "/run/" + new string('d', 200);
        Write($"supervision: {{stateDirectory: {directory}}}");
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile });

        Assert.Equal(directory, Valid(loaded.ToYaml()).Supervision.StateDirectory);
    }

    private void Write(string yaml) => File.WriteAllText(ConfigFile, yaml);

    [Theory]
    [InlineData("127.0.0.1:9653", "127.0.0.1:9653")]
    [InlineData("[::1]:80", "[::1]:80")]
    [InlineData("off", null)]
    public void Load_MetricsAddress_IsTakenOrOff(string text, string? expected)
    {
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Metrics = text }, _directory.File("absent.yaml"));

        Assert.Empty(loaded.Errors);
        Assert.Equal(expected, loaded.Configuration!.Metrics.Address?.ToString());
    }

    [Theory]
    [InlineData("9653")]
    [InlineData(":9653")]
    [InlineData("127.0.0.1")]
    [InlineData("::1")]
    [InlineData("localhost:9653")]
    [InlineData("")]
    [InlineData("127.0.0.1:99999")]
    public void Load_MetricsAddressThatIsNone_SaysWhatIsAllowed(string text)
    {
        ConfigurationError error = Assert.Single(
            ConfigurationLoader.Load(new ServeFlags { Metrics = text }, _directory.File("absent.yaml")).Errors);

        Assert.Equal("--metrics", error.Place);
        Assert.Contains("127.0.0.1:9653 or [::1]:9653, or off", error.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1:4318")]
    [InlineData("ftp://127.0.0.1")]
    [InlineData("http://user:pass@127.0.0.1:4318")]
    [InlineData("http://127.0.0.1:4318/?key=1")]
    public void Load_TracingEndpointThatIsNone_SaysWhatIsAllowed(string text)
    {
        File.WriteAllText(ConfigFile, $"apiVersion: crishim.io/v1alpha1\nkind: CriShimConfiguration\ntracing: {{endpoint: \"{text}\"}}\n");

        ConfigurationError error = Assert.Single(ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }).Errors);
        Assert.Contains("tracing.endpoint", error.ToString(), StringComparison.Ordinal);
        Assert.Contains("such as http://127.0.0.1:4318", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_MetricsOnAllAddresses_OnlyWhereTheConfigurationAllowsIt()
    {
        ConfigurationError error = Assert.Single(
            ConfigurationLoader.Load(new ServeFlags { Metrics = "0.0.0.0:9653" }, _directory.File("absent.yaml")).Errors);
        Assert.Contains("must be a loopback address", error.ToString(), StringComparison.Ordinal);

        File.WriteAllText(
            ConfigFile, "apiVersion: crishim.io/v1alpha1\nkind: CriShimConfiguration\nmetrics: {address: \"0.0.0.0:9653\", allowRemote: true}\n");
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile });
        Assert.Empty(loaded.Errors);
        Assert.Equal("0.0.0.0:9653", loaded.Configuration!.Metrics.Address!.ToString());
    }

    private LoadedConfiguration Load(string yaml)
    {
        Write(yaml);
        return ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile });
    }

    private CriShimConfiguration Valid(string yaml)
    {
        LoadedConfiguration loaded = Load(yaml);
        Assert.Empty(loaded.Errors);
        return loaded.Configuration!;
    }

    private void AssertOnlyError(string rule)
    {
        ConfigurationError error = Assert.Single(ConfigurationLoader.Load(new ServeFlags { Config = ConfigFile }).Errors);
        Assert.Equal((ConfigFile, rule), (error.Place, error.Rule));
    }
}
