using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;

namespace CriShim.Supervision.Supervisor;

/// <summary>What holds for a whole pod, shared by its lineages, and where they put their commands.</summary>
internal sealed class PodConditions(string sandboxId, RestartOptions options, bool specSourceConfigured, Random chance)
{
    /// <summary>A kubelet's stops have at least this much, whatever the pod, its deletion (forced: 0 s) or an eviction says.</summary>
    private static readonly TimeSpan LeastKubeletGrace = TimeSpan.FromSeconds(2);

    public string SandboxId { get; } = sandboxId;

    public RestartOptions Options { get; } = options;

    public SupervisionMode Mode { get; set; }

    public PodFacts? Facts { get; set; }

    public SidecarAnnotation Annotation { get; set; } = SidecarAnnotation.None;

    public DateTimeOffset? TerminatingSince { get; set; }

    public DateTimeOffset? Deadline { get; set; }

    public bool IsSandboxReady { get; set; } = true;

    public bool IsSandboxStopping { get; set; }

    public bool IsSandboxGone { get; set; }

    public List<string> StartOrder { get; } = [];

    /// <summary><see cref="ToRecord"/> has news.</summary>
    public bool IsChanged { get; set; }

    public List<PodCommand> Commands { get; private set; } = [];

    /// <summary>The grace period that the pod's containers carry as an annotation; null before the first.</summary>
    public TimeSpan? AnnotatedGrace { get; set; }

    /// <summary>The pod's grace period, by the best that is known.</summary>
    public TimeSpan Grace => Facts?.TerminationGracePeriod ?? AnnotatedGrace ?? Options.AssumedGrace;

    /// <summary>The pod ends, and nothing runs any more that ends before this container.</summary>
    public Func<string, bool> IsTurnToEnd { get; set; } = static _ => false;

    /// <summary>All main containers have completed for good: what ends from here on among the adopted sidecars has done its work.</summary>
    public bool HaveMainsCompleted { get; set; }

    /// <summary>
    /// Names of emulated sidecars that callers were told have completed: that is what they are from then on, whatever is known of the
    /// spec, and in every mode.
    /// </summary>
    public HashSet<string> Completed { get; } = new(StringComparer.Ordinal);

    /// <summary>RestartPolicy, from the spec first.</summary>
    public PodRestartPolicy? RestartPolicy => Facts?.RestartPolicy ?? Annotation.RestartPolicy;

    public SidecarKind KindOf(string name) =>
        Completed.Contains(name) ? SidecarKind.Emulated : SidecarKinds.Tell(name, Facts, Annotation.Find(name), specSourceConfigured);

    /// <summary>New decisions are made.</summary>
    public bool IsSupervised => Mode == SupervisionMode.On && !Annotation.IsSuperviseOff;

    /// <summary>An init container that is shown completed once it has started. One with restart rules is the kubelet's (rule 11).</summary>
    public bool IsEmulated(string name) => KindOf(name) == SidecarKind.Emulated && WhyNotByHooks(name) is null;

    public double NextChance() => chance.NextDouble();

    public List<PodCommand> TakeCommands()
    {
        List<PodCommand> taken = Commands;
        Commands = [];
        return taken;
    }

    /// <summary>The first reason that forbids a restart; null when nothing does.</summary>
    /// <param name="name">The container.</param>
    /// <param name="isStoppedByCaller">Rule 5.</param>
    /// <param name="startAt">When the replacement would be created.</param>
    /// <param name="isDecided">A restart was decided by a spec that was known; that it is not known any more changes nothing.</param>
    public StandDownReason? WhyNot(string name, bool isStoppedByCaller, DateTimeOffset startAt, bool isDecided = false)
    {
        if (IsSandboxGone)
        {
            return StandDownReason.SandboxGone;
        }

        if (IsSandboxStopping)
        {
            return StandDownReason.SandboxStopping;
        }

        if (!IsSandboxReady)
        {
            return StandDownReason.SandboxNotReady;
        }

        if (Mode == SupervisionMode.Off)
        {
            return StandDownReason.SuperviseModeOff;
        }

        if (Annotation.IsSuperviseOff)
        {
            return StandDownReason.SuperviseAnnotationOff;
        }

        if (isStoppedByCaller)
        {
            return StandDownReason.StoppedByCaller;
        }

        if (WhyNotByKind(name) is { } byKind && !(isDecided && byKind == StandDownReason.SpecUnknown))
        {
            return byKind;
        }

        if (IsTurnToEnd(name))
        {
            return StandDownReason.TurnToEnd;
        }

        if (Deadline is { } deadline && startAt + Options.LeastGraceLeft > deadline)
        {
            return StandDownReason.NoGraceLeft;
        }

        // Last, so that observing tells exactly what it would have done.
        return Mode == SupervisionMode.Observe ? StandDownReason.SuperviseModeObserve : null;
    }

    public void BeginTermination(TimeSpan? grace, DateTimeOffset now)
    {
        if (TerminatingSince is not null)
        {
            return;
        }

        TerminatingSince = now;
        TimeSpan told = grace ?? Grace;
        Deadline = now + (told > LeastKubeletGrace ? told : LeastKubeletGrace);
        IsChanged = true;
    }

    /// <summary>A later, shorter stop shortens the grace; nothing lengthens it.</summary>
    public void Shorten(TimeSpan grace, DateTimeOffset now)
    {
        if (Deadline is { } deadline && now + grace < deadline)
        {
            Deadline = now + grace;
            IsChanged = true;
        }
    }

    /// <summary>A caller stops the pod's containers anew after its grace was over, as a kubelet does that was restarted (section 5).</summary>
    public void RenewDeadline(DateTimeOffset deadline, DateTimeOffset now)
    {
        if (Deadline <= now)
        {
            EndBy(deadline);
        }
    }

    public void EndBy(DateTimeOffset deadline)
    {
        IsChanged |= Deadline != deadline;
        Deadline = deadline;
    }

    public void NoteStart(string name)
    {
        if (!StartOrder.Contains(name, StringComparer.Ordinal))
        {
            StartOrder.Add(name);
            IsChanged = true;
        }
    }

    public PodRecord ToRecord()
    {
        IsChanged = false;
        return new PodRecord
        {
            SandboxId = SandboxId,
            TerminatingSince = TerminatingSince,
            Deadline = Deadline,
            IsSandboxStopping = IsSandboxStopping,
            StartOrder = [.. StartOrder],
            AnnotatedGrace = AnnotatedGrace,
            HaveMainsCompleted = HaveMainsCompleted,
        };
    }

    public void Restore(PodRecord record)
    {
        TerminatingSince = record.TerminatingSince;
        Deadline = record.Deadline;
        IsSandboxStopping = record.IsSandboxStopping;
        StartOrder.AddRange(record.StartOrder);
        AnnotatedGrace = record.AnnotatedGrace;
        HaveMainsCompleted = record.HaveMainsCompleted;
    }

    /// <summary>The kubelet would not restart it: once its end was shown, it stays ended (rule 3).</summary>
    public bool IsEndFinal(string name, int? exitCode) =>
        KindOf(name) == SidecarKind.Adopted
        && (RestartPolicy is PodRestartPolicy.Never || (RestartPolicy is PodRestartPolicy.OnFailure && exitCode is null or 0));

    /// <summary>An adopted sidecar that ends like this once the mains have completed has succeeded.</summary>
    public bool IsSuccess(string name, int? exitCode) =>
        Annotation.Find(name) is { } request && (request.SuccessExitCodes.IsEmpty || (exitCode is { } code && request.SuccessExitCodes.Contains(code)));

    // Each kind has its own rules for a restart. To the kubelet an emulated one is an init container that has completed, or fails until then.
    private StandDownReason? WhyNotByKind(string name) => KindOf(name) switch
    {
        SidecarKind.Native => WhyNotByHooks(name),
        SidecarKind.Unknown => StandDownReason.SpecUnknown,
        SidecarKind.OrderedOnly => StandDownReason.OnlyOrdered,
        SidecarKind.Adopted when RestartPolicy is null => StandDownReason.RestartPolicyUnknown,
        SidecarKind.Adopted when HaveMainsCompleted => StandDownReason.MainsCompleted,
        SidecarKind.Adopted => WhyNotByHooks(name),
        SidecarKind.Emulated when Completed.Contains(name) => HaveMainsCompleted ? StandDownReason.MainsCompleted : null,
        SidecarKind.Emulated when RestartPolicy is null => StandDownReason.RestartPolicyUnknown,
        SidecarKind.Emulated when WhyNotByHooks(name) is null && RestartPolicy is PodRestartPolicy.Never => StandDownReason.StartupFailed,
        SidecarKind.Emulated => WhyNotByHooks(name),
        _ => StandDownReason.NotASidecar,
    };

    private StandDownReason? WhyNotByHooks(string name) => Facts is null ? null : SidecarKinds.Find(name, Facts) switch
    {
        { HasPostStart: true } => StandDownReason.PostStartHook,
        { HasRestartRules: true } => StandDownReason.RestartRules,
        _ => null,
    };
}
