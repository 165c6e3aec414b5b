using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Supervisor;

/// <summary>One attempt with its container id. What is dead stays dead: the backend never starts an exited container again (section 8).</summary>
internal sealed class Instance(string id, int attempt, DateTimeOffset createdAt)
{
    public string Id { get; } = id;

    public int Attempt { get; } = attempt;

    public DateTimeOffset CreatedAt { get; } = createdAt;

    public DateTimeOffset? StartedAt { get; set; }

    /// <summary>Created by the shim.</summary>
    public bool IsOurs { get; set; }

    /// <summary>A replacement that callers have not been shown.</summary>
    public bool IsHidden { get; set; }

    public bool IsDead { get; set; }

    /// <summary>Null while dead without anybody having told how.</summary>
    public ContainerExit? Exit { get; set; }

    /// <summary>The backend's own lists and statuses say EXITED: they can be later than its exit event.</summary>
    public bool IsEndSeen { get; set; }

    /// <summary>Its death was decided: never twice.</summary>
    public bool IsDecided { get; set; }

    /// <summary>Ended after the mains had completed: an adopted sidecar that has done its work.</summary>
    public bool HasServed { get; set; }

    /// <summary>When it is shown to have completed: an emulated sidecar's instance, once it has started. It never changes, whatever becomes of it.</summary>
    public DateTimeOffset? CompletedAt { get; set; }

    /// <summary><see cref="CompletedAt"/> is recorded, and so may be shown.</summary>
    public bool IsCompletionShown { get; set; }

    /// <summary>An emulated sidecar's instance that ended before it had started: that is no success, whatever its exit code.</summary>
    public bool HasFailedToStart { get; set; }

    public bool IsRemoved { get; set; }

    public DateTimeOffset? RemovalAskedAt { get; set; }

    /// <summary>When its removal, which failed, is tried again.</summary>
    public DateTimeOffset? RemovalDue { get; set; }

    public int RemovalTries { get; set; }

    /// <summary>When it last changed by what was told: a list asked for before then is old news about it.</summary>
    public DateTimeOffset ChangedAt { get; set; } = DateTimeOffset.MinValue;

    public bool IsAlive => !IsDead && !IsRemoved;

    public InstanceRecord ToRecord() => new()
    {
        Id = Id,
        Attempt = Attempt,
        IsOurs = IsOurs,
        CreatedAt = CreatedAt,
        StartedAt = StartedAt,
        IsHidden = IsHidden,
        IsDecided = IsDecided,
        IsRemoved = IsRemoved,
        HasServed = HasServed,
        CompletedAt = CompletedAt,
        HasFailedToStart = HasFailedToStart,
        ExitCode = HasServed ? Exit?.ExitCode : null,
    };

    public static Instance From(InstanceRecord record) => new(record.Id, record.Attempt, record.CreatedAt)
    {
        IsOurs = record.IsOurs,
        StartedAt = record.StartedAt,
        IsHidden = record.IsHidden,
        IsDead = record.IsDecided || record.IsRemoved,
        IsEndSeen = record.IsDecided,
        IsDecided = record.IsDecided,
        IsRemoved = record.IsRemoved,
        HasServed = record.HasServed,
        CompletedAt = record.CompletedAt,
        IsCompletionShown = record.CompletedAt is not null,
        HasFailedToStart = record.HasFailedToStart,
        Exit = record is { HasServed: true, ExitCode: { } code } ? new ContainerExit(code, false, record.CreatedAt) : null,
    };
}
