namespace CriShim.Linux.Tests;

public sealed class JournalTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Matches_StreamOfThatDescriptor_IsTrue()
    {
        using FileStream file = File.Create(_directory.File("journal"));
        FileIdentity identity = FileIdentity.OfPath(file.Name)!;

        Assert.True(Journal.Matches($"{identity.Device}:{identity.Inode}", Descriptor(file)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("1:2")]
    [InlineData("nonsense")]
    public void Matches_AnotherStream_IsFalse(string stream)
    {
        using FileStream file = File.Create(_directory.File("journal"));

        Assert.False(Journal.Matches(stream, Descriptor(file)));
    }

    [Fact]
    public void Matches_ClosedDescriptor_IsFalse() => Assert.False(Journal.Matches("1:2", 1_000_000));

    private static int Descriptor(FileStream file) => (int)file.SafeFileHandle.DangerousGetHandle();
}
