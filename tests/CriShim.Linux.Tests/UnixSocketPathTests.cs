namespace CriShim.Linux.Tests;

public sealed class UnixSocketPathTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("/run/a.sock", "/run/a.sock", true)]
    [InlineData("/run/a.sock", "/run/../run/./a.sock", true)]
    [InlineData("/nowhere/a.sock", "/nowhere/b.sock", false)]
    [InlineData("/nowhere/a.sock", "/tmp/a.sock", false)]
    public void AreSame_Paths_ComparesWhatTheyMean(string one, string other, bool same) =>
        Assert.Equal(same, UnixSocketPath.AreSame(one, other));

    [Fact]
    public void AreSame_DirectoryReachedByALink_IsTrueBeforeTheSocketExists()
    {
        Directory.CreateDirectory(_directory.File("run"));
        Directory.CreateSymbolicLink(_directory.File("var"), _directory.File("run"));

        Assert.True(UnixSocketPath.AreSame(_directory.File("run/a.sock"), _directory.File("var/a.sock")));
        Assert.False(UnixSocketPath.AreSame(_directory.File("run/a.sock"), _directory.File("var/b.sock")));
    }

    [Fact]
    public void AreSame_FileReachedByALink_IsTrue()
    {
        File.WriteAllText(_directory.File("a"), "");
        File.CreateSymbolicLink(_directory.File("b"), _directory.File("a"));

        Assert.True(UnixSocketPath.AreSame(_directory.File("a"), _directory.File("b")));
    }
}
