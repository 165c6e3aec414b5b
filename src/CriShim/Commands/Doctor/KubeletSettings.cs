using System.Globalization;
using CriShim.Admin;
using CriShim.Configuration;

namespace CriShim.Commands.Doctor;

/// <summary>What a kubelet of this node was told, by its flags and its configuration file.</summary>
/// <param name="ProcessId">Its process.</param>
/// <param name="Name">The process's name.</param>
/// <param name="Endpoint">Where it sends its CRI calls.</param>
/// <param name="EndpointOrigin">Where that is said: a flag or a file.</param>
/// <param name="ImageEndpoint">Where it sends calls about images, if that is said apart.</param>
/// <param name="CgroupDriver">"systemd" or "cgroupfs"; null where it is not said.</param>
internal sealed record KubeletSettings(
    int ProcessId, string Name, string Endpoint, string EndpointOrigin, string? ImageEndpoint, string? CgroupDriver)
{
    private const string UsualEndpoint = "unix:///run/containerd/containerd.sock";

    /// <summary>k3s and its like have a kubelet inside, whose settings are not among their flags.</summary>
    public bool IsInsideOfAnother => Name != "kubelet";

    public static IEnumerable<KubeletSettings> FindAll(Func<string, string> at)
    {
        foreach ((int pid, string name) in new KubeletEvidence(at("/proc")).FindAll())
        {
            string[] arguments;
            try
            {
                arguments = File.ReadAllText(at(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"))).Split('\0');
            }
            catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
            {
                continue;
            }

            yield return Read(pid, name, arguments, at);
        }
    }

    private static KubeletSettings Read(int pid, string name, string[] arguments, Func<string, string> at)
    {
        string? file = Flag(arguments, "--config");

        // Where it is not absolute, it was meant from the kubelet's own folder.
        string cwd = string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cwd/");
        IReadOnlyDictionary<string, string> said = file is null ? new Dictionary<string, string>() : ReadFile(at(file.StartsWith('/') ? file : cwd + file));
        string? flag = Flag(arguments, "--container-runtime-endpoint");
        string? fromFile = said.GetValueOrDefault("containerRuntimeEndpoint");
        return new KubeletSettings(
            pid,
            name,
            flag ?? fromFile ?? UsualEndpoint,
            flag is not null ? "--container-runtime-endpoint" : fromFile is not null ? file! : "the kubelet's default",
            Flag(arguments, "--image-service-endpoint") ?? said.GetValueOrDefault("imageServiceEndpoint"),
            Flag(arguments, "--cgroup-driver") ?? said.GetValueOrDefault("cgroupDriver"));
    }

    /// <summary>The last one rules, as with the kubelet's own flags.</summary>
    private static string? Flag(string[] arguments, string name)
    {
        string? value = null;
        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i] == name && i + 1 < arguments.Length)
            {
                value = arguments[i + 1];
            }
            else if (arguments[i].StartsWith(name + "=", StringComparison.Ordinal))
            {
                value = arguments[i][(name.Length + 1)..];
            }
        }

        return value is { Length: > 0 } ? value : null;
    }

    private static Dictionary<string, string> ReadFile(string path)
    {
        // What is wrong with that file is the kubelet's to say.
        var said = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (YamlEntry entry in (YamlFile.Read(path, []) as YamlMap)?.Entries ?? [])
        {
            if (entry.Value is YamlText { IsNull: false, Value.Length: > 0 } text)
            {
                said[entry.Key] = text.Value;
            }
        }

        return said;
    }
}
