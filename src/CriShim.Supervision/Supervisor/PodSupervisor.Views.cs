namespace CriShim.Supervision.Supervisor;

/// <content>What people are told of a pod.</content>
public sealed partial class PodSupervisor
{
    /// <summary>When the pod was first known to end; null while it is not.</summary>
    public DateTimeOffset? TerminatingSince => _pod.TerminatingSince;

    /// <summary>All main containers have completed for good.</summary>
    public bool HaveMainsCompleted => _pod.HaveMainsCompleted;

    /// <summary>All of it, as it is now.</summary>
    public PodView View(DateTimeOffset now) => new()
    {
        Facts = _pod.Facts,
        Annotation = _pod.Annotation,
        AnnotationErrors = _pod.Facts is { } facts ? [.. _pod.Annotation.Errors, .. _pod.Annotation.ErrorsBy(facts)] : _pod.Annotation.Errors,
        RestartPolicy = _pod.RestartPolicy,
        IsSandboxReady = IsSandboxReady,
        IsSandboxStopping = _pod.IsSandboxStopping,
        IsEnding = IsEnding,
        HaveMainsCompleted = _pod.HaveMainsCompleted,
        TerminatingSince = _pod.TerminatingSince,
        Deadline = _pod.Deadline,
        Running = Running,
        StartOrder = [.. _pod.StartOrder],
        Containers = [.. _lineages.Values.Select(lineage => new ContainerView(
            lineage.ToView(now), lineage.InstanceViews(), _teardown.StageOf(lineage.Name), lineage.IsGating))],
    };
}
