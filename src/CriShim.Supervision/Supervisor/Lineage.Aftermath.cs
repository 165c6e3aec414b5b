using CriShim.Supervision.Restarts;

namespace CriShim.Supervision.Supervisor;

/// <content>
/// What is left to do when a replacement runs. The backend's lists can be behind its exit events: until they say that the instance
/// before has ended, callers are told so in their place, for they must not see two that run. And what is to be removed may not let
/// itself be removed at once.
/// </content>
internal sealed partial class Lineage
{
    private DateTimeOffset? _endsDue;
    private TimeSpan _endsDelay;

    private DateTimeOffset? AftermathDue
    {
        get
        {
            DateTimeOffset? ends = HasUnseenEnds ? _endsDue : null;
            DateTimeOffset? removal = _instances.Where(i => !i.IsRemoved).Min(i => i.RemovalDue);
            return ends is null || removal < ends ? removal : ends;
        }
    }

    /// <summary>The backend's lists may say RUNNING of one that is dead, beside the one that runs.</summary>
    private bool HasUnseenEnds => _instances.Exists(IsEndUnseen);

    /// <summary>
    /// How an instance ended that one of the shim's has replaced; else null. Also when the backend has told the end: an answer of before
    /// can still be under way.
    /// </summary>
    public ContainerExit? EndOf(Instance instance) => IsReplaced(instance) ? instance.Exit : null;

    public void RemovalFailed(Instance instance, DateTimeOffset now)
    {
        if (!instance.IsRemoved)
        {
            instance.RemovalDue = now + Backoff().Delay(DeathCause.StartFailed, instance.RemovalTries++, pod.NextChance());
        }
    }

    private bool IsEndUnseen(Instance instance) => !instance.IsEndSeen && IsReplaced(instance);

    private bool IsReplaced(Instance instance) => instance is { IsDead: true, Exit: not null, IsRemoved: false, IsHidden: false }
        && instance != Current && Current is { IsOurs: true };

    /// <summary>A replacement runs: are lists as far?</summary>
    private void AskForEnds(DateTimeOffset now)
    {
        _endsDelay = LookAgainAfter;
        InspectEnds(now);
    }

    private void InspectEnds(DateTimeOffset now)
    {
        _endsDue = null;
        foreach (Instance instance in _instances.Where(IsEndUnseen))
        {
            _endsDue = now + _endsDelay;
            pod.Commands.Add(new InspectInstance(Name, instance.Id));
        }

        _endsDelay = _endsDelay * 2 < AskAgainAfter ? _endsDelay * 2 : AskAgainAfter;
    }

    private void DoAftermath(DateTimeOffset now)
    {
        if (now >= _endsDue)
        {
            InspectEnds(now);
        }

        foreach (Instance instance in _instances.Where(i => !i.IsRemoved && now >= i.RemovalDue).ToArray())
        {
            instance.RemovalDue = null;
            if (instance != Current && instance != _replacement)
            {
                Remove(instance, instance.IsHidden ? RemovalReason.ReplacementNotWanted : RemovalReason.OlderDeadInstance, now);
            }
        }
    }
}
