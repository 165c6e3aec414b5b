namespace CriShim.Discovery;

/// <summary>Reads files that other programs replace while they are read.</summary>
internal static class SmallFile
{
    /// <returns>The content; null when it is larger than allowed.</returns>
    public static byte[]? Read(string path, int maxBytes)
    {
        using var stream = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.Open,
            Access = FileAccess.Read,
            Share = FileShare.ReadWrite | FileShare.Delete,
            BufferSize = 0,
        });

        // Its length now is a guess, and one byte more shows whether it has grown.
        byte[] content = new byte[Math.Min(stream.Length, maxBytes) + 1];
        int read = 0;
        while (true)
        {
            int more = stream.Read(content, read, content.Length - read);
            read += more;
            if (more == 0)
            {
                return content[..read];
            }

            if (read > maxBytes)
            {
                return null;
            }

            if (read == content.Length)
            {
                Array.Resize(ref content, Math.Min(content.Length * 2, maxBytes + 1));
            }
        }
    }
}
