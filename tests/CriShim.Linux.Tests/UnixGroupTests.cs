namespace CriShim.Linux.Tests;

public sealed class UnixGroupTests
{
    [Theory]
    [InlineData("root", 0u)]
    [InlineData("tty", 5u)] // The same on every Debian.
    [InlineData("12345", 12345u)]
    [InlineData("0", 0u)]
    public void Find_NameOrNumber_GivesId(string text, uint id) => Assert.Equal(id, UnixGroup.Find(text));

    [Theory]
    [InlineData("")]
    [InlineData("no-such-group")]
    [InlineData("-1")]
    [InlineData("4294967295")] // (gid_t)-1, which chown(2) takes for "leave it".
    [InlineData("4294967296")]
    [InlineData("ro\0ot")]
    public void Find_NoGroup_GivesNull(string text) => Assert.Null(UnixGroup.Find(text));
}
