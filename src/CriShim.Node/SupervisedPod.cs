using CriShim.Node.State;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Node;

/// <summary>
/// One sandbox's supervisor with what it needs of the world: the lock, the files, the timer, and the order in which its commands are
/// carried out.
/// </summary>
/// <remarks>
/// Under the lock: tell or ask the supervisor, write the records that its commands come with, and hand the commands to their queues.
/// Calls to the backend are made outside of it, one after another for each lineage; their outcomes are told like anything else.
/// </remarks>
internal sealed class SupervisedPod : IDisposable
{
    private readonly Lock _lock = new();
    private readonly NodeSupervision _node;
    private readonly ITimer _timer;
    private readonly Dictionary<string, Task> _work = new(StringComparer.Ordinal);
    private PodSupervisor _supervisor;
    private TaskCompletionSource _changed = NewSignal();
    private readonly Journal.PodPassage _passage;
    private PodNeeds _needs;
    private bool _forgotten;
    private int _sandboxStopCallers;
    private Task _ownSandboxStop = Task.CompletedTask;
    private string? _annotationFault;

    /// <summary>A pod that crishim sees from its beginning, or that nothing is recorded of.</summary>
    public SupervisedPod(NodeSupervision node, PodIdentity identity, SidecarAnnotation annotation)
    {
        _node = node;
        Identity = identity;
        Annotation = annotation;
        AddedAt = node.Now;
        _passage = new Journal.PodPassage(node.Journal, identity.InJournal);
        _supervisor = new PodSupervisor(OptionsOf(node, identity));
        _timer = node.Time.CreateTimer(static state => ((SupervisedPod)state!).Tell(new TimerDue()), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        Tell(new AnnotationChanged(annotation));
    }

    public PodIdentity Identity { get; }

    /// <summary>When this process first heard of it.</summary>
    public DateTimeOffset AddedAt { get; }

    public SidecarAnnotation Annotation { get; }

    /// <summary>So many of its probes go on at a time: slow ones of one pod must not take the places of all others' on the node.</summary>
    public SemaphoreSlim ProbePlaces { get; } = new(2);

    /// <summary>What of the annotation does not fit the spec, in one line; null when that was told already. Specs come again and again.</summary>
    public string? AnnotationFaultBy(PodFacts facts)
    {
        string? fault = SettingErrors.Summary(Annotation.ErrorsBy(facts));
        return Interlocked.Exchange(ref _annotationFault, fault) == fault ? null : fault;
    }

    /// <summary>Goes on where a crishim before this one ended.</summary>
    /// <param name="stored">What was recorded.</param>
    /// <param name="snapshot">What is there.</param>
    /// <param name="facts">What is known of the pod's spec.</param>
    /// <param name="stopped">Instances that callers have stopped since this process started, with their time-outs.</param>
    /// <param name="isSandboxStopped">A caller has stopped the sandbox since.</param>
    public void Rebuild(
        StoredSandbox? stored, SandboxSnapshot snapshot, PodFacts? facts, IReadOnlyList<(string Id, TimeSpan Timeout)> stopped, bool isSandboxStopped)
    {
        lock (_lock)
        {
            (PodSupervisor supervisor, IReadOnlyList<PodCommand> commands) = PodSupervisor.Rebuild(
                OptionsOf(_node, Identity), stored?.Pod, stored?.Lineages ?? [], snapshot, facts, Annotation, _node.Now);
            _supervisor = supervisor;
            List<PodCommand> all = [.. commands];
            foreach ((string id, TimeSpan timeout) in stopped)
            {
                all.AddRange(supervisor.ArbitrateStop(id, timeout, mayWait: false, _node.Now).Commands);
            }

            if (isSandboxStopped)
            {
                all.AddRange(supervisor.SandboxStopForwarded(_node.Now));
            }

            CarryOut(all);
        }
    }

    /// <summary>Tells the supervisor something, and has done what it says.</summary>
    public void Tell(PodInput input)
    {
        lock (_lock)
        {
            if (!_forgotten && !_node.HasEnded)
            {
                CarryOut(_supervisor.Handle(input, _node.Now));
            }
        }
    }

    /// <summary>Asks the supervisor about a caller's call, and has done what it says.</summary>
    /// <param name="ask">Gets the supervisor and the time.</param>
    /// <param name="changed">Completes when the answer may be another one.</param>
    public T Ask<T>(Func<PodSupervisor, DateTimeOffset, T> ask, out Task changed)
        where T : CallVerdict
    {
        lock (_lock)
        {
            T verdict = ask(_supervisor, _node.Now);
            CarryOut(verdict.Commands);
            changed = _changed.Task;
            return verdict;
        }
    }

    public bool RewritesViews
    {
        get
        {
            lock (_lock)
            {
                return _needs.RewritesViews;
            }
        }
    }

    public bool IsProbeWanted(string lineage, string containerId)
    {
        lock (_lock)
        {
            return !_forgotten && _supervisor.IsProbeWanted(lineage, containerId);
        }
    }

    /// <summary>Completes when no StopPodSandbox of ours is under way: two at a time are in each other's way at the pod's network.</summary>
    public Task OwnSandboxStop
    {
        get
        {
            lock (_lock)
            {
                return _ownSandboxStop;
            }
        }
    }

    /// <summary>A caller waits for the sandbox's end, and forwards its call itself then.</summary>
    public void OnSandboxStopCaller()
    {
        lock (_lock)
        {
            _sandboxStopCallers++;
        }
    }

    /// <summary>That call has ended. If nobody has stopped the sandbox, and nobody waits to, a list tells whether that is left to us.</summary>
    public void OnSandboxStopCallerGone(bool isStopped)
    {
        lock (_lock)
        {
            _sandboxStopCallers--;
            if (isStopped)
            {
                Tell(new SandboxStopped());
            }
            else if (_sandboxStopCallers == 0 && _supervisor is { IsSandboxStopping: true, IsEnding: true })
            {
                Queue("", () => _node.RelistAsync(this));
            }
        }
    }

    /// <summary>By the last list, or by its stop.</summary>
    public bool IsReady
    {
        get
        {
            lock (_lock)
            {
                return _supervisor.IsSandboxReady && !_forgotten;
            }
        }
    }

    /// <summary>Names of the containers that run.</summary>
    public IReadOnlyList<string> Running
    {
        get
        {
            lock (_lock)
            {
                return _supervisor.Running;
            }
        }
    }

    public string CurrentInstance(string containerId)
    {
        lock (_lock)
        {
            return _supervisor.CurrentInstance(containerId);
        }
    }

    public ShownContainer? Show(string containerId, string name, int attempt)
    {
        lock (_lock)
        {
            return _supervisor.ShownState(containerId, name, attempt, _node.Now) switch
            {
                ShownState.Running => ShownContainer.Running,
                ShownState.Hidden when _supervisor.IsCompleted(name) => ShownContainer.HiddenForGood,
                ShownState.Hidden => ShownContainer.Hidden,
                ShownState.Masked when _supervisor.CompletionOf(containerId) is var (at, running) => ShownContainer.Masked(at, running),
                ShownState.Failed => new ShownContainer(ShownAs.Failed),
                ShownState.Completed => ShownContainer.Completed,
                _ => null,
            };
        }
    }

    /// <summary>How it is shown where the backend says a state; a death that nobody has told of is told by this, before it is shown.</summary>
    public ShownContainer? See(string containerId, string name, int attempt, ContainerState said)
    {
        lock (_lock)
        {
            if (said == ContainerState.ContainerExited && _supervisor.IsExitNews(containerId))
            {
                Tell(new ContainerSeenExited(containerId));
            }

            ShownContainer? shown = Show(containerId, name, attempt);
            if (shown?.As is ShownAs.Completed or ShownAs.Failed && said != ContainerState.ContainerExited)
            {
                // When it ended, and how, is the backend's to tell; until it does it has not ended for anybody.
                return null;
            }

            return shown ?? said switch
            {
                ContainerState.ContainerCreated when _supervisor.StartOf(containerId) is { } at => new ShownContainer(ShownAs.Running, at),
                ContainerState.ContainerRunning when _supervisor.EndOf(containerId) is { } end =>
                    new ShownContainer(ShownAs.Exited, end.FinishedAt, end.ExitCode, ReasonOf(end)),
                _ => null,
            };
        }
    }

    /// <summary>Containers that run behind one that is shown completed: name, the id that is shown, and the instance that runs.</summary>
    public IReadOnlyList<(string Name, string ShownId, string InstanceId)> Masked
    {
        get
        {
            lock (_lock)
            {
                return _supervisor.Masked;
            }
        }
    }

    /// <summary>The instance of a container that runs, or ran last; null before the first.</summary>
    public string? CurrentOf(string name)
    {
        lock (_lock)
        {
            return _supervisor.CurrentOf(name);
        }
    }

    public PodView View()
    {
        lock (_lock)
        {
            return _supervisor.View(_node.Now);
        }
    }

    public IReadOnlyList<LineageView> Views()
    {
        lock (_lock)
        {
            return _supervisor.Views(_node.Now);
        }
    }

    /// <summary>As it is counted.</summary>
    public PodOverview Overview()
    {
        lock (_lock)
        {
            return new PodOverview
            {
                IsReady = _supervisor.IsSandboxReady && !_forgotten,
                IsTerminating = _supervisor.IsTerminating,
                Lineages = _supervisor.Views(_node.Now),
            };
        }
    }

    /// <summary>Completes when the calls to the backend that are under way have ended.</summary>
    public Task DrainAsync()
    {
        lock (_lock)
        {
            return Task.WhenAll(_work.Values);
        }
    }

    public void Dispose() => _timer.Dispose();

    private static PodSupervisorOptions OptionsOf(NodeSupervision node, PodIdentity identity) => new()
    {
        SandboxId = identity.SandboxId,
        Restart = node.Options.Restart,
        Teardown = node.Options.Teardown,
        IsSpecSourceConfigured = node.Options.IsSpecSourceConfigured,
        Chance = Random.Shared,
        Mode = node.Options.Mode,
    };

    /// <summary>As containerd words it.</summary>
    private static string ReasonOf(ContainerExit end) => end.OutOfMemory ? "OOMKilled" : end.ExitCode == 0 ? "Completed" : "Error";

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Under the lock.</summary>
    private void CarryOut(IReadOnlyList<PodCommand> commands)
    {
        foreach (PodCommand command in commands)
        {
            bool recorded = command.RecordFirst is not { } record || _node.Store.Write(record);
            switch (command)
            {
                case WriteRecord:
                    break;
                case CreateReplacement create:
                    if (recorded)
                    {
                        Queue(create.Lineage, () => _node.Replacements.CreateAsync(this, create));
                    }
                    else
                    {
                        // An intent that is not recorded must not be acted on: a crash now could make a second one (rule 13).
                        Queue(create.Lineage, () => TellAsync(new ReplacementFailed(create.Lineage, create.Attempt, ReplacementFailure.Refused)));
                    }

                    break;
                case StartReplacement start:
                    Queue(start.Lineage, () => _node.Replacements.StartAsync(this, start));
                    break;
                case ApplyResources apply:
                    Queue(apply.Lineage, () => _node.Replacements.ApplyResourcesAsync(this, apply));
                    break;
                case RemoveInstance remove:
                    Queue(remove.Lineage, () => _node.Replacements.RemoveAsync(this, remove));
                    break;
                case InspectInstance inspect:
                    Queue(inspect.Lineage, () => _node.Replacements.InspectAsync(this, inspect));
                    break;
                case ProbeStartup probe:
                    _ = Run(() => _node.Probing.RunAsync(this, probe));
                    break;
                case RecordCompletion completion:
                    Queue(completion.Lineage, () => _node.Completions.ShowAsync(this, completion, recorded));
                    break;
                case CompletionShown completed:
                    _node.Completions.OnShown(this, completed);
                    break;
                case GateOpened gate:
                    _node.Journal.GateOpened(Identity.InJournal, gate.Lineage, gate.Reason);
                    break;
                case RunPreStop hook:
                    _ = Run(() => _node.Endings.RunHookAsync(this, hook));
                    break;
                case StopInstance stop:
                    _ = Run(() => _node.Endings.StopAsync(this, stop));
                    break;
                case StopSandbox when _sandboxStopCallers == 0:
                    _ownSandboxStop = Run(() => _node.Endings.StopSandboxAsync(this));
                    break;
                case StopSandbox:
                    break;
                case AskRestartSlot ask:
                    _node.AskSlot(Identity.SandboxId, ask.Lineage);
                    break;
                case CancelRestartSlot cancel:
                    _node.CancelSlot(Identity.SandboxId, cancel.Lineage);
                    break;
                case RelistSandbox:
                    Queue("", () => _node.RelistAsync(this));
                    break;
                case ScheduleTimer schedule:
                    TimeSpan delay = schedule.At - _node.Now;
                    _ = _timer.Change(delay > TimeSpan.Zero ? delay : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
                    break;
                case Explain explain:
                    _node.Journal.Decided(Identity.InJournal, explain.Decision);
                    break;
                case ViewChanged changed:
                    _node.OnViewChanged(changed.ContainerId);
                    break;
                case ForgetRecords:
                    _forgotten = true;
                    _ = _timer.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                    _passage.Gone(_node.Now);
                    _node.Forget(this);
                    break;
                default:
                    throw new InvalidOperationException($"{command.GetType().Name} is no known command");
            }
        }

        _passage.Look(_supervisor, _node.Now);
        PodNeeds needs = _forgotten ? default : new PodNeeds(_supervisor.ChangesViews, _supervisor.HasDeaths, _supervisor.WatchesEnds);
        _node.Count(_needs, needs);
        _needs = needs;
        TaskCompletionSource before = _changed;
        _changed = NewSignal();
        before.SetResult();
    }

    private Task TellAsync(PodInput input)
    {
        Tell(input);
        return Task.CompletedTask;
    }

    /// <summary>Under the lock: work of one lineage goes one after another, and never on the thread that holds the lock.</summary>
    private void Queue(string lineage, Func<Task> work)
    {
        Task before = _work.GetValueOrDefault(lineage, Task.CompletedTask);
        _work[lineage] = RunAsync(before, work);
    }

    /// <summary>Under the lock: work that waits for nothing, and that crishim does not wait for when it stops.</summary>
    private Task Run(Func<Task> work) => RunAsync(Task.CompletedTask, work);

    private async Task RunAsync(Task before, Func<Task> work)
    {
        await before.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (_node.IsStopping)
        {
            // Nothing new is begun: it is recorded, and the next crishim goes on with it.
            return;
        }

        try
        {
            await work().ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (_node.IsStopping)
        {
            // What was begun is recorded, and the next crishim goes on with it.
        }
        catch (Exception exception)
        {
            _node.Log.StepFailed(exception, Identity.SandboxId, "a call to the backend");
        }
    }
}

/// <summary>What a pod needs of callers' calls.</summary>
/// <param name="RewritesViews">Something of it is to be shown otherwise than the backend says.</param>
/// <param name="MapsIds">Some id stands for another one.</param>
/// <param name="WatchesEnds">A sidecar runs that would be restarted.</param>
internal readonly record struct PodNeeds(bool RewritesViews, bool MapsIds, bool WatchesEnds);
