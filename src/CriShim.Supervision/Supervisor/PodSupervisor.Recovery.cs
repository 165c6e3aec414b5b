using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Supervisor;

/// <content>
/// Rebuilding after a restart of the shim, from what was recorded and a list of what is there (rule 13). Assumptions:
/// 1. The records are the last ones written; any of them may be missing, and then its lineage is known from the list alone.
/// 2. The list was asked for after the shim started, and before it makes any call of its own.
/// 3. Records do not outlive a reboot; and after one the sandbox is not ready. Either is enough that no restart is invented.
/// 4. A call that was under way when the shim ended may still be carried out later: the backend refuses the second of two creates.
/// </content>
public sealed partial class PodSupervisor
{
    /// <summary>A supervisor that goes on where the one before ended.</summary>
    /// <param name="options">As for the constructor.</param>
    /// <param name="pod">Null when there is none.</param>
    /// <param name="lineages">Those of this sandbox.</param>
    /// <param name="snapshot">What is there.</param>
    /// <param name="facts">What was known of the pod's spec before, or is known by now; null when nothing is.</param>
    /// <param name="annotation">From the sandbox's annotations.</param>
    /// <param name="now">The time.</param>
    /// <returns>The supervisor, and what is to be done.</returns>
    public static (PodSupervisor Supervisor, IReadOnlyList<PodCommand> Commands) Rebuild(
        PodSupervisorOptions options,
        PodRecord? pod,
        IEnumerable<LineageRecord> lineages,
        SandboxSnapshot snapshot,
        PodFacts? facts,
        SidecarAnnotation annotation,
        DateTimeOffset now)
    {
        var supervisor = new PodSupervisor(options);
        supervisor._pod.Facts = facts;
        supervisor._pod.Annotation = annotation;
        if (pod is not null)
        {
            supervisor._pod.Restore(pod);
        }

        foreach (LineageRecord record in lineages)
        {
            supervisor.Of(record.Name).Restore(record, now);
        }

        if (pod is not null)
        {
            foreach (StopRecord stop in pod.Stops)
            {
                _ = supervisor.Of(stop.Lineage);
            }

            supervisor._teardown.Restore(pod.Stops, pod.End);
        }
        else
        {
            supervisor.OrderAnew(snapshot);
        }

        if (facts is { IsTerminating: true })
        {
            supervisor._pod.BeginTermination(facts.TerminationGracePeriod, now);
        }

        supervisor.Relist(snapshot, now);
        foreach (Lineage lineage in supervisor._lineages.Values)
        {
            lineage.Settle(now);
        }

        supervisor._teardown.Settle(now);
        supervisor.StopAbandonedSandbox(snapshot);
        return (supervisor, supervisor.Take(now));
    }

    private void Relist(SandboxSnapshot snapshot, DateTimeOffset now)
    {
        if (_pod.IsSandboxReady != snapshot.IsReady)
        {
            _pod.IsSandboxReady = snapshot.IsReady;
        }

        if (snapshot.Grace is { } grace && grace != _pod.AnnotatedGrace)
        {
            _pod.AnnotatedGrace = grace;
            _pod.IsChanged = true;
        }

        ILookup<string, SeenContainer> byName = snapshot.Containers.ToLookup(c => c.Name, StringComparer.Ordinal);
        foreach (IGrouping<string, SeenContainer> containers in byName.OrderBy(g => g.Min(c => c.CreatedAt)))
        {
            _ = Of(containers.Key);
        }

        foreach (Lineage lineage in _lineages.Values)
        {
            lineage.Relisted([.. byName[lineage.Name]], snapshot.AskedAt, now);
        }

        CountLostCompletions();
        RecheckAll(false, now);
        StopAbandonedSandbox(snapshot);
    }

    /// <summary>
    /// The start order went with the pod's record. The spec has it; what no spec names comes after, by the oldest instance that is known: where first
    /// instances are gone, too, this is the best there is.
    /// </summary>
    private void OrderAnew(SandboxSnapshot snapshot)
    {
        string[] spec = [.. _pod.Facts?.Containers.Where(c => c.Role != ContainerRole.Ephemeral).Select(c => c.Name) ?? []];
        ILookup<string, SeenContainer> seen = snapshot.Containers.Where(c => c.State != BackendState.Created).ToLookup(c => c.Name, StringComparer.Ordinal);
        IEnumerable<(string Name, DateTimeOffset At)> started = _lineages.Values.Where(lineage => lineage.OldestAt is not null)
            .Select(lineage => (lineage.Name, lineage.OldestAt!.Value))
            .Concat(seen.Select(containers => (containers.Key, containers.Min(c => c.CreatedAt))));
        foreach ((string name, _) in started.OrderBy(one => Array.IndexOf(spec, one.Name) is var place && place < 0 ? spec.Length : place).ThenBy(one => one.At))
        {
            _pod.NoteStart(name);
        }
    }

    /// <summary>Its end is over, it was to be stopped, and whoever was to do that has gone.</summary>
    private void StopAbandonedSandbox(SandboxSnapshot snapshot)
    {
        if (_pod.IsSandboxStopping && snapshot.IsReady && _teardown is { IsEnding: true, IsOver: true })
        {
            _pod.Commands.Add(new StopSandbox());
        }
    }
}
