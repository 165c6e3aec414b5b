using System.CommandLine;
using System.Net.Sockets;
using CriShim.Commands;
using CriShim.Configuration;
using Grpc.Core;

namespace CriShim.Admin;

/// <summary>How a command finds the admin socket of the crishim that serves, and what it says when there is none.</summary>
internal sealed class AdminSocketOption
{
    public Option<string?> Admin { get; } = new(ServeFlags.AdminName)
    {
        HelpName = "ADDRESS",
        Description = "The admin socket of the serving crishim. Without it that of the configuration file, or the default.",
    };

    public Option<string?> Config { get; } = new(ServeFlags.ConfigName)
    {
        HelpName = "FILE", Description = "Configuration file that names the admin socket.",
    };

    /// <summary>Path of the socket; null where it is switched off. The rest of the file may be faulty: it is not a command's to judge.</summary>
    /// <param name="parse">The command's.</param>
    /// <param name="faults">Gets what is wrong with the flags, or with the file's admin address.</param>
    public string? Find(ParseResult parse, List<ConfigurationError> faults)
    {
        if (parse.GetValue(Admin) is { } flag)
        {
            if (!SettingRules.OptionalSocketAddress(flag, out string? given, out string fault))
            {
                faults.Add(new ConfigurationError(ServeFlags.AdminName, null, flag, fault));
            }

            return given;
        }

        string? config = parse.GetValue(Config);
        LoadedConfiguration loaded = ConfigurationLoader.Load(new ServeFlags { Config = config });
        faults.AddRange(loaded.Errors.Where(fault => fault.Setting == "admin.address"
            || (config is not null && fault.Place == config)));
        string address = loaded.Effective.First(setting => setting.Path == "admin.address").Text;
        _ = SettingRules.OptionalSocketAddress(address, out string? path, out _);
        return path;
    }

    /// <summary>The socket of a command that can do nothing without; false: why there is none was said, and the exit code is given.</summary>
    /// <param name="parse">The command's.</param>
    /// <param name="faults">What is wrong with its other flags; what is wrong is said all at once.</param>
    /// <param name="socket">Its path.</param>
    /// <param name="exitCode">Where there is none.</param>
    public bool TryFind(ParseResult parse, List<ConfigurationError> faults, out string socket, out int exitCode)
    {
        TextWriter error = parse.InvocationConfiguration.Error;
        string? found = Find(parse, faults);
        socket = found ?? "";
        exitCode = faults.Count > 0 ? ExitCode.Usage : ExitCode.Failure;
        if (ConfigurationError.Report(faults, error))
        {
            return false;
        }

        if (found is null)
        {
            error.WriteLine($"crishim: {IsOff}");
        }

        return found is not null;
    }

    /// <summary>What to say where the socket is switched off.</summary>
    public const string IsOff = "the admin socket is off (admin.address): nothing can be asked of the crishim that serves";

    /// <summary>What to say when a call failed.</summary>
    public static string Describe(RpcException failure, string socket) => failure.StatusCode switch
    {
        StatusCode.Unavailable =>
            $"no crishim serves at unix://{socket} ({ReasonOf(failure)}); 'systemctl status crishim' may say why",
        StatusCode.Unimplemented => $"the crishim that serves at unix://{socket} is older than this command, and does not know it: restart it",
        _ => failure.Status.Detail,
    };

    private static string ReasonOf(RpcException failure)
    {
        Exception? inner = failure.Status.DebugException;
        while (inner?.InnerException is not null)
        {
            inner = inner.InnerException;
        }

        return inner switch
        {
            // The kernel's ENOENT has no name of its own among socket errors.
            SocketException { SocketErrorCode: SocketError.AddressNotAvailable } => "there is no such socket",
            SocketException { SocketErrorCode: SocketError.ConnectionRefused } => "nobody listens",
            SocketException { SocketErrorCode: SocketError.AccessDenied } => "it is for root alone",
            not null => inner.Message,
            null => failure.Status.Detail,
        };
    }
}
