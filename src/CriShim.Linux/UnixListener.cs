namespace CriShim.Linux;

/// <summary>A Unix stream socket that listens: bound here, or inherited from systemd.</summary>
public sealed class UnixListener : IDisposable
{
    internal UnixListener(int descriptor, string path)
    {
        Descriptor = descriptor;
        Path = path;
    }

    /// <summary>The listening file descriptor: non-blocking, close-on-exec. Owned by this object.</summary>
    public int Descriptor { get; }

    /// <summary>The path callers connect to.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
