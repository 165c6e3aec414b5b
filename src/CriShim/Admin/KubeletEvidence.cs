using System.Globalization;
using CriShim.Proxy;

namespace CriShim.Admin;

/// <summary>Tells whether a kubelet is alive on this node, and how that is known.</summary>
/// <remarks>
/// Two witnesses, each of which sees what the other may not:
/// <list type="bullet">
/// <item>The serving crishim: a kubelet keeps its connection open as long as it lives. It is known by its process's name, where
/// crishim may look (its unit hides other processes from it), or by what it does: nobody else runs pods and keeps the connection, or
/// asks for the runtime's status every few seconds.</item>
/// <item>The command, which sees all processes of the node: also a kubelet that talks to containerd past crishim.</item>
/// </list>
/// </remarks>
/// <param name="processes">The folder that proc(5) is mounted on.</param>
internal sealed class KubeletEvidence(string processes = "/proc")
{
    // k3s and RKE2, and MicroK8s, have the kubelet inside of a process of another name.
    private static readonly string[] Names = ["kubelet", "kubelite", "k3s", "k3s-server", "k3s-agent", "hyperkube"];

    /// <summary>What to say about the first kubelet among the callers; null where there is none.</summary>
    public string? Find(IEnumerable<CallerInfo> callers)
    {
        foreach (CallerInfo caller in callers)
        {
            string? name = caller.ProcessId > 0 ? NameOf(caller.ProcessId) : null;
            string? habit = name is not null && Names.Contains(name) ? "is connected to crishim"
                : caller.HasRunPods ? "is connected to crishim and has run pods"
                : caller.AsksForStatus ? "is connected to crishim and asks for the runtime's status every few seconds"
                : null;
            if (habit is not null)
            {
                return Say(caller.ProcessId, name, habit);
            }
        }

        return null;
    }

    /// <summary>What to say about a kubelet among the processes of this node; null where there is none.</summary>
    public string? FindProcess() => FindAll() is [var (pid, name), ..] ? Say(pid, name, "runs on this node") : null;

    /// <summary>The kubelets among the processes of this node, and the names of their processes.</summary>
    public IReadOnlyList<(int ProcessId, string Name)> FindAll()
    {
        var kubelets = new List<(int, string)>();
        string? here = PidNamespaceOf("self");
        foreach (string folder in Directory.EnumerateDirectories(processes))
        {
            string id = Path.GetFileName(folder);

            // A kubelet in a container (kind) is another node's.
            if (int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out int pid)
                && NameOf(id) is { } name && Names.Contains(name) && PidNamespaceOf(id) == here)
            {
                kubelets.Add((pid, name));
            }
        }

        return kubelets;
    }

    /// <summary>The name of a process; null where there is none, or none that can be seen.</summary>
    public string? NameOf(int pid) => NameOf(pid.ToString(CultureInfo.InvariantCulture));

    private static string Say(int pid, string? name, string habit)
    {
        string who = pid > 0
            ? string.Create(CultureInfo.InvariantCulture, $"process {pid}")
            : "a process outside of crishim's pid namespace";
        string called = name is null ? "" : $" ({name})";
        return $"a kubelet is alive: {who}{called} {habit}. It would start again what is ended, once the drain is cancelled: "
            + "stop it first (systemctl stop kubelet), or say --force";
    }

    private string? NameOf(string id)
    {
        try
        {
            return File.ReadAllText(Path.Combine(processes, id, "comm")).TrimEnd('\n');
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private string? PidNamespaceOf(string id)
    {
        try
        {
            return File.ResolveLinkTarget(Path.Combine(processes, id, "ns", "pid"), returnFinalTarget: false)?.Name;
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
