using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests.Chaos;

/// <summary>A pipe in the place of the file that is about to be written: who opens it waits, for nobody reads.</summary>
internal sealed class RecordPipe : IAsyncDisposable
{
    private readonly string _path;

    private RecordPipe(string path) => _path = path;

    public static async Task<RecordPipe> MakeAsync(string path)
    {
        _ = await Command.RunAsync("mkfifo", [path]);
        return new RecordPipe(path);
    }

    /// <summary>One of the process's threads waits for the other side of a pipe: that is where it opens it.</summary>
    public static bool IsAwaited(int processId)
    {
        foreach (string thread in Directory.GetDirectories($"/proc/{processId}/task"))
        {
            try
            {
                if (File.ReadAllText(Path.Combine(thread, "wchan")) == "wait_for_partner")
                {
                    return true;
                }
            }
            catch (IOException)
            {
                // It has ended.
            }
        }

        return false;
    }

    public ValueTask DisposeAsync()
    {
        File.Delete(_path);
        return ValueTask.CompletedTask;
    }
}
