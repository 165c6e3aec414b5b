using CriShim.Node.State;
using CriShim.Node.Tests.Support;
using CriShim.Protocol.Runtime.V1;
using CriShim.Supervision.Pods;
using CriShim.Supervision.Resources;
using CriShim.Supervision.Supervisor;
using CriShim.TestSupport.Lab;
using Microsoft.Extensions.Logging;

namespace CriShim.Node.Tests.State;

public sealed class StateStoreTests : IDisposable
{
    private const string Sandbox = "0a1b2c";
    private const UnixFileMode PrivateFolder = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode PrivateFile = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly TempDirectory _directory = new();
    private readonly RecordedLog _log = new();

    private string Root => _directory.File("state");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Write_WhateverTheUmask_LeavesFoldersAndFilesToTheOwnerAlone()
    {
        // Made by somebody with other ideas.
        Directory.CreateDirectory(Root, PrivateFolder | UnixFileMode.GroupRead | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        StateStore store = Open();
        Assert.True(store.Write(Lineage("proxy")));
        Assert.True(store.Write(new PodRecord { SandboxId = Sandbox }));
        Assert.True(store.WriteFacts(Sandbox, Facts()));
        Assert.True(store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "secret")));
        Assert.True(store.WriteResources(Sandbox, "proxy", new UpdateContainerResourcesRequest { ContainerId = "c" }));

        Assert.Equal(PrivateFolder, File.GetUnixFileMode(Root));
        Assert.Equal(PrivateFolder, File.GetUnixFileMode(Path.Combine(Root, Sandbox)));
        string[] files = Directory.GetFiles(Path.Combine(Root, Sandbox));
        Assert.Equal(5, files.Length);
        Assert.All(files, file => Assert.Equal(PrivateFile, File.GetUnixFileMode(file)));
    }

    [Fact]
    public void Open_OnAFolderThatHasBecomeReadOnly_ReadsWhatIsThereAndWritesNothing()
    {
        using var system = new TinyFileSystem(256);
        string root = system.File("state");
        Assert.True(new StateStore(root, _log).Write(Lineage("proxy")));
        Assert.True(Kernel.MakeReadOnly(system.Path, true));

        var store = new StateStore(root, _log);

        Assert.Equal("proxy", Assert.Single(Assert.Single(store.Load()).Lineages).Name);
        Assert.False(store.Write(Lineage("proxy")));
        Assert.Equal(2, store.Failures);
    }

    [Fact]
    public void Forget_WhileTheFolderIsReadOnly_IsDoneOnceItIsNot()
    {
        using var system = new TinyFileSystem(256);
        string root = system.File("state");
        var store = new StateStore(root, _log);
        Assert.True(store.Write(Lineage("proxy")));
        Assert.True(Kernel.MakeReadOnly(system.Path, true));
        store.Forget(Sandbox);
        Assert.NotEmpty(Directory.GetDirectories(root));

        Assert.True(Kernel.MakeReadOnly(system.Path, false));
        store.ForgetLeft();

        Assert.Empty(Directory.GetDirectories(root));
    }

    [Fact]
    public void Load_AfterWrites_GivesWhatWasWrittenLast()
    {
        StateStore store = Open();
        store.Write(new PodRecord { SandboxId = Sandbox, StartOrder = ["proxy"] });
        store.Write(Lineage("proxy", attempt: 1));
        store.Write(Lineage("proxy", attempt: 2));
        store.Write(Lineage("log"));
        store.WriteFacts(Sandbox, Facts());
        store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "old"));
        store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "new"));

        StateStore later = Open();
        StoredSandbox stored = Assert.Single(later.Load());

        Assert.Equal(Sandbox, stored.SandboxId);
        Assert.Equal(["proxy"], stored.Pod!.StartOrder);
        Assert.Equal([("log", 0), ("proxy", 2)], stored.Lineages.Select(lineage => (lineage.Name, lineage.HighestAttempt)).Order());
        Assert.Equal("new", later.ReadCreateRequest(Sandbox, "proxy")!.Config.Command[0]);
        Assert.Equal("uid", later.ReadFacts(Sandbox)!.Uid);
        Assert.Equal(Facts().Containers, later.ReadFacts(Sandbox)!.Containers);
        Assert.Equal(Facts().Overhead, later.ReadFacts(Sandbox)!.Overhead);
        Assert.Empty(_log.All);
    }

    [Fact]
    public async Task Write_WhileSomebodyReads_IsSeenWholeOrNotAtAll()
    {
        StateStore store = Open();
        string file = Path.Combine(Root, Sandbox, "proxy.json");
        store.Write(Lineage("proxy"));
        int reads = 0;
        using var done = new CancellationTokenSource();
        Task reading = Task.Run(() =>
        {
            while (!done.IsCancellationRequested)
            {
                Assert.EndsWith("}", File.ReadAllText(file), StringComparison.Ordinal);
                Interlocked.Increment(ref reads);
            }
        });

        for (int attempt = 0; Volatile.Read(ref reads) < 200 && !reading.IsCompleted; attempt++)
        {
            Assert.True(store.Write(Lineage("proxy", attempt)));
        }

        await done.CancelAsync();
        await reading;
        Assert.Equal([file], Directory.GetFiles(Path.Combine(Root, Sandbox)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("garbage")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"sandboxId":"0a1b2c","name":null}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"bad","instances":null}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"bad","instances":[null]}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"bad","instances":[{"id":null}]}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"bad","deaths":[null]}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"other"}""")]
    [InlineData("""{"sandboxId":"ffff","name":"bad"}""")]
    [InlineData("""{"sandboxId":"0a1b2c","name":"bad","intent":"Unheard"}""")]
    public void Load_BadLineageRecord_IsSetAsideWithALogLineAndTheRestGoesOn(string content)
    {
        Open().Write(Lineage("good"));
        string bad = Path.Combine(Root, Sandbox, "bad.json");
        File.WriteAllText(bad, content);

        StoredSandbox stored = Assert.Single(Open().Load());

        Assert.Equal("good", Assert.Single(stored.Lineages).Name);
        Assert.False(File.Exists(bad));
        Assert.True(File.Exists(bad + ".bad"));
        Assert.Contains(bad, Assert.Single(_log.At(LogLevel.Warning)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("garbage")]
    [InlineData("null")]
    [InlineData("""{"sandboxId":"ffff"}""")]
    [InlineData("""{"sandboxId":"0a1b2c","startOrder":null}""")]
    [InlineData("""{"sandboxId":"0a1b2c","startOrder":[null]}""")]
    public void Load_BadPodRecord_IsSetAsideWithALogLineAndTheRestGoesOn(string content)
    {
        Open().Write(Lineage("good"));
        string bad = Path.Combine(Root, Sandbox, "sandbox.pod.json");
        File.WriteAllText(bad, content);

        StoredSandbox stored = Assert.Single(Open().Load());

        Assert.Null(stored.Pod);
        Assert.Single(stored.Lineages);
        Assert.True(File.Exists(bad + ".bad"));
        Assert.Contains(bad, Assert.Single(_log.At(LogLevel.Warning)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"uid":"u","namespace":"n","name":"p","containers":null}""")]
    [InlineData("""{"uid":"u","namespace":"n","name":"p","containers":[null]}""")]
    public void ReadFacts_BadRecord_IsSetAsideWithALogLine(string content)
    {
        StateStore store = Open();
        store.WriteFacts(Sandbox, Facts());
        string file = Path.Combine(Root, Sandbox, "sandbox.facts.json");
        File.WriteAllText(file, content);

        Assert.Null(store.ReadFacts(Sandbox));
        Assert.True(File.Exists(file + ".bad"));
        Assert.Single(_log.At(LogLevel.Warning));
    }

    [Fact]
    public void ReadCreateRequest_BadBytes_AreSetAsideAndNotQuotedInTheLog()
    {
        StateStore store = Open();
        store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "secret"));
        string file = Path.Combine(Root, Sandbox, "proxy.create");
        File.WriteAllBytes(file, [.. File.ReadAllBytes(file)[..^3], 0xff]);

        Assert.Null(store.ReadCreateRequest(Sandbox, "proxy"));

        Assert.True(File.Exists(file + ".bad"));
        Assert.DoesNotContain("secret", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_FileHalfWrittenAtACrash_KeepsTheOneBefore()
    {
        Open().Write(Lineage("proxy", attempt: 4));
        string half = Path.Combine(Root, Sandbox, "proxy.json.new");
        File.WriteAllText(half, """{"sandboxId":"0a1b2c","na""");

        StoredSandbox stored = Assert.Single(Open().Load());

        Assert.Equal(4, Assert.Single(stored.Lineages).HighestAttempt);
        Assert.False(File.Exists(half));
        Assert.Empty(_log.All);
    }

    [Fact]
    public void Load_WhatIsNoRecord_IsLeftAlone()
    {
        StateStore store = Open();
        Directory.CreateDirectory(Path.Combine(Root, "not a sandbox"));
        Directory.CreateDirectory(Path.Combine(Root, Sandbox, "folder.json"));
        File.WriteAllText(Path.Combine(Root, "lock"), "");
        File.WriteAllText(Path.Combine(Root, Sandbox, "old.json.bad"), "garbage");

        StoredSandbox stored = Assert.Single(store.Load());

        Assert.Empty(stored.Lineages);
        Assert.Empty(_log.All);
    }

    [Fact]
    public void WriteCreateRequest_TooLarge_IsNotKeptAndVoidsTheOneBefore()
    {
        StateStore store = Open();
        Assert.True(store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "small")));

        Assert.False(store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", new string('x', StateStore.MaxRequestBytes))));

        // A replacement made from the older one would be another container than the caller's last.
        Assert.Null(store.ReadCreateRequest(Sandbox, "proxy"));
        Assert.Contains("not kept", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public void WriteCreateRequest_BeyondTheTotal_IsNotKeptUntilASandboxIsForgotten()
    {
        StateStore store = Open();
        CreateContainerRequest large = Create("proxy", new string('x', StateStore.MaxRequestBytes - 200));
        int kept = 0;
        while (store.WriteCreateRequest($"{kept:x8}", "proxy", large))
        {
            kept++;
            Assert.True(kept <= 300, "there is no bound");
        }

        Assert.InRange(kept, 250, (int)(StateStore.MaxTotalBytes / large.CalculateSize()));

        // What was kept before a restart counts after it.
        StateStore later = Open();
        later.Load();
        Assert.False(later.WriteCreateRequest($"{kept:x8}", "proxy", large));

        // The same lineage again takes no more than it had, and another sandbox's end makes room.
        Assert.True(later.WriteCreateRequest($"{0:x8}", "proxy", large));
        later.Forget($"{0:x8}");
        Assert.True(later.WriteCreateRequest($"{kept:x8}", "proxy", large));
    }

    [Theory]
    [InlineData("Proxy")]
    [InlineData("a/b")]
    [InlineData("../../../escaped")]
    [InlineData("a.b")]
    [InlineData("..")]
    [InlineData("sandbox.pod")]
    [InlineData("sandbox.facts")]
    [InlineData("a\nb")]
    [InlineData("ü")]
    [InlineData("")]
    public void Write_NameThatIsNoDnsLabel_ComesBackAndNothingIsMadeElsewhere(string name) => ComesBack(name);

    [Fact]
    public void Write_NameLongerThanFileNames_ComesBack() => ComesBack(new string('ü', 5000));

    [Theory]
    [InlineData("../escaped")]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("")]
    [InlineData("/tmp/escaped")]
    [InlineData("a/b")]
    [InlineData("a\0b")]
    [InlineData("-rf")]
    public void AnyCall_HostileSandboxId_TouchesNothingAndThrowsNothing(string sandboxId)
    {
        StateStore store = Open();
        store.Write(Lineage("proxy"));
        string[] before = Everything();

        Assert.False(store.Write(Lineage("proxy") with { SandboxId = sandboxId }));
        Assert.False(store.Write(new PodRecord { SandboxId = sandboxId }));
        Assert.False(store.WriteFacts(sandboxId, Facts()));
        Assert.False(store.WriteCreateRequest(sandboxId, "proxy", Create("proxy", "x")));
        Assert.False(store.WriteResources(sandboxId, "proxy", new UpdateContainerResourcesRequest()));
        Assert.Null(store.ReadFacts(sandboxId));
        Assert.Null(store.ReadCreateRequest(sandboxId, "proxy"));
        Assert.Null(store.ReadResources(sandboxId, "proxy"));
        store.ForgetResources(sandboxId, "proxy");
        store.Forget(sandboxId);

        Assert.Equal(before, Everything());
    }

    [Fact]
    public void Forget_Sandbox_LeavesNothingOfItAndAllOfOthers()
    {
        StateStore store = Open();
        store.Write(Lineage("proxy"));
        store.Write(Lineage("proxy") with { SandboxId = "other" });
        store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", "x"));
        File.WriteAllText(Path.Combine(Root, Sandbox, "proxy.json.bad"), "");

        store.Forget(Sandbox);
        store.Forget("never-known");

        Assert.Equal("other", Assert.Single(Open().Load()).SandboxId);
        Assert.False(Directory.Exists(Path.Combine(Root, Sandbox)));
        Assert.Empty(_log.All);
    }

    [Fact]
    public void Write_FullFileSystem_SaysNoKeepsTheRecordBeforeAndWorksAgainWhenThereIsRoom()
    {
        using var tiny = new TinyFileSystem(256);
        var store = new StateStore(tiny.File("state"), _log);
        Assert.True(store.Write(Lineage("proxy", attempt: 1)));
        Assert.True(store.WriteCreateRequest(Sandbox, "proxy", Create("proxy", new string('a', 5000))));
        tiny.Fill();

        Assert.False(store.Write(Lineage("proxy", attempt: 2) with { RestReason = null, CurrentId = new string('c', 8000) }));
        Assert.False(store.WriteCreateRequest(Sandbox, "log", Create("log", new string('b', 50_000))));

        // A file of which only a part was written would keep the last bytes from those who need them.
        Assert.DoesNotContain(Directory.GetFiles(tiny.File($"state/{Sandbox}")), file => file.EndsWith(".new", StringComparison.Ordinal));
        Assert.Equal(2, _log.At(LogLevel.Error).Count);
        Assert.Equal(1, Assert.Single(Assert.Single(new StateStore(tiny.File("state"), _log).Load()).Lineages).HighestAttempt);
        Assert.NotNull(store.ReadCreateRequest(Sandbox, "proxy"));

        tiny.MakeRoom();
        Assert.True(store.Write(Lineage("proxy", attempt: 2)));
        Assert.True(store.WriteCreateRequest(Sandbox, "log", Create("log", new string('b', 50_000))));
    }

    private static LineageRecord Lineage(string name, int attempt = 0) => new() { SandboxId = Sandbox, Name = name, HighestAttempt = attempt };

    private static PodFacts Facts() => new()
    {
        Uid = "uid", Namespace = "default", Name = "pod", Overhead = new ResourceAmounts(5, 6),
        Containers = [new ContainerFacts("proxy", ContainerRole.RestartableInit, Limits: new ResourceAmounts(100, null))],
    };

    private static CreateContainerRequest Create(string name, string command) => new()
    {
        PodSandboxId = Sandbox,
        Config = new ContainerConfig { Metadata = new ContainerMetadata { Name = name }, Command = { command } },
    };

    private StateStore Open() => new(Root, _log);

    private string[] Everything() => [.. Directory.GetFileSystemEntries(_directory.Path, "*", SearchOption.AllDirectories).Order()];

    private void ComesBack(string name)
    {
        StateStore store = Open();
        Assert.True(store.Write(new PodRecord { SandboxId = Sandbox, StartOrder = ["kept"] }));
        Assert.True(store.WriteFacts(Sandbox, Facts()));

        Assert.True(store.Write(Lineage(name, attempt: 3)));
        Assert.True(store.WriteCreateRequest(Sandbox, name, Create("any", "command")));

        StoredSandbox stored = Assert.Single(Open().Load());
        Assert.Equal((name, 3), (Assert.Single(stored.Lineages).Name, stored.Lineages[0].HighestAttempt));
        Assert.Equal(["kept"], stored.Pod!.StartOrder);
        Assert.Equal("uid", store.ReadFacts(Sandbox)!.Uid);
        Assert.Equal("command", Open().ReadCreateRequest(Sandbox, name)!.Config.Command[0]);
        Assert.All(Everything(), entry => Assert.StartsWith(Root, entry, StringComparison.Ordinal));
        Assert.Equal(4, Directory.GetFiles(Path.Combine(Root, Sandbox)).Length);
        Assert.Empty(_log.All);
    }
}
