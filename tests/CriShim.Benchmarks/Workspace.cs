namespace CriShim.Benchmarks;

/// <summary>A directory for sockets and files, and the processes started for a run. All of it is gone after disposal.</summary>
internal sealed class Workspace : IDisposable
{
    private readonly List<StartedProcess> _processes = [];
    private int _files;

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("crishim-bench-").FullName;

    /// <summary>A path in the workspace that nothing uses yet.</summary>
    public string NewPath(string name) => Path.Combine(Directory, $"{Interlocked.Increment(ref _files)}-{name}");

    public StartedProcess Start(string program, params IEnumerable<string> arguments)
    {
        var process = new StartedProcess(program, arguments);
        lock (_processes)
        {
            _processes.Add(process);
        }

        return process;
    }

    /// <summary>Ends a process before the run does.</summary>
    public void End(StartedProcess process)
    {
        lock (_processes)
        {
            _processes.Remove(process);
        }

        process.Dispose();
    }

    public void Dispose()
    {
        lock (_processes)
        {
            // In reverse: proxies first, so that none logs the loss of its backend.
            for (var index = _processes.Count - 1; index >= 0; index--)
            {
                _processes[index].Dispose();
            }

            _processes.Clear();
        }

        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
