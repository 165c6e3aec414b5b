using System.Buffers;
using System.Globalization;
using System.Net;
using CriShim.Linux;
using CriShim.Node.Limits;
using CriShim.Supervision;
using CriShim.Supervision.Supervisor;
using Microsoft.Extensions.Logging;

namespace CriShim.Configuration;

/// <summary>What each kind of setting allows. A rule gives the value, or says in <c>fault</c> what is allowed.</summary>
internal static class SettingRules
{
    public static readonly TimeSpan MaxRunningCallsGrace = TimeSpan.FromMinutes(10);

    private static readonly (string Name, LogLevel Level)[] Levels =
    [
        ("trace", LogLevel.Trace), ("debug", LogLevel.Debug), ("info", LogLevel.Information), ("warn", LogLevel.Warning), ("error", LogLevel.Error),
    ];

    private static readonly SearchValues<char> NodeNameCharacters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-.");

    private static readonly (string Name, SupervisionMode Mode)[] Modes =
        [("on", SupervisionMode.On), ("observe", SupervisionMode.Observe), ("off", SupervisionMode.Off)];

    private static readonly (string Name, PodResourcesMode Mode)[] ResourcesModes =
        [("leave", PodResourcesMode.Leave), ("raise", PodResourcesMode.Raise)];

    private static readonly (string Name, LogFormat Format)[] Formats = [("console", LogFormat.Console), ("json", LogFormat.Json)];

    public delegate bool Rule<T>(string text, out T value, out string fault);

    public static bool SocketAddress(string text, out string path, out string fault)
    {
        const string scheme = "unix://";
        path = text.StartsWith(scheme, StringComparison.Ordinal) ? text[scheme.Length..] : text;
        if (!path.StartsWith('/'))
        {
            fault = "must be unix:// and an absolute path (unix:///run/...), or an absolute path";
            return false;
        }

        string? wrong = UnixSocketPath.FindFault(path);
        fault = wrong ?? "";
        return wrong is null;
    }

    /// <summary>A socket's address, or <c>off</c>.</summary>
    public static bool OptionalSocketAddress(string text, out string? path, out string fault)
    {
        if (text == "off")
        {
            path = null;
            fault = "";
            return true;
        }

        bool allowed = SocketAddress(text, out string address, out fault);
        path = address;
        fault = allowed || !fault.StartsWith("must be unix", StringComparison.Ordinal) ? fault : $"{fault}, or off";
        return allowed;
    }

    /// <summary>An IP address and a port, or off.</summary>
    public static bool TcpAddress(string text, out IPEndPoint? address, out string fault)
    {
        address = null;
        bool isOff = text == "off";

        // TryParse takes an address without a port, too, and an IPv6 one whose last part could be meant as one.
        bool hasPort = text.LastIndexOf(':') is var colon and > 0 && (text.IndexOf(':', StringComparison.Ordinal) == colon || text[colon - 1] == ']');
        fault = isOff || (hasPort && IPEndPoint.TryParse(text, out address))
            ? ""
            : "must be an IP address and a port, such as 127.0.0.1:9653 or [::1]:9653, or off";
        return fault.Length == 0;
    }

    /// <summary>An http or https URL without credentials, query and fragment, or off.</summary>
    public static bool HttpAddress(string text, out Uri? address, out string fault)
    {
        address = null;
        bool proper = text == "off"
            || (Uri.TryCreate(text, UriKind.Absolute, out address) && address.Scheme is "http" or "https" && address.UserInfo.Length == 0
                && address.Query.Length == 0 && address.Fragment.Length == 0);
        fault = proper ? "" : "must be off, or the http:// or https:// address of a collector that takes OTLP over HTTP, such as http://127.0.0.1:4318";
        return proper;
    }

    public static bool YesOrNo(string text, out bool value, out string fault) =>
        Choice(text, [("true", true), ("false", false)], out value, out fault);

    public static bool OnOrOff(string text, out bool value, out string fault) =>
        Choice(text, [("on", true), ("off", false)], out value, out fault);

    public static bool SocketMode(string text, out UnixFileMode mode, out string fault)
    {
        mode = default;
        if (text.Length != 4 || text[0] != '0' || text.AsSpan().ContainsAnyExceptInRange('0', '7'))
        {
            fault = "must be four octal digits that start with 0, such as \"0660\"";
            return false;
        }

        mode = (UnixFileMode)Convert.ToInt32(text, 8);
        if ((mode & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute)) != 0)
        {
            fault = "must not give anything to others (the last digit must be 0): whoever can connect can become root on the node";
            return false;
        }

        fault = mode.HasFlag(UnixFileMode.UserRead | UnixFileMode.UserWrite) ? "" : "must let the owner read and write (the second digit must be 6 or 7)";
        return fault.Length == 0;
    }

    public static bool Group(string text, out SocketGroup group, out string fault)
    {
        uint? id = UnixGroup.Find(text);
        group = new SocketGroup(text, id ?? 0);
        fault = id is null ? "must be the name of a group that exists on this node, or a group id" : "";
        return id is not null;
    }

    public static bool Level(string text, out LogLevel level, out string fault) => Choice(text, Levels, out level, out fault);

    public static bool Format(string text, out LogFormat format, out string fault) => Choice(text, Formats, out format, out fault);

    public static bool RunningCallsGrace(string text, out TimeSpan grace, out string fault)
    {
        bool allowed = GoDuration.TryParse(text, out grace) && grace <= MaxRunningCallsGrace;
        fault = allowed ? "" : $"must be a duration such as 10s, 500ms or 1m30s, from 0s to {GoDuration.Format(MaxRunningCallsGrace)}";
        return allowed;
    }

    public static bool Mode(string text, out SupervisionMode mode, out string fault) => Choice(text, Modes, out mode, out fault);

    public static bool AbsolutePath(string text, out string path, out string fault)
    {
        path = text;
        fault = text.StartsWith('/') && !text.Contains('\0', StringComparison.Ordinal) ? "" : "must be an absolute path";
        return fault.Length == 0;
    }

    /// <summary>A path, <c>off</c>, or <c>auto</c>: the usual place, if it is there.</summary>
    public static Rule<string?> OptionalPath(string usual) => (string text, out string? path, out string fault) =>
    {
        path = text switch
        {
            "off" => null,
            "auto" => Path.Exists(usual) ? usual : null,
            _ => text,
        };
        fault = path is null || path.StartsWith('/') ? "" : $"must be an absolute path, off, or auto ({usual}, if it exists)";
        return fault.Length == 0;
    };

    public static bool NodeName(string text, out string? name, out string fault)
    {
        name = text == "auto" ? null : text;
        bool proper = name is null || (name.Length <= 253 && !name.AsSpan().ContainsAnyExcept(NodeNameCharacters) && name.Length > 0);
        fault = proper ? "" : "must be the node's name in the cluster (lower case letters, digits, '-' and '.'), or auto";
        return proper;
    }

    /// <summary>Loopback only: the kubelet's serving certificate is not verified there.</summary>
    public static bool KubeletAddress(string text, out Uri? address, out string fault)
    {
        address = null;
        bool proper = text == "off"
            || (Uri.TryCreate(text, UriKind.Absolute, out address) && address.Scheme is "http" or "https" && address.IsLoopback && address.AbsolutePath == "/");
        fault = proper ? "" : "must be off, or the kubelet's own address on this node, such as https://127.0.0.1:10250";
        return proper;
    }

    public static Rule<TimeSpan> Duration(TimeSpan least, TimeSpan most) => (string text, out TimeSpan value, out string fault) =>
    {
        bool allowed = GoDuration.TryParse(text, out value) && value >= least && value <= most;
        fault = allowed ? "" : $"must be a duration such as 250ms, 10s or 1m30s, from {GoDuration.Format(least)} to {GoDuration.Format(most)}";
        return allowed;
    };

    public static Rule<long> Bytes(string least, string most) => (string text, out long value, out string fault) =>
    {
        _ = Quantity.TryParse(least, out long from);
        _ = Quantity.TryParse(most, out long to);
        bool allowed = Quantity.TryParse(text, out value) && value >= from && value <= to;
        fault = allowed ? "" : $"must be a size such as 500Ki, 10Mi or 1Gi, from {least} to {most}";
        return allowed;
    };

    public static bool PodResources(string text, out PodResourcesMode mode, out string fault) => Choice(text, ResourcesModes, out mode, out fault);

    public static Rule<double> Number(double least, double most) => (string text, out double value, out string fault) =>
    {
        bool allowed = double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out value) && value >= least && value <= most;
        fault = allowed ? "" : string.Create(CultureInfo.InvariantCulture, $"must be a number from {least} to {most}");
        return allowed;
    };

    public static Rule<int> WholeNumber(int least, int most) => (string text, out int value, out string fault) =>
    {
        bool allowed = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= least && value <= most;
        fault = allowed ? "" : string.Create(CultureInfo.InvariantCulture, $"must be a whole number from {least} to {most}");
        return allowed;
    };

    public static Rule<string> Exactly(string allowed) => (string text, out string value, out string fault) =>
    {
        value = text;
        fault = text == allowed ? "" : $"must be {allowed}";
        return text == allowed;
    };

    public static string NameOf(LogLevel level) => Levels.First(l => l.Level == level).Name;

    public static string NameOf(SupervisionMode mode) => Modes.First(m => m.Mode == mode).Name;

    public static string NameOf(LogFormat format) => Formats.First(f => f.Format == format).Name;

    private static bool Choice<T>(string text, (string Name, T Value)[] choices, out T value, out string fault)
    {
        foreach ((string name, T choice) in choices)
        {
            if (name == text)
            {
                value = choice;
                fault = "";
                return true;
            }
        }

        value = choices[0].Value;
        fault = $"must be {Spelling.OneOf(choices.Select(c => c.Name), text)}";
        return false;
    }
}
