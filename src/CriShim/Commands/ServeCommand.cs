using System.CommandLine;
using CriShim.Configuration;
using CriShim.Serving;

namespace CriShim.Commands;

/// <summary>"crishim serve": the flags, --check-config, and the way into serving.</summary>
internal sealed class ServeCommand
{
    private readonly Option<string?> _config = Text(
        ServeFlags.ConfigName, "FILE", $"Configuration file. Without the flag {CriShimConfiguration.DefaultFile} is read, if it exists.");

    private readonly Option<string?> _listen = Text(ServeFlags.ListenName, "ADDRESS", "Socket for the kubelet and crictl: unix:///path or /path.");

    private readonly Option<string?> _containerd = Text(ServeFlags.ContainerdName, "ADDRESS", "containerd's socket: unix:///path or /path.");

    private readonly Option<string?> _admin = Text(
        ServeFlags.AdminName, "ADDRESS|off", "Socket for crishim's own commands, root only: unix:///path or /path.");

    private readonly Option<string?> _metrics = Text(
        ServeFlags.MetricsName, "IP:PORT|off", "Where metrics, health and the status page are read over HTTP. Without configuration loopback only.");

    private readonly Option<string?> _logFormat = Text(ServeFlags.LogFormatName, "console|json", "How log lines look.");

    private readonly Option<string?> _logLevel = Text(ServeFlags.LogLevelName, "trace|debug|info|warn|error", "Lowest level that is logged.");

    private readonly Option<string?> _supervise = Text(
        ServeFlags.SuperviseName, "on|observe|off", "Restart sidecars; or only decide and log what would be done; or leave them alone.");

    private readonly Option<string?> _stateDirectory = Text(
        ServeFlags.StateDirectoryName, "DIR", "What must survive a restart of crishim. On a tmpfs: it holds the secrets of pod specs.");

    private readonly Option<string?> _kubeconfig = Text(
        ServeFlags.KubeconfigName, "FILE|auto|off", "The kubelet's kubeconfig: pod specs come from the API server.");

    private readonly Option<string?> _nodeName = Text(ServeFlags.NodeNameName, "NAME|auto", "The node's name in the cluster.");

    private readonly Option<string?> _podManifests = Text(
        ServeFlags.PodManifestsName, "DIR|auto|off", "The kubelet's static pod manifests.");

    private readonly Option<bool> _checkConfig = new("--check-config")
    {
        Description = "Print the configuration that would be served with, and the origin of each value, or all errors; then exit.",
    };

    public ServeCommand()
    {
        Command = new Command("serve", "Listens on a Unix socket and forwards CRI calls to containerd. Flags override the configuration file.");
        foreach (Option option in (ReadOnlySpan<Option>)
        [
            _config, _listen, _containerd, _admin, _metrics, _logFormat, _logLevel, _supervise, _stateDirectory, _kubeconfig, _nodeName, _podManifests,
            _checkConfig,
        ])
        {
            Command.Add(option);
        }

        Command.SetAction(RunAsync);
    }

    public Command Command { get; }

    public LoadedConfiguration Load(ParseResult parse) => ConfigurationLoader.Load(new ServeFlags
    {
        Config = Value(parse, _config),
        Listen = Value(parse, _listen),
        Containerd = Value(parse, _containerd),
        Admin = Value(parse, _admin),
        Metrics = Value(parse, _metrics),
        LogFormat = Value(parse, _logFormat),
        LogLevel = Value(parse, _logLevel),
        Supervise = Value(parse, _supervise),
        StateDirectory = Value(parse, _stateDirectory),
        Kubeconfig = Value(parse, _kubeconfig),
        NodeName = Value(parse, _nodeName),
        PodManifests = Value(parse, _podManifests),
    });

    private async Task<int> RunAsync(ParseResult parse, CancellationToken cancellationToken)
    {
        LoadedConfiguration loaded = Load(parse);
        if (ConfigurationError.Report(loaded.Errors, parse.InvocationConfiguration.Error))
        {
            return ExitCode.Usage;
        }

        if (parse.GetValue(_checkConfig))
        {
            await parse.InvocationConfiguration.Output.WriteAsync(loaded.ToYaml());
            return ExitCode.Success;
        }

        return await ServeProcess.RunAsync(loaded, TimeProvider.System);
    }

    private static string? Value(ParseResult parse, Option<string?> option)
    {
        // A flag without its value, or given twice, is reported by the parser; asking for its value would throw.
        System.CommandLine.Parsing.OptionResult? result = parse.GetResult(option);
        return result is null || result.Errors.Any() || result.Tokens.Count != 1 ? null : result.Tokens[0].Value;
    }

    private static Option<string?> Text(string name, string value, string description) =>
        new(name) { HelpName = value, Description = description };
}
