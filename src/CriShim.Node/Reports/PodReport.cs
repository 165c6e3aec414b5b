using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;
using Google.Protobuf.WellKnownTypes;

namespace CriShim.Node.Reports;

/// <summary>Puts what is known of a pod into a message for people's tools.</summary>
internal static class PodReport
{
    /// <summary>Attempts of each container in lists of pods; asked for alone, a pod has all that are known.</summary>
    public const int AttemptsInLists = 5;

    /// <param name="identity">Which pod.</param>
    /// <param name="view">All that its supervisor knows.</param>
    /// <param name="source">The pod spec source that knows it.</param>
    /// <param name="figures">Requests and limits of a container, by name.</param>
    /// <param name="usage">Live usage by container id; null: not asked for.</param>
    /// <param name="attempts">How many attempts of each container at most.</param>
    public static Pod Build(
        PodIdentity identity, PodView view, string? source, Func<string, Resources> figures,
        IReadOnlyDictionary<string, Resources>? usage, int attempts = int.MaxValue)
    {
        var pod = new Pod
        {
            Namespace = identity.Namespace,
            Name = identity.Name,
            Uid = identity.Uid,
            SandboxId = identity.SandboxId,
            IsReady = view.IsSandboxReady,
            RestartPolicy = view.RestartPolicy?.ToString() ?? "",
            SpecSource = source ?? "",
            IsLeftAlone = view.Annotation.IsSuperviseOff,
            HaveMainsCompleted = view.HaveMainsCompleted,
            Teardown = TeardownOf(view),
        };
        pod.AnnotationErrors.AddRange(view.AnnotationErrors.Select(error => $"{error.Place} {error.Allowed}"));
        foreach ((string name, ContainerView? container) in InOrder(view))
        {
            Container built = ContainerOf(name, container, view, attempts);
            built.Resources = figures(name);
            if (usage is not null && usage.TryGetValue(built.ContainerId, out Resources? used))
            {
                AddUsage(built.Resources, used);
            }

            pod.Containers.Add(built);
        }

        AddFigures(pod);
        return pod;
    }

    private static void AddFigures(Pod pod)
    {
        // Whether a container ran before the others or beside them, only the spec tells.
        Container[] counted = [.. pod.Containers.Where(container => container.Role != "ephemeral")];
        bool isKnown = counted.All(container => container.Role != "unknown");
        pod.Resources = isKnown ? PodFigures.Sum(counted.Select(container => (PartOf(container, asKubelet: false), container.Resources))) : new Resources();
        foreach (Container container in pod.Containers)
        {
            AddUsage(pod.Resources, container.Resources);
        }

        if (isKnown && counted.Any(container => container.Kind == "emulated"))
        {
            pod.KubeletResources = PodFigures.Sum(counted.Select(container => (PartOf(container, asKubelet: true), container.Resources)));
        }
    }

    private static PodPart PartOf(Container container, bool asKubelet) => (container.Role, container.Kind) switch
    {
        ("init", _) => PodPart.Init,
        ("sidecar", "native") => PodPart.Sidecar,
        ("sidecar", "emulated") => asKubelet ? PodPart.Init : PodPart.Sidecar,
        _ => PodPart.Main,
    };

    private static void AddUsage(Resources to, Resources used)
    {
        if (used.HasCpuUsage)
        {
            to.CpuUsage = (to.HasCpuUsage ? to.CpuUsage : 0) + used.CpuUsage;
        }

        if (used.HasMemoryUsage)
        {
            to.MemoryUsage = (to.HasMemoryUsage ? to.MemoryUsage : 0) + used.MemoryUsage;
        }
    }

    private static IEnumerable<(string Name, ContainerView? Container)> InOrder(PodView view)
    {
        var rest = view.Containers.ToDictionary(container => container.Lineage.Name, StringComparer.Ordinal);
        foreach (string name in (view.Facts?.Containers ?? []).Select(facts => facts.Name).Distinct(StringComparer.Ordinal))
        {
            _ = rest.Remove(name, out ContainerView? container);
            yield return (name, container);
        }

        foreach (string name in rest.Keys.OrderBy(name => IndexOf(view.StartOrder, name)).ThenBy(name => name, StringComparer.Ordinal))
        {
            yield return (name, rest[name]);
        }
    }

    private static int IndexOf(IReadOnlyList<string> order, string name)
    {
        for (int i = 0; i < order.Count; i++)
        {
            if (order[i] == name)
            {
                return i;
            }
        }

        return int.MaxValue;
    }

    private static TeardownState? TeardownOf(PodView view)
    {
        if (!view.IsLeaving)
        {
            return null;
        }

        return new TeardownState
        {
            BeganAt = TimeOf(view.TerminatingSince),
            Deadline = TimeOf(view.Deadline),
            IsSandboxEnd = view.IsEnding,
            State = !view.IsSandboxReady ? "ended" : view.IsSandboxStopping ? "stopping sandbox" : "ending",
            Running = { view.Running },
        };
    }

    private static Container ContainerOf(string name, ContainerView? container, PodView view, int attempts)
    {
        SidecarRequest? request = view.Annotation.Find(name);
        SidecarKind kind = container?.Lineage.Kind ?? SidecarKinds.Tell(name, view.Facts, request, specSourceConfigured: true);
        var built = new Container
        {
            Name = name,
            Role = RoleOf(name, kind, view.Facts),
            Kind = kind switch
            {
                SidecarKind.Native => "native",
                SidecarKind.Emulated => "emulated",
                SidecarKind.Adopted => "adopted",
                SidecarKind.OrderedOnly => "ordered",
                _ => "",
            },
            KnownBy = (view.Facts is not null && Find(name, view.Facts) is not null, request is not null) switch
            {
                (true, true) => "pod spec and annotation",
                (true, false) => "pod spec",
                (false, true) => "annotation",
                _ => "",
            },
            State = "absent",
            Attempt = -1,
        };
        if (request is { TeardownReserve: var reserve } && reserve > TimeSpan.Zero)
        {
            built.Reserve = Duration.FromTimeSpan(reserve);
        }

        if (container is null)
        {
            return built;
        }

        LineageView lineage = container.Lineage;
        built.ContainerId = lineage.CurrentId ?? "";
        built.Attempt = lineage.Attempt ?? -1;
        built.Deaths = lineage.Tally.Total;
        built.NextRestart = TimeOf(lineage.Due);
        built.ShownCompletedAt = TimeOf(lineage.CompletedAt);
        built.ShownId = lineage.CompletedId ?? "";
        built.DeathsInRow = lineage.Streak;
        built.FailedTries = lineage.FailedTries;
        built.IsGating = container.IsGating;
        built.Stop = container.Stop switch
        {
            StopStage.Held => "held",
            StopStage.Forwarded => "forwarded",
            StopStage.Ending => "ending",
            _ => "",
        };
        built.Notes.AddRange(lineage.Notes.Select(note => $"{note.Place} {note.Allowed}"));
        Attempt[] all = [.. AttemptsOf(container)];
        built.Attempts.AddRange(all.TakeLast(attempts));
        // What is shown of an emulated one is not what became of it.
        bool isCompleted = kind != SidecarKind.Emulated && all.Any(attempt => attempt.ContainerId == built.ContainerId && attempt.IsShownCompleted);
        built.State = StateOf(lineage.State, isCompleted);
        if (built.Kind.Length > 0 || kind == SidecarKind.Unknown)
        {
            bool isEnding = view.TerminatingSince is not null || view.IsEnding;
            bool runs = built.State is "running" or "created" or "absent";
            built.Why = !runs && lineage.RestReason is { } rest ? HappeningText.Why(HappeningText.AtThePodsEnd(rest, isEnding)) : "";
            built.WouldNotRestart = built is { State: "running", Stop: "" } && lineage.WouldStandDown is { } why
                ? HappeningText.Why(HappeningText.AtThePodsEnd(why, isEnding))
                : "";
        }

        return built;
    }

    private static string RoleOf(string name, SidecarKind kind, PodFacts? facts) => kind switch
    {
        SidecarKind.OrderedOnly => "sidecar",
        _ when kind.IsSidecar() => "sidecar",
        _ when facts is not null => Find(name, facts)?.Role switch
        {
            ContainerRole.Init => "init",
            ContainerRole.RestartableInit => "sidecar",
            ContainerRole.Plain => "main",
            // What a known spec does not name was added later.
            _ => "ephemeral",
        },
        _ => "unknown",
    };

    private static ContainerFacts? Find(string name, PodFacts facts) => facts.Containers.FirstOrDefault(one => one.Name == name);

    private static string StateOf(LineageState state, bool isCompleted) => state switch
    {
        LineageState.Absent => "absent",
        LineageState.Created => "created",
        LineageState.Running => "running",
        LineageState.Undecided or LineageState.Resting => isCompleted ? "completed" : "exited",
        LineageState.BackingOff => "backing off",
        _ => "restarting",
    };

    /// <summary>Instances that are kept, and, of those that are gone, what is known of their deaths.</summary>
    private static IEnumerable<Attempt> AttemptsOf(ContainerView container)
    {
        var deaths = new Dictionary<string, RestartDecision>(StringComparer.Ordinal);
        foreach (RestartDecision death in container.Lineage.Tally.Deaths)
        {
            deaths[death.ContainerId] = death;
        }

        var attempts = new List<Attempt>();
        foreach (InstanceView instance in container.Instances)
        {
            _ = deaths.Remove(instance.Id, out RestartDecision? death);
            var attempt = new Attempt
            {
                Attempt_ = instance.Attempt,
                ContainerId = instance.Id,
                CreatedAt = TimeOf(instance.CreatedAt),
                StartedAt = TimeOf(instance.StartedAt),
                State = instance.IsRemoved ? "removed" : instance.IsDead ? "exited" : instance.StartedAt is null ? "created" : "running",
                IsOurs = instance.IsOurs,
                IsShownCompleted = instance.IsShownCompleted,
                IsHidden = instance.IsHidden,
            };
            AddEnd(attempt, death, instance.Exit);
            attempts.Add(attempt);
        }

        attempts.AddRange(deaths.Values.Select(death =>
        {
            var attempt = new Attempt { Attempt_ = death.Attempt, ContainerId = death.ContainerId, State = "removed" };
            AddEnd(attempt, death, null);
            return attempt;
        }));
        return attempts.OrderBy(attempt => attempt.Attempt_);
    }

    private static void AddEnd(Attempt attempt, RestartDecision? death, ContainerExit? exit)
    {
        if ((exit?.ExitCode ?? death?.ExitCode) is { } code)
        {
            attempt.ExitCode = code;
        }

        attempt.FinishedAt = TimeOf(exit?.FinishedAt ?? death?.FinishedAt);
        attempt.IsOutOfMemory = exit?.OutOfMemory ?? death?.Cause == DeathCause.OutOfMemory;
        if (death is not null && death.Reason != StandDownReason.NotASidecar)
        {
            attempt.Decision = HappeningText.Decision(death);
        }
    }

    internal static Timestamp? TimeOf(DateTimeOffset? at) => at is { } time ? Timestamp.FromDateTimeOffset(time) : null;
}
