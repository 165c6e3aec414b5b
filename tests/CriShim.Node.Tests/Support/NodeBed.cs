using CriShim.Discovery;
using CriShim.Linux.Files;
using CriShim.Node.Draining;
using CriShim.Node.Journal;
using CriShim.Node.Reports;
using CriShim.Protocol.Runtime.V1;
using CriShim.Proxy.Services;
using CriShim.Supervision.Restarts;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Lab;
using Google.Protobuf;

namespace CriShim.Node.Tests.Support;

/// <summary>A node's supervision before a small containerd, and a caller whose calls pass it as the CRI service lets them pass.</summary>
internal sealed class NodeBed : IAsyncDisposable
{
    public const string Sandbox = "sandbox-0";
    public const string Sidecar = "proxy";
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly TempDirectory _directory;
    private readonly TimeProvider _time;
    private NodeSupervision? _node;

    private NodeBed(TempDirectory directory, FakeCri backend, TimeProvider time)
    {
        _directory = directory;
        Backend = backend;
        _time = time;
        Options = new SupervisionOptions
        {
            BackendSocketPath = backend.SocketPath,
            StateDirectory = StateDirectory,
            RelistInterval = TimeSpan.FromHours(1),
            Restart = new RestartOptions { Jitter = 0 },
            Files = new ContainerFileRoots
            {
                PodLogs = directory.File("pods"), ContainerLogs = directory.File("containers"), KubeletPods = directory.File("kubelet"),
            },
        };
    }

    public FakeCri Backend { get; }

    public RecordedLog Log { get; } = new();

    public SupervisionOptions Options { get; set; }

    /// <summary>The pod's annotation, where it is another one.</summary>
    public string? Sidecars { get; set; }

    /// <summary>The pod's annotation that tells its restart policy; none without it.</summary>
    public string? RestartPolicy { get; set; }

    /// <summary>What is shown completed, and runs.</summary>
    internal IReadOnlyList<MaskedContainer> Masked => _node!.MaskedContainers();

    /// <summary>A pod spec source; none without it.</summary>
    public PodFactsIndex? Facts { get; set; }

    public ISupervision Node => _node!;

    public NodeHealth Health => _node!.Health;

    /// <summary>The time by which it waits.</summary>
    public DateTimeOffset Now => _node!.Now;

    public NodeDrain Drain => _node!.Drain;

    public NodeJournal Journal => _node!.Journal;

    public NodeReports Reports => _node!.Reports;

    public string StateDirectory => _directory.File("state");

    /// <summary>Prepared, with the sandbox in the backend; supervision is not started.</summary>
    public static async Task<NodeBed> PrepareAsync(TimeProvider? time = null, TempDirectory? directory = null)
    {
        directory ??= new TempDirectory();
        // The socket lies elsewhere: a directory that is full has no room for it.
        string socket = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"crn-{Guid.NewGuid():N}.sock");
        time ??= TimeProvider.System;
        return new NodeBed(directory, await FakeCri.StartAsync(socket, time), time);
    }

    /// <summary>With a running sidecar, which a caller created.</summary>
    public static async Task<NodeBed> StartAsync(TimeProvider? time = null, Func<SupervisionOptions, SupervisionOptions>? options = null)
    {
        NodeBed bed = await PrepareAsync(time);
        try
        {
            bed.Options = options?.Invoke(bed.Options) ?? bed.Options;
            bed.Start();
            await bed.KnownAsync();
            bed.RunSandbox();
            await bed.RunAsync(Create());
            return bed;
        }
        catch
        {
            await bed.DisposeAsync();
            throw;
        }
    }

    public static CreateContainerRequest Create(uint attempt = 0, string env = "one", string name = Sidecar, string sandbox = Sandbox)
    {
        string number = attempt.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return new CreateContainerRequest
        {
            PodSandboxId = sandbox,
            Config = new ContainerConfig
            {
                Metadata = new ContainerMetadata { Name = name, Attempt = attempt },
                LogPath = $"{name}/{number}.log",
                Annotations = { { "io.kubernetes.container.hash", "abc" }, { "io.kubernetes.container.restartCount", number } },
                Labels = { { "io.kubernetes.container.name", name } },
                Envs = { new KeyValue { Key = "ENV", Value = ByteString.CopyFromUtf8(env) } },
            },
            SandboxConfig = PodConfig(),
        };
    }

    public static PodSandboxConfig PodConfig(string sidecars = """[{"name":"proxy","kind":"native"}]""") => new()
    {
        Metadata = new PodSandboxMetadata { Name = "pod", Namespace = "default", Uid = "uid" },
        Annotations = { { "crishim.io/sidecars", sidecars } },
    };

    /// <summary>With a sidecar that a caller has just started.</summary>
    public async Task BeginAsync()
    {
        Start();
        await KnownAsync();
        RunSandbox();
        _ = await RunAsync(Create());
    }

    /// <summary>Waits until the sidecar is shown completed while it runs.</summary>
    public async Task<ShownContainer> IsMaskedAsync(string id = "c0", uint attempt = 0)
    {
        ShownContainer? shown = null;
        await Condition.BecomesTrueAsync($"{id} is shown completed", Patience, () =>
        {
            shown = Node.Show(id, Sandbox, Sidecar, attempt);
            return shown?.As == ShownAs.Masked;
        });
        return shown!.Value;
    }

    public void Start()
    {
        CreateNode();
        _node!.Start();
    }

    /// <summary>There, and not started yet.</summary>
    public void CreateNode() => _node = new NodeSupervision(Options, Facts, Log, _time);

    /// <summary>It ends where it stands, and another one goes on with its records.</summary>
    public async Task EndAsync() => await _node!.DisposeAsync();

    public void RunSandbox(string id = Sandbox)
    {
        PodSandboxConfig config = Sidecars is null ? PodConfig() : PodConfig(Sidecars);
        if (RestartPolicy is not null)
        {
            config.Annotations["crishim.io/restart-policy"] = RestartPolicy;
        }

        Backend.AddSandbox(id, config);
        Node.OnPodSandboxRan(id, config);
    }

    /// <summary>A caller's StopContainer, held and forwarded as the CRI service does it.</summary>
    public async Task StopAsync(string id, int timeout, CancellationToken cancellationToken = default)
    {
        string instance = await Node.BeforeStopAsync(id, TimeSpan.FromSeconds(timeout), DateTime.MaxValue, cancellationToken);
        _ = await Backend.StopAsync(new StopContainerRequest { ContainerId = instance, Timeout = timeout });
        Node.OnStopped(instance);
    }

    /// <summary>A caller's StopPodSandbox.</summary>
    public async Task StopSandboxAsync(TimeSpan? patience = null, CancellationToken cancellationToken = default)
    {
        DateTime deadline = patience is { } time ? _time.GetUtcNow().UtcDateTime + time : DateTime.MaxValue;
        await Node.BeforeStopSandboxAsync(Sandbox, deadline, cancellationToken);
        Backend.StopSandbox(new StopPodSandboxRequest { PodSandboxId = Sandbox });
        Node.OnStopSandboxEnded(Sandbox, true);
    }

    /// <summary>Names of the containers that ended, in order.</summary>
    public IReadOnlyList<string> Ended => Backend.Ended;

    /// <summary>A caller's create and start; the id.</summary>
    public async Task<string> RunAsync(CreateContainerRequest request)
    {
        string id = await CreateAsync(request);
        if (!await Node.BeforeStartAsync(id, DateTime.MaxValue, CancellationToken.None))
        {
            Backend.Start(new StartContainerRequest { ContainerId = id });
            Node.OnStarted(id);
        }

        return id;
    }

    public async Task<string> CreateAsync(CreateContainerRequest request)
    {
        CreateAnswer answer = await Node.BeforeCreateAsync(request, CancellationToken.None);
        if (answer.AnswerWith is { } ours)
        {
            return ours;
        }

        string id = Backend.Create(request);
        Node.OnCreated(request, id);
        return id;
    }

    public Task KnownAsync() => Condition.BecomesTrueAsync("the node is known", Patience, () =>
    {
        // The event service is asked again for its proof of life, after a while.
        (_time as PooledTime)?.Advance(TimeSpan.FromMilliseconds(20));
        return Log.All.Any(line => line.Contains("Supervision knows the node", StringComparison.Ordinal));
    });

    public async Task LoggedAsync(string text)
    {
        await Condition.BecomesTrueAsync(
            $"the log has '{text}'", Patience, () => Log.All.Any(line => line.Contains(text, StringComparison.Ordinal)));
        // What goes with it is done, too: a timer, say, by a clock that the test moves next. It is done under the locks of pods.
        _ = _node!.Overview();
    }

    /// <summary>The running instance, once it is this attempt.</summary>
    public async Task<FakeInstance> RunsAsync(uint attempt, string? besides = null)
    {
        try
        {
            await Condition.BecomesTrueAsync($"attempt {attempt} runs", Patience, () => RunningBesides(besides) is { } running && running.Request.Config.Metadata.Attempt == attempt);
            await LoggedAsync($"attempt {attempt}, ");
        }
        catch (TimeoutException failure)
        {
            throw new Xunit.Sdk.XunitException($"{failure.Message}\n{string.Join('\n', Log.All)}\n{string.Join('\n', Backend.Changes)}");
        }

        return RunningBesides(besides)!;
    }

    /// <summary>The one that runs; more than one at a time is a failure.</summary>
    public FakeInstance? Running => RunningBesides(null);

    /// <summary>What a record file says, as text.</summary>
    public string Record(string name = Sidecar) => File.ReadAllText(System.IO.Path.Combine(StateDirectory, Sandbox, $"{name}.json"));

    private FakeInstance? RunningBesides(string? besides) => Backend.Instances.SingleOrDefault(one =>
        one.State == ContainerState.ContainerRunning && one.Request.Config.Metadata.Name != besides);

    public async ValueTask DisposeAsync()
    {
        await Backend.DisposeAsync();
        if (_node is not null)
        {
            await _node.DisposeAsync();
        }

        _directory.Dispose();
        foreach (string line in Log.All)
        {
            // A fault of supervision is one, whatever the test is about.
            Assert.DoesNotContain("Supervision of sandbox", line, StringComparison.Ordinal);
        }
    }
}
