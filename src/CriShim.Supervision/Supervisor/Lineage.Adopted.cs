using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <content>
/// What is special about adopted sidecars: plain containers to the kubelet, which waits for all of them to complete, and starts mains
/// without waiting for them.
/// </content>
internal sealed partial class Lineage
{
    private string? _probed;

    /// <summary>The starts of other containers wait for it: it has a startup probe, which has not passed in this sandbox yet.</summary>
    public bool IsGating => !IsGateOpen && StartupProbe is not null
        && State is not (LineageState.Absent or LineageState.Created or LineageState.Resting);

    public bool IsGateOpen { get; private set; }

    /// <summary>It is the kubelet's now, and how often that starts it again is no reason to hold others back.</summary>
    public bool IsGateGivenUp => !IsGateOpen && RestReason == StandDownReason.GivenUp && StartupProbe is not null;

    /// <summary>The pod's mains have completed, and it is to be ended, or was: its own end is no failure any more.</summary>
    public bool IsServing => pod.HaveMainsCompleted && pod.KindOf(Name) == SidecarKind.Adopted;

    /// <summary>A main container that will not run again, by the pod's restartPolicy.</summary>
    public bool HasCompleted(PodRestartPolicy policy) =>
        Current is { IsDead: true } ended && !IsCallerCreating && (policy == PodRestartPolicy.Never || ended.Exit?.ExitCode == 0);

    /// <summary>It is dead, and nobody told how.</summary>
    public string? EndedUnknown => Current is { IsDead: true, IsRemoved: false, Exit: null } ended ? ended.Id : null;

    public void OpenGate()
    {
        if (!IsGateOpen)
        {
            IsGateOpen = true;
            Changed();
        }
    }

    private AnnotationMap? StartupProbe => pod.KindOf(Name) == SidecarKind.Adopted ? pod.Annotation.Find(Name)?.StartupProbe : null;

    private void Probe()
    {
        bool isEmulated = AwaitsStartup;
        if (isEmulated && _failedStartup == Current!.Id)
        {
            return;
        }

        if ((isEmulated || IsGating) && Current is { IsAlive: true } instance)
        {
            if (_probed != instance.Id)
            {
                _probed = instance.Id;
                pod.Commands.Add(new ProbeStartup(Name, instance.Id, pod.Annotation.Find(Name)?.StartupProbe) { MayFail = isEmulated });
            }
        }
        else
        {
            _probed = null;
        }
    }
}
