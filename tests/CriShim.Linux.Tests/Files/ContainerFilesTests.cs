using System.Diagnostics;
using CriShim.Linux.Files;

namespace CriShim.Linux.Tests.Files;

/// <summary>With openat2.</summary>
public sealed class ContainerFilesTests : ContainerFilesContract;

/// <summary>Kernels before 5.6, and system call filters.</summary>
public sealed class ContainerFilesWithoutOpenat2Tests : ContainerFilesContract
{
    public ContainerFilesWithoutOpenat2Tests() => RootedDirectory.AvoidOpenat2 = true;

    protected override void Dispose(bool disposing)
    {
        RootedDirectory.AvoidOpenat2 = false;
        base.Dispose(disposing);
    }
}

/// <summary>Both ways share a switch, so they take turns.</summary>
[Collection(nameof(ContainerFiles))]
public abstract class ContainerFilesContract : IDisposable
{
    private const string Uid = "b98e16ab-b530-4153-8fcf-17b910128c66";
    private const UnixFileMode Mode0666 = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead
        | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    private readonly TempDirectory _node = new();
    private readonly ContainerFiles _files;
    private readonly string _terminationLogs;
    private readonly string _logs;
    private readonly string _links;
    private readonly string _secret;

    protected ContainerFilesContract()
    {
        var roots = new ContainerFileRoots
        {
            PodLogs = _node.File("pods-log"),
            ContainerLogs = _node.File("containers-log"),
            KubeletPods = _node.File("kubelet-pods"),
        };
        _files = new ContainerFiles(roots);
        _terminationLogs = Path.Combine(roots.KubeletPods, Uid, "containers", "proxy");
        _logs = Path.Combine(roots.PodLogs, $"default_s7_{Uid}", "proxy");
        _links = roots.ContainerLogs;
        Directory.CreateDirectory(_terminationLogs);
        Directory.CreateDirectory(_logs);
        Directory.CreateDirectory(_links);
        // What no hostile name or link may reach.
        _secret = Directory.CreateDirectory(_node.File("secret")).FullName;
        File.WriteAllText(Path.Combine(_secret, "0.log"), "secret");
        File.WriteAllText(Path.Combine(_secret, "9ccf65fa"), "secret");
    }

    private string OldTerminationLog => Path.Combine(_terminationLogs, "9ccf65fa");

    private string Log => Path.Combine(_logs, "0.log");

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void CreateTerminationLog_OldOneThere_MakesFreshFileBesideItForEverybody()
    {
        File.WriteAllText(OldTerminationLog, "last words");

        FileResult result = _files.CreateTerminationLog(OldTerminationLog);

        Assert.Equal(FileOutcome.Done, result.Outcome);
        Assert.Equal(_terminationLogs, Path.GetDirectoryName(result.Path));
        Assert.Matches("^[0-9a-f]{8}$", Path.GetFileName(result.Path));
        Assert.NotEqual(OldTerminationLog, result.Path);
        Assert.Equal("", File.ReadAllText(result.Path));
        Assert.Equal(Mode0666, File.GetUnixFileMode(result.Path));
        Assert.Equal("last words", File.ReadAllText(OldTerminationLog));
    }

    [Fact]
    public void CreateTerminationLog_OldOneGone_StillMakesOne() =>
        Assert.Equal(FileOutcome.Done, _files.CreateTerminationLog(OldTerminationLog).Outcome);

    [Fact]
    public void CreateTerminationLog_DirectoryGone_IsAbsent()
    {
        Directory.Delete(_terminationLogs);

        Assert.Equal(FileOutcome.Absent, _files.CreateTerminationLog(OldTerminationLog).Outcome);
    }

    [Theory]
    [InlineData("/etc/9ccf65fa")]
    [InlineData("{pods}/../../etc/containers/x/9ccf65fa")]
    [InlineData("{pods}/uid/containers/../9ccf65fa")]
    [InlineData("{pods}/uid/containers//9ccf65fa")]
    [InlineData("{pods}/uid/volumes/kubernetes.io~empty-dir/9ccf65fa")]
    [InlineData("{pods}/uid/containers/proxy/passwd")]
    [InlineData("{pods}/uid/containers/proxy/9ccf65fa/x")]
    [InlineData("{pods}/uid/containers/a\0b/9ccf65fa")]
    [InlineData("{pods}")]
    [InlineData("")]
    public void TerminationLog_PathOfAnotherShape_IsRefused(string path)
    {
        path = path.Replace("{pods}", _node.File("kubelet-pods"), StringComparison.Ordinal);

        Assert.Equal(FileOutcome.OutsideRoot, _files.CreateTerminationLog(path).Outcome);
        Assert.Equal(FileOutcome.OutsideRoot, _files.RemoveTerminationLog(path).Outcome);
    }

    [Theory]
    [InlineData("{uid}")]
    [InlineData("{uid}/containers")]
    [InlineData("{uid}/containers/proxy")]
    public void TerminationLog_LinkOnTheWay_IsHostileAndTouchesNothing(string link)
    {
        string path = Path.Combine(_node.File("kubelet-pods"), link.Replace("{uid}", Uid, StringComparison.Ordinal));
        Directory.Delete(path, recursive: true);
        // Whatever is below the link, the rest of the path would be found there.
        Directory.CreateDirectory(Path.Combine(_secret, "containers", "proxy"));
        Directory.CreateDirectory(Path.Combine(_secret, "proxy"));
        File.CreateSymbolicLink(path, _secret);

        Assert.Equal(FileOutcome.Hostile, _files.CreateTerminationLog(OldTerminationLog).Outcome);
        Assert.Equal(FileOutcome.Hostile, _files.RemoveTerminationLog(OldTerminationLog).Outcome);
        Assert.Equal(["0.log", "9ccf65fa"], Directory.GetFiles(_secret, "*", SearchOption.AllDirectories).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void RemoveTerminationLog_IsALink_RemovesTheLinkAlone()
    {
        File.CreateSymbolicLink(OldTerminationLog, Path.Combine(_secret, "0.log"));

        Assert.Equal(FileOutcome.Done, _files.RemoveTerminationLog(OldTerminationLog).Outcome);
        Assert.Equal(FileOutcome.Absent, _files.RemoveTerminationLog(OldTerminationLog).Outcome);
        Assert.Equal("secret", File.ReadAllText(Path.Combine(_secret, "0.log")));
    }

    [Fact]
    public void LinkLog_LogThere_MakesTheKubeletsLink()
    {
        File.WriteAllText(Log, "up");

        FileResult result = _files.LinkLog(Log, "s7", "default", "proxy", "4331f9fe");

        Assert.Equal(new FileResult(FileOutcome.Done, Path.Combine(_links, "s7_default_proxy-4331f9fe.log")), result);
        Assert.Equal(Log, new FileInfo(result.Path).LinkTarget);
        Assert.Equal(FileOutcome.Done, _files.LinkLog(Log, "s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.Equal(FileOutcome.Done, _files.RemoveLink("s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.Equal(FileOutcome.Absent, _files.RemoveLink("s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.True(File.Exists(Log));
    }

    [Fact]
    public void LinkLog_LogMissing_MakesNoLink()
    {
        Assert.Equal(FileOutcome.Absent, _files.LinkLog(Log, "s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.Empty(Directory.GetFileSystemEntries(_links));
    }

    [Fact]
    public void LinkLog_LogIsALink_IsHostile()
    {
        File.CreateSymbolicLink(Log, Path.Combine(_secret, "0.log"));

        Assert.Equal(FileOutcome.Hostile, _files.LinkLog(Log, "s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.Empty(Directory.GetFileSystemEntries(_links));
    }

    [Fact]
    public void LinkLog_NameTakenByAnotherLink_ReplacesIt()
    {
        File.WriteAllText(Log, "up");
        string link = Path.Combine(_links, "s7_default_proxy-4331f9fe.log");
        File.CreateSymbolicLink(link, Path.Combine(_secret, "0.log"));

        Assert.Equal(FileOutcome.Done, _files.LinkLog(Log, "s7", "default", "proxy", "4331f9fe").Outcome);
        Assert.Equal(Log, new FileInfo(link).LinkTarget);
        Assert.Equal("secret", File.ReadAllText(Path.Combine(_secret, "0.log")));
    }

    [Fact]
    public void LinkLog_HostileName_IsRefused()
    {
        File.WriteAllText(Log, "up");

        Assert.Equal(FileOutcome.OutsideRoot, _files.LinkLog(Log, "../secret/x", "default", "proxy", "1").Outcome);
        Assert.Equal(FileOutcome.OutsideRoot, _files.RemoveLink("../secret/x", "default", "proxy", "1").Outcome);
    }

    [Fact]
    public void LinkName_LongerThanFileNamesMayBe_IsCutBeforeItsSuffix()
    {
        string name = ContainerFiles.LinkName(new string('p', 200), new string('n', 63), "proxy", new string('0', 64));

        Assert.Equal(255, name.Length);
        Assert.EndsWith("n.log", name, StringComparison.Ordinal);
    }

    [Fact]
    public void RemoveLogs_RotatedOnes_GoToo_OtherAttemptsStay()
    {
        string[] mine = ["0.log", "0.log.20260102-030405", "0.log.20260102-030405.gz", "0.log.20260102-030406.gz.tmp"];
        string[] others = ["1.log", "10.log", "0.logs", "1.log.20260102-030405"];
        foreach (string name in mine.Concat(others))
        {
            File.WriteAllText(Path.Combine(_logs, name), "");
        }

        Directory.CreateDirectory(Path.Combine(_logs, "0.log.directory"));

        Assert.Equal(new FileResult(FileOutcome.Done, Log), _files.RemoveLogs(Log));
        Assert.Equal(others.Order(StringComparer.Ordinal), Directory.GetFiles(_logs).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal));
        Assert.Equal(FileOutcome.Absent, _files.RemoveLogs(Log).Outcome);
    }

    [Fact]
    public void RemoveLogs_LogsAreLinks_RemovesTheLinksAlone()
    {
        File.CreateSymbolicLink(Log, Path.Combine(_secret, "0.log"));
        File.CreateSymbolicLink(Log + ".20260102-030405", Path.Combine(_secret, "9ccf65fa"));

        Assert.Equal(FileOutcome.Done, _files.RemoveLogs(Log).Outcome);
        Assert.Empty(Directory.GetFileSystemEntries(_logs));
        Assert.Equal(2, Directory.GetFiles(_secret).Length);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void RemoveLogs_DirectoryIsALink_IsHostile(bool podDirectory)
    {
        string link = podDirectory ? Path.GetDirectoryName(_logs)! : _logs;
        Directory.Delete(link, recursive: true);
        File.CreateSymbolicLink(link, _secret);
        Directory.CreateDirectory(Path.Combine(_secret, "proxy"));
        File.WriteAllText(Path.Combine(_secret, "proxy", "0.log"), "secret");

        Assert.Equal(FileOutcome.Hostile, _files.RemoveLogs(Log).Outcome);
        Assert.Equal(3, Directory.GetFiles(_secret, "*", SearchOption.AllDirectories).Length);
    }

    [Theory]
    [InlineData("/etc/passwd")]
    [InlineData("{logs}/../secret/x/0.log")]
    [InlineData("{logs}/pod/proxy/../../0.log")]
    [InlineData("{logs}/pod/proxy/messages")]
    [InlineData("{logs}/pod/proxy/*.log")]
    [InlineData("{logs}/pod/proxy/-1.log")]
    [InlineData("{logs}/pod/proxy/.log")]
    [InlineData("{logs}/0.log")]
    public void RemoveLogs_PathOfAnotherShape_IsRefused(string path)
    {
        path = path.Replace("{logs}", _node.File("pods-log"), StringComparison.Ordinal);

        Assert.Equal(FileOutcome.OutsideRoot, _files.RemoveLogs(path).Outcome);
    }

    [Fact]
    public void RootItself_ReachedByALinkOfTheOperator_IsFollowed()
    {
        File.CreateSymbolicLink(_node.File("alias"), _node.File("pods-log"));
        File.WriteAllText(Log, "up");
        var files = new ContainerFiles(new ContainerFileRoots { PodLogs = _node.File("alias") });

        Assert.Equal(FileOutcome.Done, files.RemoveLogs(Log.Replace("pods-log", "alias", StringComparison.Ordinal)).Outcome);
        Assert.False(File.Exists(Log));
    }

    [Theory]
    [InlineData("size=64k,nr_inodes=5", FileOutcome.NoSpace)]
    [InlineData("ro", FileOutcome.ReadOnly)]
    public void FileSystemFullOrReadOnly_SaysSoAndThrowsNothing(string options, FileOutcome expected)
    {
        string mount = _node.File("kubelet-pods");
        Mount("-t", "tmpfs", "-o", options.Replace("ro", "size=64k", StringComparison.Ordinal), "tmpfs", mount);
        try
        {
            Directory.CreateDirectory(_terminationLogs);
            File.WriteAllText(OldTerminationLog, "");
            if (options == "ro")
            {
                Mount("-o", "remount,ro", mount);
                Assert.Equal(expected, _files.RemoveTerminationLog(OldTerminationLog).Outcome);
            }

            FileResult result = _files.CreateTerminationLog(OldTerminationLog);

            Assert.Equal(expected, result.Outcome);
            Assert.DoesNotContain("errno", result.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            Run("umount", mount);
        }
    }

    protected virtual void Dispose(bool disposing) => _node.Dispose();

    private static void Mount(params string[] arguments) => Run("mount", arguments);

    private static void Run(string command, params string[] arguments)
    {
        using Process process = Process.Start(command, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
