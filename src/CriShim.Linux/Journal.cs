using System.Globalization;

namespace CriShim.Linux;

/// <summary>Whether output goes to systemd's journal.</summary>
public static class Journal
{
    /// <summary>
    /// True when the standard error stream is connected to the journal: JOURNAL_STREAM holds the device and inode of the stream
    /// (systemd.exec(5)). The variable alone proves nothing, since it is inherited by what is started with other streams.
    /// </summary>
    public static bool IsStandardError()
    {
        string? stream = Environment.GetEnvironmentVariable("JOURNAL_STREAM");
        return stream is not null && Matches(stream, 2);
    }

    internal static bool Matches(string stream, int descriptor)
    {
        try
        {
            FileIdentity file = FileIdentity.OfDescriptor(descriptor);
            return stream == string.Create(CultureInfo.InvariantCulture, $"{file.Device}:{file.Inode}");
        }
        catch (SystemCallException)
        {
            return false; // The stream is closed.
        }
    }
}
