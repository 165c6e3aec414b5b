using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;
using CriShim.Supervision.Teardown;

namespace CriShim.Supervision.Tests.Teardown;

/// <summary>
/// A pod with sidecars "first" and "second", started in this order, and main containers "web" and "job"; each container's id is its
/// name. What the supervisor wants done is written down with the seconds that have passed.
/// </summary>
internal sealed class TeardownScene
{
    private static readonly DateTimeOffset Began = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly List<string> _wanted = [];
    private readonly PodSupervisorOptions _options;
    private readonly SidecarAnnotation _annotation;
    private readonly PodFacts _facts;
    private readonly Dictionary<string, LineageRecord> _records = [];
    private readonly Dictionary<string, BackendState> _containers = [];
    private PodSupervisor _supervisor;
    private PodRecord? _record;
    private DateTimeOffset? _timer;

    public TeardownScene(TimeSpan? grace = null, string sidecars = "", TeardownOptions? teardown = null, params string[] containers)
    {
        _options = new PodSupervisorOptions
        {
            SandboxId = "sandbox",
            Restart = new RestartOptions { Jitter = 0 },
            Teardown = teardown ?? new TeardownOptions(),
            IsSpecSourceConfigured = true,
            Chance = new Random(1),
        };
        _annotation = sidecars.Length == 0 ? SidecarAnnotation.None
            : SidecarAnnotation.Parse(new Dictionary<string, string> { [SidecarAnnotation.SidecarsKey] = sidecars });
        Assert.Empty(_annotation.Errors);
        _facts = new PodFacts
        {
            Uid = "uid", Namespace = "ns", Name = "pod", TerminationGracePeriod = grace ?? TimeSpan.FromSeconds(30),
            Containers =
            [
                new ContainerFacts("first", ContainerRole.RestartableInit),
                new ContainerFacts("second", ContainerRole.RestartableInit),
                new ContainerFacts("web", ContainerRole.Plain),
                new ContainerFacts("job", ContainerRole.Plain),
                new ContainerFacts("debugger", ContainerRole.Ephemeral),
            ],
        };
        _supervisor = new PodSupervisor(_options);
        Tell(new AnnotationChanged(_annotation));
        Tell(new FactsChanged(_facts));
        foreach (string name in containers.Length == 0 ? ["first", "second", "web", "job"] : containers)
        {
            Starts(name);
        }

        _wanted.Clear();
    }

    public DateTimeOffset Now { get; private set; } = Began;

    public IReadOnlyList<string> Running => _supervisor.Running;

    /// <summary>What was wanted since the last look, such as "0 stop web 30".</summary>
    public string[] Wanted()
    {
        string[] wanted = [.. _wanted];
        _wanted.Clear();
        return wanted;
    }

    public void Tell(PodInput input) => Take(_supervisor.Handle(input, Now));

    public void Starts(string name)
    {
        Take(_supervisor.ArbitrateCreate(name, 0, true, true, Now).Commands);
        Tell(new ContainerCreated(name, name, 0, Now));
        Take(_supervisor.ArbitrateStart(name, null, Now).Commands);
        Tell(new ContainerStarted(name, Now));
        _containers[name] = BackendState.Running;
    }

    public void Ends(params string[] names)
    {
        foreach (string name in names)
        {
            Exits(name);
            Tell(new StopAnswered(name, true));
        }
    }

    /// <summary>Its exit is told; the backend's answer to its stop is still to come.</summary>
    public void Exits(string name)
    {
        _containers[name] = BackendState.Exited;
        Tell(new ContainerExited(name, new ContainerExit(143, false, Now)));
    }

    /// <summary>A caller's StopContainer; <see cref="Verdict.Held"/> stands for its waiting.</summary>
    public Verdict Stop(string name, double timeout)
    {
        StopVerdict verdict = _supervisor.ArbitrateStop(name, TimeSpan.FromSeconds(timeout), true, Now);
        Take(verdict.Commands);
        return verdict.Verdict;
    }

    public Verdict StopSandbox(double? patience = null)
    {
        CallVerdict verdict = _supervisor.ArbitrateSandboxStop(patience is { } seconds ? TimeSpan.FromSeconds(seconds) : null, true, Now);
        Take(verdict.Commands);
        return verdict.Verdict;
    }

    public Verdict Create(string name) => _supervisor.ArbitrateCreate(name, 1, true, true, Now).Verdict;

    public Verdict Start(string name) => _supervisor.ArbitrateStart(name, null, Now).Verdict;

    public Verdict Remove(string name) => _supervisor.ArbitrateRemove(name, Now).Verdict;

    /// <summary>No hook of the pod takes any time.</summary>
    public void HooksEnd(params string[] names)
    {
        foreach (string name in names)
        {
            Tell(new PreStopEnded(name));
        }
    }

    /// <summary>Time goes on, and the timer with it.</summary>
    public void After(double seconds)
    {
        DateTimeOffset end = Now + TimeSpan.FromSeconds(seconds);
        while (_timer is { } due && due <= end)
        {
            Now = due > Now ? due : Now;
            _timer = null;
            Tell(new TimerDue());
        }

        Now = end;
    }

    /// <summary>A list says that the sandbox is not ready; its containers run on.</summary>
    public void SandboxDies() => Tell(new SandboxRelisted(new SandboxSnapshot(
        false, Now, [.. _containers.Select(c => new SeenContainer(c.Key, c.Key, 0, c.Value, Began, Began))])));

    /// <summary>A caller removed it, and nothing but the start order remembers it.</summary>
    public void IsRemoved(string name)
    {
        _ = _containers.Remove(name);
        _ = _records.Remove(name);
    }

    /// <summary>It was spoilt on disk; those of the lineages were not.</summary>
    public void LosePodRecord() => _record = null;

    /// <summary>The shim is killed and started again after so many seconds; nothing but the records is left.</summary>
    public void Crash(double seconds = 1)
    {
        _timer = null;
        Now += TimeSpan.FromSeconds(seconds);
        SeenContainer[] seen = [.. _containers.Select(c => new SeenContainer(
            c.Key, c.Key, 0, c.Value, Began, Began, c.Value == BackendState.Exited ? new ContainerExit(143, false, Now) : null))];
        (_supervisor, IReadOnlyList<PodCommand> commands) = PodSupervisor.Rebuild(
            _options, _record, _records.Values, new SandboxSnapshot(true, Now, seen), _facts, _annotation, Now);
        Take(commands);
    }

    private void Take(IReadOnlyList<PodCommand> commands)
    {
        string at = $"{(Now - Began).TotalSeconds:0.###}";
        foreach (PodCommand command in commands)
        {
            _record = command.RecordFirst as PodRecord ?? _record;
            if (command.RecordFirst is LineageRecord lineage)
            {
                _records[lineage.Name] = lineage;
            }

            switch (command)
            {
                case RunPreStop(var name, _, var limit):
                    _wanted.Add($"{at} hook {name} {limit.TotalSeconds:0.###}");
                    break;
                case StopInstance(var name, _, var grace):
                    _wanted.Add(grace == TimeSpan.Zero ? $"{at} kill {name}" : $"{at} stop {name} {grace.TotalSeconds:0.###}");
                    break;
                case CriShim.Supervision.Supervisor.StopSandbox:
                    _wanted.Add($"{at} stop sandbox");
                    break;
                case AskRestartSlot ask:
                    _wanted.Add($"{at} restart {ask.Lineage}");
                    break;
                case ScheduleTimer timer:
                    _timer = timer.At;
                    break;
                default:
                    break;
            }
        }
    }
}
