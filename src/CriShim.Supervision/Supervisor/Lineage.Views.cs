namespace CriShim.Supervision.Supervisor;

/// <content>What people are told of a lineage, beside <see cref="ToView"/>.</content>
internal sealed partial class Lineage
{
    public IReadOnlyList<InstanceView> InstanceViews() => [.. _instances.Select(instance => new InstanceView
    {
        Id = instance.Id,
        Attempt = instance.Attempt,
        CreatedAt = instance.CreatedAt,
        StartedAt = instance.StartedAt,
        IsOurs = instance.IsOurs,
        IsHidden = instance.IsHidden,
        IsDead = instance.IsDead,
        IsRemoved = instance.IsRemoved,
        IsShownCompleted = instance.IsCompletionShown || (instance.HasServed && pod.IsSuccess(Name, instance.Exit?.ExitCode)),
        Exit = instance.Exit,
    })];
}
