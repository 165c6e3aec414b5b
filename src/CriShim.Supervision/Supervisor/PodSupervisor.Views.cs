namespace CriShim.Supervision.Supervisor;

/// <content>What people are told of a pod.</content>
public sealed partial class PodSupervisor
{
    /// <summary>When the pod was first known to end; null while it is not.</summary>
    public DateTimeOffset? TerminatingSince => _pod.TerminatingSince;

    /// <summary>All main containers have completed for good.</summary>
    public bool HaveMainsCompleted => _pod.HaveMainsCompleted;
}
