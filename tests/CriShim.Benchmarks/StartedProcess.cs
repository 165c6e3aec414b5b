using System.Diagnostics;
using Tmds.Linux;

namespace CriShim.Benchmarks;

/// <summary>A process of the run, and the last of what it printed for the message of a failure.</summary>
internal sealed class StartedProcess : IDisposable
{
    private const int LinesKept = 30;

    private static readonly TimeSpan EndGrace = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly Queue<string> _output = new();
    private readonly string _program;

    public StartedProcess(string program, IEnumerable<string> arguments)
    {
        _program = program;
        _process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            },
        };
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        StartedAt = Stopwatch.GetTimestamp();
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Just before fork, in ticks of <see cref="Stopwatch"/>.</summary>
    public long StartedAt { get; }

    /// <summary>The process and its children: nginx's work is done by a child.</summary>
    /// <exception cref="MeasurementException">It has ended.</exception>
    public IReadOnlyList<int> ProcessIds
    {
        get
        {
            ThrowIfEnded();
            return ProcessReadings.WithChildren(_process.Id);
        }
    }

    public void ThrowIfEnded()
    {
        if (_process.HasExited)
        {
            throw new MeasurementException($"{_program} ended with code {_process.ExitCode}:\n{Output}");
        }
    }

    public string Output
    {
        get
        {
            lock (_output)
            {
                return string.Join('\n', _output);
            }
        }
    }

    public void Dispose()
    {
        // Asked first: a killed nginx leaves its worker to whoever adopts it.
        if (!_process.HasExited && (LibC.kill(_process.Id, LibC.SIGTERM) != 0 || !_process.WaitForExit(EndGrace)))
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    private void Keep(string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (_output)
        {
            _output.Enqueue(line);
            while (_output.Count > LinesKept)
            {
                _output.Dequeue();
            }
        }
    }
}
