using CriShim.Containerd.Runtime;
using CriShim.Node.Journal;
using CriShim.Protocol.Admin.V1;
using CriShim.Supervision;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using ContainerStats = CriShim.Protocol.Runtime.V1.ContainerStats;
using ListContainerStatsResponse = CriShim.Protocol.Runtime.V1.ListContainerStatsResponse;
using VersionResponse = CriShim.Protocol.Runtime.V1.VersionResponse;

namespace CriShim.Node.Reports;

/// <summary>What people's tools are told of a node's pods.</summary>
public sealed class NodeReports : INodeReports
{
    /// <summary>Pods of one answer.</summary>
    public const int MaxPods = 2_000;

    /// <summary>Events of one answer.</summary>
    public const int MaxEvents = 1_000;

    private const int LeastIdLength = 4;
    private const int MaxCandidates = 20;
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);

    private readonly NodeSupervision _node;
    private readonly RuntimeAdapter _backend;

    internal NodeReports(NodeSupervision node, RuntimeAdapter backend)
    {
        _node = node;
        _backend = backend;
    }

    /// <inheritdoc/>
    public (int Pods, int Sidecars) Count()
    {
        int pods = 0;
        int sidecars = 0;
        foreach (SupervisedPod pod in _node.All)
        {
            PodView view = pod.View();
            pods += view.IsSandboxReady ? 1 : 0;
            sidecars += SidecarsOf(view);
        }

        return (pods, sidecars);
    }

    /// <inheritdoc/>
    public async Task<(string Name, string Version)?> BackendAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        try
        {
            CallResult<VersionResponse> answer = await _backend.VersionAsync(limit.Token).ConfigureAwait(false);
            return answer.Value is { } version ? (version.RuntimeName, version.RuntimeVersion) : null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    public async Task<ListPodsResponse> ListAsync(bool withUsage, CancellationToken cancellationToken)
    {
        IReadOnlyDictionary<string, Resources>? usage = withUsage ? await UsageAsync(cancellationToken).ConfigureAwait(false) : null;
        SupervisedPod[] pods = [.. ByName()];
        var answer = new ListPodsResponse { IsTruncated = pods.Length > MaxPods };
        foreach (SupervisedPod pod in pods.Take(MaxPods))
        {
            answer.Pods.Add(Report(pod, pod.View(), usage, PodReport.AttemptsInLists));
        }

        return answer;
    }

    /// <inheritdoc/>
    public NodePage Page(int mostPods, int mostEvents)
    {
        // Sorting keeps the order of what is equal: among those in trouble, and among the others, it is that of their names.
        (SupervisedPod Pod, PodView View, HashSet<string> Down)[] all =
        [
            .. ByName().Select(pod => (Pod: pod, View: pod.View())).Select(one => (one.Pod, one.View, Down: DownIn(one.View)))
                .OrderByDescending(one => one.Down.Count > 0)
                .ThenByDescending(one => one.View is { IsLeaving: true, IsSandboxReady: true }),
        ];
        return new NodePage(
            [
                .. all.Take(mostPods).Select(one =>
                {
                    IReadOnlyList<Happening> trail = _node.Journal.Of(one.Pod.Identity.SandboxId);
                    Pod pod = WithoutFigures(one.Pod, one.View);
                    return new PodPage(
                        pod, one.Down, PodTimeline.Build(pod, one.Pod.Identity.InJournal, trail, _node.Now),
                        [.. Told(trail).TakeLast(mostEvents).Select(ToMessage)]);
                }),
            ],
            all.Length,
            all.Sum(one => SidecarsOf(one.View)),
            all.Sum(one => one.Down.Count));
    }

    /// <inheritdoc/>
    public async Task<ExplainResponse> ExplainAsync(string subject, CancellationToken cancellationToken)
    {
        Subject found = Find(subject);
        var answer = new ExplainResponse { Container = found.Container, IsGone = found.Pod is null };
        if (found.Pod is { } pod)
        {
            IReadOnlyDictionary<string, Resources>? usage = await UsageAsync(cancellationToken).ConfigureAwait(false);
            PodView view = pod.View();
            answer.Pod = Report(pod, view, usage, int.MaxValue);
            answer.Statements.AddRange(Explanation.Build(
                answer.Pod, view, _node.Options.Mode, _node.Options.IsSpecSourceConfigured, _node.Drain.IsDraining, found.Container));
        }
        else
        {
            answer.Pod = new Pod { Namespace = found.Name.Namespace, Name = found.Name.Name, Uid = found.Name.Uid, SandboxId = found.Name.SandboxId };
            answer.Statements.Add(new Statement { Text = "its sandbox is gone; this is what is still remembered of it" });
        }

        answer.Trail.AddRange(Told(_node.Journal.Of(found.Name.SandboxId)).Where(one => Concerns(one, found.Container)).Select(ToMessage));
        return answer;
    }

    /// <inheritdoc/>
    public GetTimelineResponse Timeline(string subject)
    {
        Subject found = Find(subject);
        Pod? pod = found.Pod is { } supervised ? WithoutFigures(supervised, supervised.View()) : null;
        return PodTimeline.Build(pod, found.Name, _node.Journal.Of(found.Name.SandboxId), _node.Now);
    }

    /// <inheritdoc/>
    public async Task<GetEventsResponse> EventsAsync(long cursor, TimeSpan wait, string subject, CancellationToken cancellationToken)
    {
        Subject? only = subject.Length > 0 ? Find(subject) : null;
        long began = _node.Time.GetTimestamp();
        wait = wait < LongestWait ? wait : LongestWait;
        var answer = new GetEventsResponse { Cursor = cursor };
        while (true)
        {
            (IReadOnlyList<Happening> happenings, long next, bool isGap) = _node.Journal.After(answer.Cursor, MaxEvents);
            answer.Cursor = next;
            answer.IsGap |= isGap;
            answer.Events.AddRange(happenings
                .Where(one => only is null || (one.Pod.SandboxId == only.Name.SandboxId && Concerns(one, only.Container))).Select(ToMessage));
            TimeSpan left = wait - _node.Time.GetElapsedTime(began);
            if (answer.Events.Count > 0 || (happenings.Count < MaxEvents && left <= TimeSpan.Zero))
            {
                return answer;
            }

            if (happenings.Count < MaxEvents)
            {
                await _node.Journal.NewsAfter(next).WaitAsync(left, _node.Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                cancellationToken.ThrowIfCancellationRequested();
            }
        }
    }

    /// <summary>A container for crictl, as JSON; null where it is not known.</summary>
    internal string? DescribeContainer(SupervisedPod pod, string name)
    {
        Pod report = Report(pod, pod.View(), null, int.MaxValue);
        if (report.Containers.FirstOrDefault(one => one.Name == name) is not { } container)
        {
            return null;
        }

        return ReportJson.Text(json => ReportJson.Write(json, report, container));
    }

    /// <summary>A pod for crictl, as JSON.</summary>
    internal string DescribePod(SupervisedPod pod)
    {
        Pod report = Report(pod, pod.View(), null, int.MaxValue);
        return ReportJson.Text(json => ReportJson.Write(json, report));
    }

    /// <summary>The node for crictl, as JSON.</summary>
    internal string DescribeNode()
    {
        (int pods, int sidecars) = Count();
        return ReportJson.Text(json =>
        {
            json.WriteStartObject();
            json.WriteString("version", _node.Options.Version);
            json.WriteString("backend", $"unix://{_node.Options.BackendSocketPath}");
            json.WriteString("supervisionMode", _node.Options.Mode.ToString().ToLowerInvariant());
            json.WriteBoolean("podSpecSource", _node.Options.IsSpecSourceConfigured);
            json.WriteBoolean("draining", _node.Drain.IsDraining);
            json.WriteNumber("pods", pods);
            json.WriteNumber("sidecars", sidecars);
            json.WriteEndObject();
        });
    }

    /// <summary>As the admin socket tells it.</summary>
    public static Event ToMessage(Happening happening) => new()
    {
        At = Timestamp.FromDateTimeOffset(happening.At),
        Kind = happening.Kind,
        Namespace = happening.Pod.Namespace,
        Pod = happening.Pod.Name,
        SandboxId = happening.Pod.SandboxId,
        Container = happening.Container ?? "",
        ContainerId = happening.ContainerId ?? "",
        Text = happening.Words,
        IsWarning = happening.IsWarning,
    };

    private IOrderedEnumerable<SupervisedPod> ByName() => _node.All
        .OrderBy(pod => pod.Identity.Namespace, StringComparer.Ordinal).ThenBy(pod => pod.Identity.Name, StringComparer.Ordinal)
        .ThenBy(pod => pod.AddedAt);

    /// <summary>How many sidecars a pod has that is ready.</summary>
    private static int SidecarsOf(PodView view) => view.IsSandboxReady ? view.Containers.Count(container => container.Lineage.Kind.IsSidecar()) : 0;

    /// <summary>Names of the sidecars that should run, and do not.</summary>
    private static HashSet<string> DownIn(PodView view) =>
        view is { IsSandboxReady: true, HaveMainsCompleted: false, IsLeaving: false }
            ? [.. view.Containers.Select(container => container.Lineage).Where(lineage => lineage.Kind.IsSidecar()
                && lineage.State is not (LineageState.Running or LineageState.Created or LineageState.Absent)).Select(lineage => lineage.Name)]
            : [];

    /// <summary>Figures would be read from as many files as the pod has containers.</summary>
    private static Pod WithoutFigures(SupervisedPod pod, PodView view) =>
        PodReport.Build(pod.Identity, view, null, static _ => new Resources(), null, int.MaxValue);

    /// <summary>A story says once what the journal has twice: as a fact, and as a part of what was decided about it.</summary>
    private static IEnumerable<Happening> Told(IReadOnlyList<Happening> trail)
    {
        var decided = trail.Where(one => one is RestartDecided or LeftAlone or SidecarGivenUp).Select(one => one.ContainerId).ToHashSet();
        var restored = trail.Where(one => one is SidecarRestored).Select(one => one.ContainerId).ToHashSet();
        return trail.Where(one => one switch
        {
            SidecarBackOff or StopSent { HasFailedToStart: true } => false,
            ContainerEnded => !decided.Contains(one.ContainerId),
            Journal.ContainerStarted { IsReplacement: true } => !restored.Contains(one.ContainerId),
            _ => true,
        });
    }

    private static bool Concerns(Happening happening, string container) =>
        container.Length == 0 || happening.Container is null || happening.Container == container;

    private Pod Report(SupervisedPod pod, PodView view, IReadOnlyDictionary<string, Resources>? usage, int attempts) => PodReport.Build(
        pod.Identity, view, _node.SpecSourceOf(pod.Identity), name => PodFigures.Of(
            _node.Store.ReadCreateRequest(pod.Identity.SandboxId, name)?.Config?.Linux?.Resources,
            _node.Store.ReadResources(pod.Identity.SandboxId, name)?.Linux),
        usage, attempts);

    private async Task<IReadOnlyDictionary<string, Resources>> UsageAsync(CancellationToken cancellationToken)
    {
        CallResult<ListContainerStatsResponse> answer = await _backend.ListContainerStatsAsync(null, cancellationToken).ConfigureAwait(false);
        var usage = new Dictionary<string, Resources>(StringComparer.Ordinal);
        foreach (ContainerStats stats in answer.Value?.Stats ?? [])
        {
            var used = new Resources();
            if (stats.Cpu?.UsageNanoCores is { } cores)
            {
                used.CpuUsage = cores.Value / 1e9;
            }

            if (stats.Memory?.WorkingSetBytes is { } bytes)
            {
                used.MemoryUsage = (long)bytes.Value;
            }

            usage[stats.Attributes?.Id ?? ""] = used;
        }

        return usage;
    }

    // ---- Which pod is meant ------------------------------------------------------------------------------------------

    private Subject Find(string subject)
    {
        string[] parts = subject.Split('/');
        Subject[] all = [.. Known()];
        Subject[] found = parts.Length switch
        {
            1 => [.. all.Where(one => IsCalled(one, parts[0]))],
            2 => [.. all.Where(one => one.Name.Namespace == parts[0] && one.Name.Name == parts[1])],
            3 => [.. all.Where(one => one.Name.Namespace == parts[0] && one.Name.Name == parts[1]).Select(one => one with { Container = parts[2] })],
            _ => [],
        };
        if (parts.Length == 2 && found.Length == 0)
        {
            found = [.. all.Where(one => IsCalled(one, parts[0])).Select(one => one with { Container = parts[1] })];
        }

        // A pod can have a sandbox, and one from before: the one that is ready is meant, or else the last.
        Subject[] pods = [.. found.GroupBy(one => (one.Name.Namespace, one.Name.Name))
            .Select(group => group.OrderBy(one => one.IsReady).ThenBy(one => one.Pod is not null).ThenBy(one => one.Order).Last())];
        if (pods.Length == 0)
        {
            throw new RpcException(new Status(
                StatusCode.NotFound,
                $"no pod {Shown(subject)} is known: give its name, namespace/name, or the beginning of its sandbox's id; 'crishim pods' lists all"));
        }

        if (pods.Length > 1)
        {
            IEnumerable<string> names = pods.Take(MaxCandidates).Select(one => $"{one.Name} ({ReportText.Start(one.Name.SandboxId)})");
            throw new RpcException(new Status(
                StatusCode.FailedPrecondition,
                $"{pods.Length} pods are called {Shown(subject)}: {string.Join(", ", names)}{(pods.Length > MaxCandidates ? ", ..." : "")}"));
        }

        Subject pod = pods[0];
        if (pod.Container.Length > 0 && !ContainersOf(pod).Contains(pod.Container))
        {
            throw new RpcException(new Status(
                StatusCode.NotFound,
                $"pod {pod.Name} has no container {Shown(pod.Container)}: it has {string.Join(", ", ContainersOf(pod).Order(StringComparer.Ordinal))}"));
        }

        return pod;
    }

    private HashSet<string> ContainersOf(Subject subject)
    {
        var names = new HashSet<string>(StringComparer.Ordinal);
        names.UnionWith(_node.Journal.Of(subject.Name.SandboxId).Select(one => one.Container).OfType<string>());
        if (subject.Pod?.View() is { } view)
        {
            names.UnionWith(view.Containers.Select(container => container.Lineage.Name));
            names.UnionWith((view.Facts?.Containers ?? []).Select(container => container.Name));
        }

        return names;
    }

    private IEnumerable<Subject> Known()
    {
        long order = 0;
        foreach (PodName gone in _node.Journal.Gone)
        {
            yield return new Subject(gone, null, "", false, order++);
        }

        foreach (SupervisedPod pod in _node.All)
        {
            yield return new Subject(pod.Identity.InJournal, pod, "", pod.IsReady, pod.AddedAt.UtcTicks);
        }
    }

    private static bool IsCalled(Subject subject, string name) =>
        subject.Name.Name == name || (name.Length >= LeastIdLength && subject.Name.SandboxId.StartsWith(name, StringComparison.Ordinal));

    /// <summary>What somebody typed, bounded and on one line.</summary>
    private static string Shown(string text) => $"\"{UntrustedText.Replace(text.Length > 80 ? text[..80] : text, '?')}\"";

    /// <param name="Name">The pod.</param>
    /// <param name="Pod">Its supervisor; null: the sandbox is gone.</param>
    /// <param name="Container">The container; empty: the pod.</param>
    /// <param name="IsReady">The sandbox is.</param>
    /// <param name="Order">The larger, the later it came.</param>
    private sealed record Subject(PodName Name, SupervisedPod? Pod, string Container, bool IsReady, long Order);
}
