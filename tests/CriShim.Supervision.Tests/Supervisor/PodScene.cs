using CriShim.Supervision.Pods;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Sidecars;
using CriShim.Supervision.Supervisor;

namespace CriShim.Supervision.Tests.Supervisor;

/// <summary>One pod whose sidecar "proxy" runs as p0, for tests that tell one story.</summary>
internal sealed class PodScene
{
    public PodScene(RestartOptions? options = null, PodFacts? facts = null, SidecarAnnotation? annotation = null, bool specSource = true, bool tellFacts = true,
        string? first = null)
    {
        Options = new PodSupervisorOptions
        {
            SandboxId = "sandbox",
            Restart = options ?? new RestartOptions { Jitter = 0 },
            IsSpecSourceConfigured = specSource,
            Chance = new Random(1),
        };
        Facts = tellFacts ? facts ?? FactsOf(new ContainerFacts("proxy", ContainerRole.RestartableInit)) : null;
        Annotation = annotation ?? SidecarAnnotation.None;
        Supervisor = new PodSupervisor(Options);
        Tell(new AnnotationChanged(Annotation));
        Tell(new FactsChanged(Facts));
        if (first is not null)
        {
            Starts(first);
        }

        Take(Supervisor.ArbitrateCreate("proxy", 0, true, true, Now).Commands);
        Tell(new ContainerCreated("p0", "proxy", 0, Now));
        Take(Supervisor.ArbitrateStart("p0", null, Now).Commands);
        Tell(new ContainerStarted("p0", Now));
        Started = Commands;
        After(5);
    }

    /// <summary>What the start of "proxy" wanted done.</summary>
    public IReadOnlyList<PodCommand> Started { get; }

    public PodSupervisorOptions Options { get; }

    public PodFacts? Facts { get; private set; }

    public SidecarAnnotation Annotation { get; }

    public PodSupervisor Supervisor { get; private set; }

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>What the last call wanted done.</summary>
    public IReadOnlyList<PodCommand> Commands { get; private set; } = [];

    public LineageRecord? Record { get; private set; }

    public PodRecord? PodRecord { get; private set; }

    public LineageView View => Supervisor.Views(Now).Single(v => v.Name == "proxy");

    public RestartDecision LastDeath => View.Tally.Deaths[^1];

    public static PodFacts FactsOf(params ContainerFacts[] containers) =>
        new() { Uid = "uid", Namespace = "ns", Name = "pod", Containers = [.. containers, new ContainerFacts("main", ContainerRole.Plain)] };

    public void After(double seconds) => Now += TimeSpan.FromSeconds(seconds);

    public void Tell(PodInput input) => Take(Supervisor.Handle(input, Now));

    public void Take(IReadOnlyList<PodCommand> commands)
    {
        Commands = commands;
        foreach (StateRecord? record in commands.Select(c => c.RecordFirst))
        {
            Record = record is LineageRecord { Name: "proxy" } lineage ? lineage : Record;
            PodRecord = record as PodRecord ?? PodRecord;
        }
    }

    /// <summary>A caller creates another container of the pod, its id is its name.</summary>
    public void Creates(string name)
    {
        Take(Supervisor.ArbitrateCreate(name, 0, true, true, Now).Commands);
        Tell(new ContainerCreated(name, name, 0, Now));
    }

    public Verdict Start(string id, double? patience = null)
    {
        CallVerdict verdict = Supervisor.ArbitrateStart(id, patience is { } seconds ? TimeSpan.FromSeconds(seconds) : null, Now);
        Take(verdict.Commands);
        return verdict.Verdict;
    }

    /// <summary>Another container of the pod starts, its id is its name.</summary>
    public void Starts(string name)
    {
        Take(Supervisor.ArbitrateCreate(name, 0, true, true, Now).Commands);
        Tell(new ContainerCreated(name, name, 0, Now));
        Take(Supervisor.ArbitrateStart(name, null, Now).Commands);
        Tell(new ContainerStarted(name, Now));
        After(1);
    }

    public void Dies(string id, int exitCode = 1, bool oom = false) => Tell(new ContainerExited(id, new ContainerExit(exitCode, oom, Now)));

    public T Command<T>()
        where T : PodCommand => Assert.Single(Commands.OfType<T>());

    public void None<T>()
        where T : PodCommand => Assert.Empty(Commands.OfType<T>());

    /// <summary>From a granted slot to the running replacement.</summary>
    public void Replace(int attempt)
    {
        Tell(new SlotGranted("proxy"));
        Assert.Equal(attempt, Command<CreateReplacement>().Attempt);
        Tell(new ReplacementCreated("proxy", attempt, $"p{attempt}", Now));
        Assert.Equal($"p{attempt}", Command<StartReplacement>().ContainerId);
        Tell(new ReplacementStarted($"p{attempt}", Now));
    }

    public ShownState Shown(int attempt) => Supervisor.ShownState($"p{attempt}", "proxy", attempt, Now);

    /// <summary>Nothing is left of what was recorded.</summary>
    public void Forget(bool alsoFacts = false)
    {
        (Record, PodRecord) = (null, null);
        Facts = alsoFacts ? null : Facts;
    }

    public void Rebuild(bool isReady, params SeenContainer[] containers)
    {
        (Supervisor, IReadOnlyList<PodCommand> commands) = PodSupervisor.Rebuild(
            Options, PodRecord, Record is null ? [] : [Record], new SandboxSnapshot(isReady, Now, containers), Facts, Annotation, Now);
        Take(commands);
    }

    public SeenContainer Seen(int attempt, BackendState state, ContainerExit? exit = null) =>
        new($"p{attempt}", "proxy", attempt, state, Now.AddSeconds(attempt - 60), null, exit);
}
