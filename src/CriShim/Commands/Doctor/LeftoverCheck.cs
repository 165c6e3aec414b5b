using CriShim.Node.Reports;

namespace CriShim.Commands.Doctor;

/// <summary>What is kept of pods: of those that are gone, and of those whose containers are shown otherwise than they are.</summary>
internal sealed class LeftoverCheck : ICheck
{
    public string Area => "state";

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        string directory = diagnosis.Configuration.Supervision.StateDirectory;
        string place = diagnosis.At(directory);
        if (!Directory.Exists(place))
        {
            diagnosis.Note(Area, $"{directory} does not exist: nothing is kept");
            return Task.CompletedTask;
        }

        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
            | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;
        if ((File.GetUnixFileMode(place) & others) != 0)
        {
            diagnosis.Warn(Area, $"{directory} can be read by others than root: it holds the secrets of pod specs", $"chmod 0700 {directory}");
        }

        IReadOnlyList<KeptPod> kept = KeptPod.ReadAll(place);
        if (diagnosis.Pods is { } pods)
        {
            string[] gone = [.. kept.Where(pod => !pods.ContainsKey(pod.SandboxId)).Select(pod => pod.SandboxId)];
            if (gone.Length > 0)
            {
                diagnosis.Warn(
                    Area, $"records of {gone.Length} pod sandboxes that containerd does not have: {string.Join(", ", gone.Take(5).Select(ReportText.Start))}",
                    "systemctl restart crishim, which removes them; with crishim stopped they may go by hand, in " + directory);
            }
        }

        KeptPod[] masked = [.. kept.Where(pod => pod.Masked.Count > 0)];
        if (masked.Length > 0 && diagnosis.ServedMode is "off" or "observe")
        {
            diagnosis.Note(
                Area, $"supervision is {diagnosis.ServedMode}, and callers are still told of completed sidecars, until these pods end: "
                + string.Join(", ", masked.Select(pod => Name(pod, diagnosis))));
        }

        diagnosis.Good(Area, $"{kept.Count} pods are kept in {directory}");
        return Task.CompletedTask;
    }

    /// <summary>The pod's name, and the containers it is about.</summary>
    public static string Name(KeptPod pod, Diagnosis diagnosis)
    {
        string name = diagnosis.Pods?.GetValueOrDefault(pod.SandboxId) ?? $"pod sandbox {ReportText.Start(pod.SandboxId)}";
        return pod.Masked.Count > 0 ? $"{name} ({string.Join(", ", pod.Masked)})" : name;
    }
}
