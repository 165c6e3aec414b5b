namespace CriShim.Supervision.Teardown;

/// <summary>How far the stop of a lineage is.</summary>
public enum StopStage
{
    /// <summary>Its turn has not come: the lineage is supervised as before (rule 5).</summary>
    Held,

    /// <summary>The caller's own call was forwarded.</summary>
    Forwarded,

    /// <summary>Its turn has come, and the shim ends it: hook, stop signal, and at its limit SIGKILL.</summary>
    Ending,
}

/// <summary>A lineage's stop that was asked for, by a caller or by the end of its sandbox, and is not over.</summary>
internal sealed class PendingStop(string lineage, DateTimeOffset askedAt, DateTimeOffset until, bool isCallers)
{
    public string Lineage { get; } = lineage;

    public DateTimeOffset AskedAt { get; } = askedAt;

    /// <summary>When it must be over: asked at plus time-out, of the shortest time-out that was asked for.</summary>
    public DateTimeOffset Until { get; set; } = until;

    /// <summary>A caller asked: the preStop hook was its affair.</summary>
    public bool IsCallers { get; } = isCallers;

    public StopStage Stage { get; set; } = StopStage.Held;

    /// <summary>The stops of its siblings prove that the pod ends.</summary>
    public bool IsProven { get; set; }

    /// <summary>While ending: when it is killed.</summary>
    public DateTimeOffset KillAt { get; set; } = until;

    /// <summary>The instance whose hook was begun, and is over.</summary>
    public string? HookBegun { get; set; }

    public string? HookEnded { get; set; }

    /// <summary>The instance that our StopContainer went to, and whether it was the one that kills.</summary>
    public string? SentTo { get; set; }

    public bool IsKillSent { get; set; }

    /// <summary>The instance of which the backend itself has said, by its answer, that it has ended.</summary>
    public string? AnsweredFor { get; set; }

    /// <summary>Its end was told, the answer is still to come: until when it is waited for.</summary>
    public DateTimeOffset? AnswerUntil { get; set; }

    /// <summary>Our StopContainer failed: when it is sent again.</summary>
    public DateTimeOffset? RetryAt { get; set; }

    public StopRecord ToRecord() => new(Lineage, AskedAt, Until, IsCallers, Stage, IsProven, KillAt);

    /// <summary>What was sent before a crash ended with the connection: containerd does not kill for a call that was cut off.</summary>
    public static PendingStop From(StopRecord record) => new(record.Lineage, record.AskedAt, record.Until, record.IsCallers)
    {
        Stage = record.Stage,
        IsProven = record.IsProven,
        KillAt = record.KillAt,
    };
}

/// <summary>A stop, as recorded.</summary>
public sealed record StopRecord(
    string Lineage, DateTimeOffset AskedAt, DateTimeOffset Until, bool IsCallers, StopStage Stage, bool IsProven, DateTimeOffset KillAt);

/// <summary>The end of a sandbox, as recorded: all of its containers are to be ended, and then it is stopped.</summary>
/// <param name="BeganAt">When it was asked for.</param>
/// <param name="Deadline">When the grace is used up.</param>
/// <param name="IsImpatient">A caller with little time asked (kubeadm, crictl).</param>
public sealed record SandboxEndRecord(DateTimeOffset BeganAt, DateTimeOffset Deadline, bool IsImpatient);
