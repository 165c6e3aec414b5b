using System.IO.Compression;
using CriShim.Linux.Files;

namespace CriShim.Linux.Tests.Files;

public sealed class ContainerLogTests : IDisposable
{
    private const string Rotated = "0.log.20260101-000000";
    private readonly TempDirectory _node = new();
    private readonly ContainerFiles _files;
    private readonly string _directory;
    private readonly string _secret;

    public ContainerLogTests()
    {
        _files = new ContainerFiles(new ContainerFileRoots { PodLogs = _node.File("pods") });
        _directory = Directory.CreateDirectory(Path.Combine(_node.File("pods"), "default_pod_uid", "proxy")).FullName;
        _secret = _node.File("secret");
        File.WriteAllText(_secret, "secret");
    }

    private string LogPath => Path.Combine(_directory, "0.log");

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Files_OnlyTheLogsOwnRegularOnes_AreGivenWithTheirSizes()
    {
        File.WriteAllText(LogPath, "12345");
        File.WriteAllText(Path.Combine(_directory, Rotated), "1");
        File.WriteAllText(Path.Combine(_directory, "1.log"), "1");
        _ = File.CreateSymbolicLink(Path.Combine(_directory, "0.log.20260101-000001"), _secret);
        _ = Directory.CreateDirectory(Path.Combine(_directory, "0.log.d"));

        using ContainerLog log = Open();

        Assert.Equal([new LogFile("0.log", 5), new LogFile(Rotated, 1)], log.Files().OrderBy(file => file.Name, StringComparer.Ordinal));
    }

    [Fact]
    public void Compress_ARotatedLog_LeavesItsTextCompressedAndNothingElse()
    {
        string text = string.Concat(Enumerable.Range(0, 100_000).Select(i => $"line {i}\n"));
        File.WriteAllText(Path.Combine(_directory, Rotated), text);

        using ContainerLog log = Open();
        Assert.Equal(FileOutcome.Done, log.Compress(Rotated).Outcome);

        Assert.Equal([Rotated + ".gz"], Directory.GetFiles(_directory).Select(Path.GetFileName));
        using var reader = new StreamReader(new GZipStream(File.OpenRead(Path.Combine(_directory, Rotated + ".gz")), CompressionMode.Decompress));
        Assert.Equal(text, reader.ReadToEnd());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path.Combine(_directory, Rotated + ".gz")));
    }

    [Fact]
    public void Compress_ALinkToSomethingElse_IsNotFollowed()
    {
        _ = File.CreateSymbolicLink(Path.Combine(_directory, Rotated), _secret);

        using ContainerLog log = Open();
        Assert.Equal(FileOutcome.Hostile, log.Compress(Rotated).Outcome);

        Assert.Equal([Rotated], Directory.GetFiles(_directory).Select(Path.GetFileName));
        Assert.Equal("secret", File.ReadAllText(_secret));
    }

    [Fact]
    public void Compress_ALinkInTheTemporaryFilesPlace_IsNotWrittenThrough()
    {
        File.WriteAllText(Path.Combine(_directory, Rotated), "text");
        _ = File.CreateSymbolicLink(Path.Combine(_directory, Rotated + ".tmp"), _secret);

        using ContainerLog log = Open();
        _ = log.Compress(Rotated);

        Assert.Equal("secret", File.ReadAllText(_secret));
        Assert.Equal("text", File.ReadAllText(Path.Combine(_directory, Rotated)));
    }

    [Fact]
    public void Rename_TheLog_GivesItTheOtherNameAlone()
    {
        File.WriteAllText(LogPath, "text");

        using ContainerLog log = Open();
        Assert.Equal(FileOutcome.Done, log.Rename("0.log", Rotated).Outcome);
        Assert.Equal(FileOutcome.Absent, log.Rename("0.log", Rotated).Outcome);

        Assert.Equal("text", File.ReadAllText(Path.Combine(_directory, Rotated)));
    }

    [Theory]
    [InlineData("/etc/0.log")]
    [InlineData("{root}/../0.log")]
    [InlineData("{root}/default_pod_uid/proxy/../../0.log")]
    [InlineData("{root}/default_pod_uid/proxy/passwd")]
    [InlineData("{root}/default_pod_uid/proxy")]
    public void OpenLog_PathThatIsNoLogOfAPod_IsRefused(string path)
    {
        FileResult result = _files.OpenLog(path.Replace("{root}", _node.File("pods"), StringComparison.Ordinal), out ContainerLog? log);
        Assert.Equal(FileOutcome.OutsideRoot, result.Outcome);
        Assert.Null(log);
    }

    [Fact]
    public void OpenLog_LinkOnTheWay_IsNotFollowed()
    {
        string elsewhere = Directory.CreateDirectory(_node.File("elsewhere")).FullName;
        _ = Directory.CreateSymbolicLink(Path.Combine(_node.File("pods"), "default_pod_uid", "agent"), elsewhere);
        FileResult result = _files.OpenLog(Path.Combine(_node.File("pods"), "default_pod_uid", "agent", "0.log"), out ContainerLog? log);
        Assert.Equal(FileOutcome.Hostile, result.Outcome);
        Assert.Null(log);
    }

    private ContainerLog Open()
    {
        Assert.Equal(FileOutcome.Done, _files.OpenLog(LogPath, out ContainerLog? log).Outcome);
        return log!;
    }
}
