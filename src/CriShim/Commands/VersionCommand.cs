using System.CommandLine;
using System.Reflection;
using System.Runtime.InteropServices;
using CriShim.Admin;
using CriShim.Node.Reports;
using CriShim.Protocol.Admin.V1;
using Grpc.Core;

namespace CriShim.Commands;

/// <summary>"crishim version": what this executable is, and what serves.</summary>
internal static class VersionCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    public static string Version { get; } =
        typeof(VersionCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    public static Command Create()
    {
        var format = new OutputOption("one object");
        var socket = new AdminSocketOption();
        var command = new Command("version", "Prints the version of this program, and of the crishim that serves and its backend, if one does.")
        {
            format, socket.Admin, socket.Config,
        };
        command.SetAction(async (parse, cancellationToken) =>
        {
            var faults = new List<Configuration.ConfigurationError>();
            string? path = socket.Find(parse, faults);
            if (Configuration.ConfigurationError.Report(faults, parse.InvocationConfiguration.Error))
            {
                return ExitCode.Usage;
            }

            (StatusResponse? daemon, string reason) = await AskAsync(path, cancellationToken);
            TextWriter output = parse.InvocationConfiguration.Output;
            output.WriteLine(format.IsJson(parse) ? ToJson(daemon, reason) : ToText(daemon, reason));
            return ExitCode.Success;
        });
        return command;
    }

    private static string Platform => $"linux/{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}";

    /// <summary>What serves, or why that is not known: which is no failure of this command.</summary>
    private static async Task<(StatusResponse? Daemon, string Reason)> AskAsync(string? path, CancellationToken cancellationToken)
    {
        if (path is null)
        {
            return (null, AdminSocketOption.IsOff);
        }

        try
        {
            using var channel = new UnixChannel(path);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(Patience);
            return (await new Supervisor.SupervisorClient(channel.Invoker).StatusAsync(new StatusRequest(), cancellationToken: limit.Token), "");
        }
        catch (RpcException failure)
        {
            return (null, AdminSocketOption.Describe(failure, path));
        }
    }

    private static string ToText(StatusResponse? daemon, string reason)
    {
        string own = $"crishim {Version} {Platform} {RuntimeInformation.FrameworkDescription}";
        if (daemon is null)
        {
            return $"{own}\nserving: {Terminal.Clean(reason)}";
        }

        string backend = daemon.BackendName.Length > 0 ? $"{daemon.BackendName} {daemon.BackendVersion}" : "does not answer";
        return $"{own}\nserving: crishim {Terminal.Clean(daemon.Version)} at unix://{daemon.ListenPath}, supervision {daemon.SupervisionMode}"
            + $"{(daemon.IsDraining ? ", draining" : "")}\nbackend: {Terminal.Clean(backend)} at unix://{daemon.ContainerdPath}";
    }

    private static string ToJson(StatusResponse? daemon, string reason) => ReportJson.Text(json =>
    {
        json.WriteStartObject();
        json.WriteString("version", Version);
        json.WriteString("platform", Platform);
        json.WriteString("runtime", RuntimeInformation.FrameworkDescription);
        if (daemon is null)
        {
            json.WriteString("notServing", reason);
        }
        else
        {
            json.WriteStartObject("serving");
            json.WriteString("version", daemon.Version);
            json.WriteString("startedAt", daemon.StartedAt.ToDateTimeOffset());
            json.WriteString("address", $"unix://{daemon.ListenPath}");
            json.WriteString("supervisionMode", daemon.SupervisionMode);
            json.WriteBoolean("draining", daemon.IsDraining);
            json.WriteNumber("pods", daemon.Pods);
            json.WriteNumber("sidecars", daemon.Sidecars);
            json.WriteEndObject();
            json.WriteStartObject("backend");
            json.WriteString("address", $"unix://{daemon.ContainerdPath}");
            if (daemon.BackendName.Length > 0)
            {
                json.WriteString("name", daemon.BackendName);
                json.WriteString("version", daemon.BackendVersion);
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
    });
}
