using System.Text;

namespace CriShim.TestSupport.Lab;

/// <summary>The end of a log file, for a failure's message.</summary>
internal static class LogTail
{
    public static string Of(string file, int lines = 20)
    {
        if (!File.Exists(file))
        {
            return "(no log)";
        }

        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var reader = new StreamReader(stream, Encoding.UTF8);
        var all = reader.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return string.Join('\n', all.TakeLast(lines));
    }
}
