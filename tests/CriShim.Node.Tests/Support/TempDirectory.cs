using CriShim.TestSupport.Lab;

namespace CriShim.Node.Tests.Support;

/// <summary>A folder of one test.</summary>
internal class TempDirectory : IDisposable
{
    // Short: socket paths of 107 bytes have to fit below it.
    public string Path { get; } = Directory.CreateTempSubdirectory("crn-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing) => Directory.Delete(Path, recursive: true);
}

/// <summary>The same as a file system of its own, which is soon full.</summary>
internal sealed class TinyFileSystem : TempDirectory
{
    private readonly string _filler;

    public TinyFileSystem(int kilobytes)
    {
        Kernel.MountTmpfs(Path, $"size={kilobytes}k");
        _filler = File("filler");
    }

    /// <summary>Leaves no byte.</summary>
    public void Fill()
    {
        using var stream = new FileStream(_filler, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] block = new byte[1024];
        try
        {
            while (true)
            {
                stream.Write(block);
            }
        }
        catch (IOException)
        {
            // Full, as wanted.
        }
    }

    public void MakeRoom() => System.IO.File.Delete(_filler);

    protected override void Dispose(bool disposing)
    {
        Kernel.Detach(Path);
        base.Dispose(disposing);
    }
}
