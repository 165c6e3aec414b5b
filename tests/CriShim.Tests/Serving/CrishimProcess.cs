using System.Diagnostics;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace CriShim.Tests.Serving;

/// <summary>The executable as a process of its own, with this test in systemd's place.</summary>
internal sealed class CrishimProcess : IAsyncDisposable
{
    private readonly Socket _notifications;
    private readonly CancellationTokenSource _timeout = new(TimeSpan.FromMinutes(2));
    private readonly Process _process;
    private readonly Task<string> _log;

    private CrishimProcess(ProcessStartInfo start, Socket notifications)
    {
        _notifications = notifications;
        start.RedirectStandardError = true;
        _process = Process.Start(start)!;
        _log = _process.StandardError.ReadToEndAsync();
    }

    public static string Assembly { get; } = Path.Combine(AppContext.BaseDirectory, "crishim.dll");

    public int Id => _process.Id;

    /// <param name="directory">The test's own, for the notification socket.</param>
    /// <param name="configure">Adds to arguments and environment.</param>
    /// <param name="command">What runs "dotnet crishim.dll" if not the test itself; NOTIFY_SOCKET comes as the argument after.</param>
    public static CrishimProcess Start(TempDirectory directory, Action<ProcessStartInfo> configure, params string[] command)
    {
        string path = directory.File($"notify-{Guid.NewGuid():N}"[..20]);
        var notifications = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        notifications.Bind(new UnixDomainSocketEndPoint(path));
        string[] whole = [.. command, Environment.ProcessPath is { } host && Path.GetFileName(host) == "dotnet" ? host : "dotnet", Assembly];
        var start = new ProcessStartInfo(whole[0], whole[1..]);
        start.Environment["NOTIFY_SOCKET"] = path;
        foreach (string variable in (ReadOnlySpan<string>)["WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "LISTEN_PID", "LISTEN_FDS"])
        {
            start.Environment.Remove(variable);
        }

        configure(start);
        return new CrishimProcess(start, notifications);
    }

    /// <summary>The next notification, first line only; fails with the log if the process exits instead.</summary>
    public async Task<string> Notified()
    {
        byte[] buffer = new byte[4096];
        Task<int> received = _notifications.ReceiveAsync(buffer, _timeout.Token).AsTask();
        if (await Task.WhenAny(received, _log) != received)
        {
            // It has exited. What it sent before is in the socket's queue, and the receive may be just about to see it.
            _ = await Task.WhenAny(received, Task.Delay(TimeSpan.FromSeconds(20), _timeout.Token));
            Assert.True(received.IsCompleted, $"no notification; exit code {await ExitCode()}, log:\n{await _log}");
        }

        return Encoding.UTF8.GetString(buffer, 0, await received).Split('\n')[0];
    }

    public async Task<int> ExitCode()
    {
        await _process.WaitForExitAsync(_timeout.Token);
        return _process.ExitCode;
    }

    /// <summary>All that it has written to the standard error stream, once it has exited.</summary>
    public Task<string> Log() => _log.WaitAsync(_timeout.Token);

    public void Signal(PosixSignal signal) => Assert.Equal(0, Tmds.Linux.LibC.kill(_process.Id, signal switch
    {
        PosixSignal.SIGTERM => Tmds.Linux.LibC.SIGTERM,
        PosixSignal.SIGINT => Tmds.Linux.LibC.SIGINT,
        _ => throw new ArgumentOutOfRangeException(nameof(signal)),
    }));

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync(CancellationToken.None);
        }

        _process.Dispose();
        _notifications.Dispose();
        _timeout.Dispose();
    }
}
