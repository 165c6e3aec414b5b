using System.Globalization;
using CriShim.Containerd.Runtime;
using CriShim.Linux.Files;
using CriShim.Node.Logs;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.TestSupport.Lab;

namespace CriShim.Node.Tests.Logs;

public sealed class Containerd16() : ContainerdFixture(ContainerdVersion.V16);

public sealed class Containerd17() : ContainerdFixture(ContainerdVersion.V17);

public sealed class Containerd21() : ContainerdFixture(ContainerdVersion.V21);

public sealed class LogRotation16Tests(Containerd16 fixture) : LogRotationContract(fixture), IClassFixture<Containerd16>;

public sealed class LogRotation17Tests(Containerd17 fixture) : LogRotationContract(fixture), IClassFixture<Containerd17>;

public sealed class LogRotation21Tests(Containerd21 fixture) : LogRotationContract(fixture), IClassFixture<Containerd21>;

/// <summary>One containerd for all tests of a version.</summary>
public abstract class ContainerdFixture(ContainerdVersion version) : IAsyncLifetime
{
    private PrivateContainerd? _containerd;

    public PrivateContainerd Containerd => _containerd!;

    public async Task InitializeAsync() => _containerd = await PrivateContainerd.StartAsync(version);

    public async Task DisposeAsync()
    {
        if (_containerd is not null)
        {
            await _containerd.DisposeAsync();
        }
    }
}

/// <summary>Logs of a real containerd's containers.</summary>
public abstract class LogRotationContract : IAsyncLifetime, IDisposable
{
    private readonly CriCaller _caller;
    private readonly RuntimeAdapter _adapter;
    private readonly PodRecipe _recipe;
    private readonly ContainerFiles _files;
    private readonly RecordedLog _log = new();
    private readonly ShiftedTime _time = new();
    private RunningPod? _pod;
    private string _id = "";

    protected LogRotationContract(ContainerdFixture fixture)
    {
        PrivateContainerd containerd = fixture.Containerd;
        string logs = Path.Combine(containerd.Folder, "logs");
        _caller = new CriCaller(containerd.SocketPath);
        _adapter = new RuntimeAdapter(new RuntimeAdapterOptions { SocketPath = containerd.SocketPath }, _log.CreateLogger("backend"));
        _recipe = new PodRecipe($"p{Guid.NewGuid():N}"[..12], logs, containerd.CgroupParent);
        _files = new ContainerFiles(new ContainerFileRoots { PodLogs = logs });
    }

    public async Task InitializeAsync()
    {
        _pod = await RunningPod.StartAsync(_caller, _recipe);
        _id = await _pod.RunAsync(_recipe.Container("proxy", "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; done"));
        await GrowsBeyondAsync(100_000);
    }

    public async Task DisposeAsync()
    {
        if (_pod is not null)
        {
            await _pod.DisposeAsync();
        }
    }

    public void Dispose()
    {
        _caller.Dispose();
        _adapter.Dispose();
        GC.SuppressFinalize(this);
    }

    private string LogFile => _recipe.LogFile("proxy");

    private string[] Names => [.. Directory.GetFiles(Path.GetDirectoryName(LogFile)!).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];

    [Fact]
    public async Task RotateAll_ChattyContainer_LosesNoLineAndKeepsSoManyFiles()
    {
        LogRotation rotation = Rotation(new LogRotationOptions { MaxSize = 50_000, MaxFiles = 5 });
        for (int i = 0; i < 3; i++)
        {
            await rotation.RotateAllAsync(default);
            _time.Shift += TimeSpan.FromSeconds(2);
            await GrowsBeyondAsync(100_000);
        }

        // The log, the one before, and two compressed ones: the first line is still there.
        Assert.Equal(4, Names.Length);
        Assert.Equal(2, Names.Count(name => name.EndsWith(".gz", StringComparison.Ordinal)));
        // By its own hand: a process that is killed can be in the middle of a line.
        Assert.True((await _adapter.StopContainerAsync(_id, TimeSpan.FromSeconds(60), default)).IsOk);
        string[] texts = await CriLogText.ReadAsync(LogFile);
        Assert.Equal(Enumerable.Range(1, texts.Length).Select(i => string.Create(CultureInfo.InvariantCulture, $"line {i}")), texts);
        Assert.Equal(3, _log.All.Count(line => line.Contains("is rotated to", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task RotateAll_ManyTimes_DeletesTheOldest()
    {
        LogRotation rotation = Rotation(new LogRotationOptions { MaxSize = 1000, MaxFiles = 3 });
        for (int i = 0; i < 5; i++)
        {
            await rotation.RotateAllAsync(default);
            _time.Shift += TimeSpan.FromSeconds(2);
            await GrowsBeyondAsync(2000);
        }

        Assert.Equal(3, Names.Length);
    }

    [Fact]
    public async Task RotateAll_SmallLog_LeavesItAlone()
    {
        await Rotation(new LogRotationOptions()).RotateAllAsync(default);
        Assert.Equal(["0.log"], Names);
    }

    [Fact]
    public async Task RotateAll_LogWasRenamedAndCrishimKilled_IsOpenedAnew()
    {
        File.Move(LogFile, LogFile + ".20260101-000000");

        await Rotation(new LogRotationOptions()).RotateAllAsync(default);

        await GrowsBeyondAsync(1000);
        Assert.Equal(["0.log", "0.log.20260101-000000"], Names);
    }

    [Fact]
    public async Task RotateAll_ContainerThatHasEnded_IsLeftAlone()
    {
        await _adapter.StopContainerAsync(_id, TimeSpan.Zero, default);
        await Rotation(new LogRotationOptions { MaxSize = 1000 }).RotateAllAsync(default);
        Assert.Equal(["0.log"], Names);
    }

    [Fact]
    public async Task RotateAll_LogsFolderThatIsALink_IsNotTouchedAndSaidOnce()
    {
        string folder = Path.GetDirectoryName(LogFile)!;
        Directory.Move(folder, folder + "-moved");
        _ = Directory.CreateSymbolicLink(folder, folder + "-moved");
        LogRotation rotation = Rotation(new LogRotationOptions { MaxSize = 1000 });

        await rotation.RotateAllAsync(default);
        await rotation.RotateAllAsync(default);

        Assert.Equal(["0.log"], Names);
        Assert.Single(_log.All, line => line.Contains("could not be rotated", StringComparison.Ordinal));
    }

    private LogRotation Rotation(LogRotationOptions options) => new(
        options, () => [new MaskedContainer(new PodIdentity(_pod!.SandboxId, _recipe.Uid, "default", _recipe.Name, null), "proxy", _id, _id)],
        _adapter, _files, _log.CreateLogger("rotation"), _time);

    private Task GrowsBeyondAsync(long size) => Condition.BecomesTrueAsync(
        $"{LogFile} has {size} bytes", TimeSpan.FromSeconds(60), () => File.Exists(LogFile) && new FileInfo(LogFile).Length > size);

    /// <summary>The system's, some seconds ahead: names are by the second.</summary>
    private sealed class ShiftedTime : TimeProvider
    {
        public TimeSpan Shift { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Shift;
    }
}
