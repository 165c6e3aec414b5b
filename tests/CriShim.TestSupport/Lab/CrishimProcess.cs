using System.Diagnostics;
using System.Net.Sockets;

namespace CriShim.TestSupport.Lab;

/// <summary>The real executable as a process: the native one when CRISHIM_BIN names it, else the built assembly.</summary>
public sealed class CrishimProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _logFile;
    private bool _isDisposed;

    private CrishimProcess(Process process, string listenPath, string logFile)
    {
        _process = process;
        ListenPath = listenPath;
        _logFile = logFile;
    }

    public string ListenPath { get; }

    public int ProcessId => _process.Id;

    public string Log => LogTail.Of(_logFile, int.MaxValue);

    public bool HasExited => _process.HasExited;

    /// <summary>Starts <c>crishim serve</c> between the two sockets and waits until its socket accepts. Its own files go to <paramref name="folder"/>.</summary>
    public static Task<CrishimProcess> ServeAsync(string listenPath, string containerdPath, string folder, params string[] more) =>
        ServeAsync(new Dictionary<string, string>(), listenPath, containerdPath, folder, more);

    /// <inheritdoc cref="ServeAsync(string, string, string, string[])"/>
    /// <param name="environment">Variables that it gets beside the test's own.</param>
    /// <param name="listenPath">Its socket.</param>
    /// <param name="containerdPath">The backend's.</param>
    /// <param name="folder">For its own files.</param>
    /// <param name="more">Flags.</param>
    public static async Task<CrishimProcess> ServeAsync(
        IReadOnlyDictionary<string, string> environment, string listenPath, string containerdPath, string folder, params string[] more)
    {
        var crishim = Launch(environment, listenPath, containerdPath, folder, more);
        try
        {
            await Condition.BecomesTrueAsync($"crishim serves on {listenPath}", TimeSpan.FromSeconds(60), () =>
            {
                if (crishim.HasExited)
                {
                    throw new LabException($"crishim exited with {crishim._process.ExitCode} instead of serving.\n{crishim.Log}");
                }

                return Accepts(listenPath);
            }).ConfigureAwait(false);
            return crishim;
        }
        catch (TimeoutException failure)
        {
            var log = crishim.Log;
            await crishim.DisposeAsync().ConfigureAwait(false);
            throw new LabException($"{failure.Message}\n{log}", failure);
        }
        catch
        {
            await crishim.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Starts it and does not wait: for starts that are meant to fail.</summary>
    public static CrishimProcess Launch(string listenPath, string containerdPath, string folder, params string[] more) =>
        Launch(new Dictionary<string, string>(), listenPath, containerdPath, folder, more);

    private static CrishimProcess Launch(
        IReadOnlyDictionary<string, string> environment, string listenPath, string containerdPath, string folder, string[] more)
    {
        Directory.CreateDirectory(folder);
        var logFile = Path.Combine(folder, $"crishim-{Guid.NewGuid():N}.log");
        string[] command =
        [
            .. Executable(), "serve", "--listen", $"unix://{listenPath}", "--containerd", $"unix://{containerdPath}",
            // Its own: a node's usual places would be shared with the machine's crishim, and with the other labs.
            .. Unless("--admin", $"{listenPath}.a"), .. Unless("--state-dir", Path.Combine(folder, "state")),
            .. Unless("--kubeconfig", "off"), .. Unless("--pod-manifests", "off"), .. Unless("--metrics", "off"), .. more,
        ];

        string[] Unless(string flag, string value) => more.Contains(flag) ? [] : [flag, value];
        var start = new ProcessStartInfo("/bin/sh", ["-c", "log=$0; exec setsid \"$@\" > \"$log\" 2>&1 < /dev/null", logFile, .. command]);
        foreach (var name in new[] { "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID" })
        {
            start.Environment.Remove(name);
        }

        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        return new CrishimProcess(Process.Start(start)!, listenPath, logFile);
    }

    /// <summary>Runs one of its other commands to its end, on the admin socket of this one.</summary>
    /// <returns>The exit code, and all that it printed.</returns>
    public async Task<(int ExitCode, string Output)> CommandAsync(string command, params string[] arguments)
    {
        string[] executable = Executable();
        using Process run = Process.Start(new ProcessStartInfo(
            executable[0], [.. executable[1..], command, "--admin", $"unix://{ListenPath}.a", .. arguments])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        })!;
        string[] printed = await Task.WhenAll(run.StandardOutput.ReadToEndAsync(), run.StandardError.ReadToEndAsync()).ConfigureAwait(false);
        await run.WaitForExitAsync().ConfigureAwait(false);
        return (run.ExitCode, string.Concat(printed));
    }

    /// <summary>Asks it to end and gives the exit code.</summary>
    public Task<int> TerminateAsync(TimeSpan timeout)
    {
        Kernel.Signal(_process.Id, Kernel.SigTerm);
        return ExitAsync(timeout);
    }

    /// <summary>SIGKILL: its socket file stays.</summary>
    public async Task KillAsync()
    {
        if (!_process.HasExited)
        {
            Kernel.Signal(_process.Id, Kernel.SigKill);
            await ExitAsync(TimeSpan.FromSeconds(60)).ConfigureAwait(false);
        }
    }

    /// <summary>The exit code, once it has ended by itself.</summary>
    public async Task<int> ExitAsync(TimeSpan timeout)
    {
        using var limit = new CancellationTokenSource(timeout);
        try
        {
            await _process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"crishim still ran after {timeout.TotalSeconds:0.#} s.\n{Log}");
        }

        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            await KillAsync().ConfigureAwait(false);
            _process.Dispose();
        }
    }

    private static string[] Executable()
    {
        if (Environment.GetEnvironmentVariable("CRISHIM_BIN") is { Length: > 0 } native)
        {
            return File.Exists(native) ? [native] : throw new LabException($"CRISHIM_BIN names {native}, which is not there. Run: make build");
        }

        // The configuration that the tests were built in is the one whose executable was built along.
        var configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name;
        var assembly = Path.Combine(Repository.Root, "src", "CriShim", "bin", configuration, "net10.0", "crishim.dll");
        return File.Exists(assembly) ? ["dotnet", assembly] : throw new LabException($"{assembly} is not built. Run: dotnet build");
    }

    private static bool Accepts(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
