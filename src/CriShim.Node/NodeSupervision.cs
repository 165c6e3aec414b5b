using System.Collections.Concurrent;
using System.Globalization;
using CriShim.Containerd.Events;
using CriShim.Containerd.Runtime;
using CriShim.Discovery;
using CriShim.Linux.Files;
using CriShim.Node.Draining;
using CriShim.Node.Journal;
using CriShim.Node.Probes;
using CriShim.Node.Reports;
using CriShim.Node.State;
using CriShim.Node.Teardown;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using Google.Protobuf.Collections;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace CriShim.Node;

/// <summary>
/// The supervision of one node: a supervisor for each pod sandbox, told by callers' calls, the backend's events, lists, and pod spec
/// sources.
/// </summary>
/// <remarks>
/// <para>
/// Starting: the proxy serves from the first moment. Records are read, then the backend is listed as soon as it is there; until then
/// calls that supervision has a say in wait for a moment, and then go through.
/// </para>
/// <para>
/// A death is seen by an event, milliseconds after it. A list, a status, or a STOPPED event of the backend may be quicker; so these are
/// looked into while any sidecar runs that would be restarted, and tell of its death before they are shown.
/// </para>
/// </remarks>
public sealed partial class NodeSupervision : ISupervision, IAsyncDisposable
{
    /// <summary>How long a stop waits for calls to the backend that are under way: creating and starting take it a tenth of a second.</summary>
    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(3);

    private const string ConfigSourceAnnotation = "kubernetes.io/config.source";
    private const string GraceAnnotation = "io.kubernetes.pod.terminationGracePeriod";
    private static readonly TimeSpan FirstRelistDelay = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestRelistDelay = TimeSpan.FromSeconds(2);

    /// <summary>Between two looks at what is held, whether anything has changed or not.</summary>
    private static readonly TimeSpan LongestHold = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, SupervisedPod> _pods = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, TrackedContainer> _containers = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string SandboxId, string Name), RequestsBefore> _replacedRequests = new();
    private readonly ConcurrentDictionary<string, TimeSpan> _stoppedUnknown = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _sandboxesStoppedUnknown = new(StringComparer.Ordinal);
    private readonly Lock _slots = new();
    private readonly NodeRestartLimit _limit;
    private readonly ITimer _slotTimer;
    private readonly RuntimeAdapter _backend;
    private readonly Prober _prober;
    private readonly ContainerdEvents _events;
    private readonly PodFactsIndex? _facts;
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource _known = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile IReadOnlyDictionary<string, StoredSandbox>? _stored;
    private Task _running = Task.CompletedTask;
    private readonly SteadyClock _clock;
    private volatile bool _hasEnded;
    private int _podsWithViews;
    private int _podsWithAliases;
    private int _podsWithSidecars;
    private int _hooks;

    /// <summary>Opens the state folder; nothing runs until <see cref="Start"/>.</summary>
    /// <param name="options">Validated.</param>
    /// <param name="facts">What the pod spec sources know; null without any.</param>
    /// <param name="loggers">Where it logs.</param>
    /// <param name="time">The clock.</param>
    /// <exception cref="IOException">The state folder can't be made.</exception>
    public NodeSupervision(SupervisionOptions options, PodFactsIndex? facts, ILoggerFactory loggers, TimeProvider time)
    {
        Options = options;
        Time = time;
        _clock = new SteadyClock(time);
        _facts = facts;
        ILogger logger = loggers.CreateLogger("CriShim.Supervision");
        Log = new NodeLog(logger);
        Journal = new NodeJournal(Log, options.Listeners, time, _pods.ContainsKey);
        _logger = logger;
        Store = new StateStore(options.StateDirectory, logger);
        _limit = new NodeRestartLimit(options.Restart.NodeLimit, Now);
        _slotTimer = time.CreateTimer(static state => ((NodeSupervision)state!).GrantSlots(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _backend = new RuntimeAdapter(new RuntimeAdapterOptions { SocketPath = options.BackendSocketPath }, logger, time);
        _events = new ContainerdEvents(new ContainerdEventsOptions { SocketPath = options.BackendSocketPath }, logger, time);
        Reports = new NodeReports(this, _backend);
        Endings = new Endings(this, _backend);
        _prober = new Prober(_backend, time);
        Probing = new StartupProbing(this, _backend, _prober);
        Completions = new Completions(this, _backend);
        Replacements = new Replacements(this, _backend, new ContainerFiles(options.Files));

        // Calls are refused from the first one on; pods are ended once their records are read.
        Drain = new NodeDrain(
            new OrderedTeardown(
                async () => _known.Task.IsCompleted && await RelistAllAsync().ConfigureAwait(false) ? _pods.Values : null,
                sandboxId => _pods.GetValueOrDefault(sandboxId)),
            Store, logger, time);
        Drain.Start();
    }

    /// <summary>Ends all pods of the node, when an operator or the node's shutdown says so.</summary>
    public NodeDrain Drain { get; }

    /// <summary>What supervision does, decides and sees.</summary>
    public NodeJournal Journal { get; }

    /// <summary>What people's tools ask.</summary>
    public NodeReports Reports { get; }

    internal SupervisionOptions Options { get; }

    internal TimeProvider Time { get; }

    internal NodeLog Log { get; }

    internal StateStore Store { get; }

    internal Replacements Replacements { get; }

    internal Endings Endings { get; }

    internal StartupProbing Probing { get; }

    internal Completions Completions { get; }

    internal CancellationToken Stopping => _stopping.Token;

    /// <summary>Calls that still were under way are cut off now: their failure says nothing, and the records stand as they are.</summary>
    internal bool HasEnded => _hasEnded;

    internal bool IsStopping => _stopping.IsCancellationRequested;

    /// <summary>See <see cref="SteadyClock"/>.</summary>
    internal DateTimeOffset Now => _clock.Now;

    /// <inheritdoc/>
    public bool RewritesViews => Volatile.Read(ref _podsWithViews) > 0 || MayHide;

    /// <inheritdoc/>
    public bool WatchesEnds => Volatile.Read(ref _podsWithSidecars) > 0;

    /// <inheritdoc/>
    public bool MapsIds => Volatile.Read(ref _podsWithAliases) > 0;

    /// <inheritdoc/>
    public bool WatchesHooks => Volatile.Read(ref _hooks) > 0;

    /// <summary>Something may be hidden that the backend shows: the records are still to be read, or to be compared with what is there.</summary>
    private bool MayHide => !_known.Task.IsCompleted && _stored is not { Count: 0 };

    /// <summary>Reads the records and begins to watch the backend.</summary>
    public void Start()
    {
        _stored = Store.Load().ToDictionary(sandbox => sandbox.SandboxId, StringComparer.Ordinal);
        if (_facts is not null)
        {
            _facts.Changed += OnFactsChanged;
        }

        _running = Task.WhenAll(
            Task.Run(() => _events.RunAsync(Stopping)),
            Task.Run(ConsumeEventsAsync),
            RelistAtIntervalsAsync(),
            CareForMaskedAsync());
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_facts is not null)
        {
            _facts.Changed -= OnFactsChanged;
        }

        await Drain.DisposeAsync().ConfigureAwait(false);
        await _stopping.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _slotTimer.DisposeAsync().ConfigureAwait(false);
        await Task.WhenAny(Task.WhenAll(_pods.Values.Select(pod => pod.DrainAsync())), Task.Delay(DrainTime, Time, CancellationToken.None))
            .ConfigureAwait(false);
        _hasEnded = true;
        foreach (SupervisedPod pod in _pods.Values)
        {
            pod.Dispose();
        }

        _prober.Dispose();
        _backend.Dispose();
        _stopping.Dispose();
    }

    // ---- For pods ----------------------------------------------------------------------------------------------------

    /// <param name="containerId">The container.</param>
    /// <param name="pod">Its pod.</param>
    /// <param name="name">Its name.</param>
    /// <param name="attempt">Its attempt.</param>
    /// <param name="annotations">Its annotations, where they are at hand: they tell its hook.</param>
    internal void Track(string containerId, SupervisedPod pod, string name, int attempt, MapField<string, string>? annotations = null)
    {
        if (_containers.TryGetValue(containerId, out TrackedContainer? known) && (known.IsRead || annotations is null))
        {
            return;
        }

        PreStopHook? hook = annotations is null ? null : PreStopHook.Read(annotations);
        _containers[containerId] = new TrackedContainer(pod, name, attempt, annotations is not null, hook);
        if (hook is { IsCommand: true })
        {
            _ = Interlocked.Increment(ref _hooks);
        }
    }

    private static TimeSpan? GraceOf(MapField<string, string> annotations) =>
        annotations.TryGetValue(GraceAnnotation, out string? grace)
        && long.TryParse(grace, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) && seconds <= int.MaxValue
            ? TimeSpan.FromSeconds(seconds)
            : null;

    internal PreStopHook? HookOf(string containerId) => _containers.GetValueOrDefault(containerId)?.Hook;

    internal void AskSlot(string sandboxId, string lineage)
    {
        lock (_slots)
        {
            _limit.Ask(sandboxId, lineage);
            ScheduleSlots();
        }
    }

    internal void CancelSlot(string sandboxId, string lineage)
    {
        lock (_slots)
        {
            _limit.Cancel(sandboxId, lineage);
        }
    }

    internal void Forget(SupervisedPod pod)
    {
        string sandboxId = pod.Identity.SandboxId;
        _ = _pods.TryRemove(new KeyValuePair<string, SupervisedPod>(sandboxId, pod));
        foreach ((string id, TrackedContainer container) in _containers)
        {
            if (ReferenceEquals(container.Pod, pod))
            {
                _ = _containers.TryRemove(id, out _);
                if (container.Hook is { IsCommand: true })
                {
                    _ = Interlocked.Decrement(ref _hooks);
                }
            }
        }

        pod.Dispose();
        Store.Forget(sandboxId);
        Journal.Forget(sandboxId);
    }

    /// <summary>A pod's part in what is asked for every call.</summary>
    internal void Count(PodNeeds before, PodNeeds now)
    {
        Count(ref _podsWithViews, before.RewritesViews, now.RewritesViews);
        Count(ref _podsWithAliases, before.MapsIds, now.MapsIds);
        Count(ref _podsWithSidecars, before.WatchesEnds, now.WatchesEnds);

        static void Count(ref int pods, bool before, bool now)
        {
            if (before != now)
            {
                _ = Interlocked.Add(ref pods, now ? 1 : -1);
            }
        }
    }

    /// <summary>Somebody follows events.</summary>
    internal bool AreEventsFollowed => EndMade is not null;

    /// <summary>What runs behind containers that callers are told have completed: the kubelet looks after neither its logs nor its resources.</summary>
    internal IReadOnlyList<MaskedContainer> MaskedContainers() => [.. _pods.Values.SelectMany(
        pod => pod.Masked.Select(masked => new MaskedContainer(pod.Identity, masked.Name, masked.InstanceId, masked.ShownId)))];

    internal void OnEndMade(ContainerEventResponse end) => EndMade?.Invoke(end);

    internal void OnViewChanged(string containerId) => ViewChanged?.Invoke(containerId);

    internal void OnRestored(PodIdentity pod, StartReplacement command, DateTimeOffset at)
    {
        LineageView? view = _pods.TryGetValue(pod.SandboxId, out SupervisedPod? supervised)
            ? supervised.Views().FirstOrDefault(lineage => lineage.Name == command.Lineage)
            : null;

        // What dies at once may have died again before the reply to its start.
        DateTimeOffset? ended = view?.Tally.Deaths.LastOrDefault(death => death.Attempt < command.Attempt)?.FinishedAt;
        Journal.Restored(
            pod.InJournal, command.Lineage, command.ContainerId, command.Attempt,
            ended is null ? null : at > ended.Value ? at - ended.Value : TimeSpan.Zero);
    }

    /// <summary>Lists one sandbox, and tells its supervisor.</summary>
    internal async Task RelistAsync(SupervisedPod pod)
    {
        string sandboxId = pod.Identity.SandboxId;
        DateTimeOffset askedAt = Now;
        CallResult<ListPodSandboxResponse> sandboxes =
            await _backend.ListPodSandboxAsync(new PodSandboxFilter { Id = sandboxId }, Stopping).ConfigureAwait(false);
        CallResult<ListContainersResponse> containers =
            await _backend.ListContainersAsync(new ContainerFilter { PodSandboxId = sandboxId }, Stopping).ConfigureAwait(false);
        if (sandboxes.Value is null || containers.Value is null)
        {
            return;
        }

        bool ready = sandboxes.Value.Items.Any(sandbox => sandbox.Id == sandboxId && sandbox.State == PodSandboxState.SandboxReady);
        pod.Tell(new SandboxRelisted(SnapshotOf(pod, ready, askedAt, containers.Value.Containers)));
    }

    // ---- Pods --------------------------------------------------------------------------------------------------------

    // What is no id the backend refuses: it is none of a pod's.
    private static string? NameOf(CreateContainerRequest request) =>
        StateStore.IsId(request.PodSandboxId) && request.Config?.Metadata?.Name is { Length: > 0 } name ? name : null;

    /// <summary>
    /// A caller's create is forwarded: from here on its request is what the lineage goes back to, also when crishim ends before the
    /// answer comes. A new create brings its own resources, too.
    /// </summary>
    private void RecordAhead(CreateContainerRequest request, string name, CreateContainerRequest? recorded)
    {
        string sandboxId = request.PodSandboxId;
        _ = _replacedRequests.TryAdd((sandboxId, name), new RequestsBefore(recorded, Store.ReadResources(sandboxId, name)));
        _ = Store.WriteCreateRequest(sandboxId, name, request);
        Store.ForgetResources(sandboxId, name);
    }

    /// <summary>The create was refused: the instance that is there is the one before.</summary>
    private void Restore(string sandboxId, string name, RequestsBefore before)
    {
        if (before.Create is null)
        {
            Store.ForgetCreateRequest(sandboxId, name);
        }
        else
        {
            _ = Store.WriteCreateRequest(sandboxId, name, before.Create);
        }

        if (before.Resources is not null)
        {
            _ = Store.WriteResources(sandboxId, name, before.Resources);
        }
    }

    private SupervisedPod GetOrAdd(string sandboxId, PodSandboxMetadata? metadata, MapField<string, string>? annotations)
    {
        if (_pods.TryGetValue(sandboxId, out SupervisedPod? known))
        {
            return known;
        }

        var identity = new PodIdentity(
            sandboxId, metadata?.Uid ?? "", metadata?.Namespace ?? "", metadata?.Name ?? "",
            annotations is not null && annotations.TryGetValue(ConfigSourceAnnotation, out string? source) ? source : null);
        SidecarAnnotation annotation = SidecarAnnotation.Parse(
            annotations is null ? new Dictionary<string, string>() : new Dictionary<string, string>(annotations));
        var fresh = new SupervisedPod(this, identity, annotation);
        SupervisedPod pod = _pods.GetOrAdd(sandboxId, fresh);
        if (!ReferenceEquals(pod, fresh))
        {
            fresh.Dispose();
            return pod;
        }

        if (SettingErrors.Summary(annotation.Errors) is { } wrong)
        {
            Journal.AnnotationWrong(identity.InJournal, wrong);
        }

        if (FactsOf(identity) is { } facts)
        {
            TellFacts(pod, facts);
        }

        return pod;
    }

    private PodFacts? FactsOf(PodIdentity pod) => _facts?.Find(pod.Uid, pod.Namespace, pod.Name, pod.ConfigSource)?.Facts;

    private void OnFactsChanged(PodFactsChange change)
    {
        if (change.IsRemoved)
        {
            // What was known of a pod stays true of its sandbox.
            return;
        }

        foreach (SupervisedPod pod in _pods.Values)
        {
            PodIdentity identity = pod.Identity;
            bool same = change.Identity == Discovery.PodIdentity.Uid
                ? identity.Uid == change.Facts.Uid
                : identity.Namespace == change.Facts.Namespace && identity.Name == change.Facts.Name;
            if (same && FactsOf(identity) is { } facts)
            {
                TellFacts(pod, facts);
            }
        }
    }

    private void TellFacts(SupervisedPod pod, PodFacts facts)
    {
        _ = Store.WriteFacts(pod.Identity.SandboxId, facts);
        if (pod.AnnotationFaultBy(facts) is { } wrong)
        {
            Journal.AnnotationWrong(pod.Identity.InJournal, wrong);
        }

        pod.Tell(new FactsChanged(facts));
    }

    private void Tell(string containerId, PodInput input)
    {
        if (_containers.TryGetValue(containerId, out TrackedContainer? container))
        {
            Tell(container.Pod, input);
        }
    }

    /// <summary>A fault in the supervision of one pod ends neither the others' nor the loop that tells them all.</summary>
    private void Tell(SupervisedPod pod, PodInput input)
    {
        try
        {
            pod.Tell(input);
        }
        catch (Exception exception)
        {
            Log.StepFailed(exception, pod.Identity.SandboxId, input.GetType().Name);
        }
    }

    // ---- Waiting -----------------------------------------------------------------------------------------------------

    /// <summary>Until the backend was listed once, nothing is known to arbitrate by; but no call waits long for that.</summary>
    private async Task WaitUntilKnownAsync(CancellationToken cancellationToken)
    {
        if (!_known.Task.IsCompleted)
        {
            await _known.Task.WaitAsync(Options.StartPatience, Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Asks a pod what to do with a caller's call, again and again while it is told to wait.</summary>
    /// <param name="pod">The pod.</param>
    /// <param name="ask">Gets the supervisor, whether the call may wait for calls of ours, and the time.</param>
    /// <param name="deadline">The call's own, in UTC.</param>
    /// <param name="onHeld">Done once, when its turn has not come.</param>
    /// <param name="cancellationToken">The caller's.</param>
    /// <param name="onTooLate">What the caller gets when its turn has not come by then.</param>
    /// <returns>Neither <see cref="Verdict.Held"/> nor, for one that was refused to wait, <see cref="Verdict.Wait"/>.</returns>
    private async Task<T> AskAsync<T>(
        SupervisedPod pod, Func<PodSupervisor, bool, DateTimeOffset, T> ask, DateTime deadline, Action? onHeld, CancellationToken cancellationToken,
        Func<RpcException>? onTooLate = null)
        where T : CallVerdict
    {
        long began = Time.GetTimestamp();
        while (true)
        {
            TimeSpan patience = Options.CallerPatience - Time.GetElapsedTime(began);
            T verdict = pod.Ask((supervisor, now) => ask(supervisor, patience > TimeSpan.Zero, now), out Task changed);
            TimeSpan limit;
            switch (verdict.Verdict)
            {
                case Verdict.Wait when patience > TimeSpan.Zero:
                    limit = patience;
                    break;
                case Verdict.Held:
                    onHeld?.Invoke();
                    onHeld = null;
                    limit = PatienceOf(deadline) ?? LongestHold;
                    if (limit <= TimeSpan.Zero)
                    {
                        throw onTooLate?.Invoke() ?? new RpcException(new Status(StatusCode.DeadlineExceeded, "the pod's containers have not ended yet; their end goes on"));
                    }

                    break;
                case Verdict.TryAgain:
                    throw onTooLate!.Invoke();
                default:
                    return verdict;
            }

            // Each round's timer ends with the round: a pod that changes much would leave one behind for each change.
            await changed.WaitAsync(limit < LongestHold ? limit : LongestHold, Time, cancellationToken)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    private TimeSpan? PatienceOf(DateTime deadline) => deadline == DateTime.MaxValue ? null : deadline - Time.GetUtcNow().UtcDateTime;

    private static RpcException IsEnding(string sandboxId) => new(new Status(
        StatusCode.FailedPrecondition, $"pod sandbox \"{sandboxId}\" is being stopped: nothing is created or started in it any more"));

    private void GrantSlots()
    {
        IReadOnlyList<RestartSlot> granted;
        lock (_slots)
        {
            granted = _limit.TakeGranted(Now);
            ScheduleSlots();
        }

        foreach (RestartSlot slot in granted)
        {
            if (_pods.TryGetValue(slot.Pod, out SupervisedPod? pod))
            {
                pod.Tell(new SlotGranted(slot.Lineage));
            }
        }
    }

    /// <summary>Under the slots' lock. Grants come by the timer, never on the asker's thread, which holds its pod's lock.</summary>
    private void ScheduleSlots()
    {
        if (_limit.NextAt(Now) is { } at)
        {
            TimeSpan delay = at - Now;
            _ = _slotTimer.Change(delay > TimeSpan.Zero ? delay : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    /// <param name="Pod">Its pod.</param>
    /// <param name="Name">Its name.</param>
    /// <param name="Attempt">Its attempt.</param>
    /// <param name="IsRead">Its annotations were read.</param>
    /// <param name="Hook">Its preStop hook, where it has one that can be run.</param>
    private sealed record TrackedContainer(SupervisedPod Pod, string Name, int Attempt, bool IsRead, PreStopHook? Hook);

    private sealed record RequestsBefore(CreateContainerRequest? Create, UpdateContainerResourcesRequest? Resources);
}
