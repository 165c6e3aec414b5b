using System.ComponentModel;
using System.Diagnostics;
using CriShim.Configuration;
using Tmds.Linux;

namespace CriShim.Commands.Drain;

/// <summary>
/// Takes the place of a crishim that has died during a shutdown, or before: systemd starts no service again that it is about to stop. A
/// drain that was begun is taken up from the state directory. It serves the same admin socket until it is disposed of.
/// </summary>
/// <param name="crishim">The program, with arguments that come before its command.</param>
/// <param name="config">The configuration file that was named, if one was.</param>
/// <param name="adminSocket">The path of the admin socket.</param>
internal sealed class SubstituteCrishim(IReadOnlyList<string> crishim, string? config, string adminSocket) : IAsyncDisposable
{
    private static readonly TimeSpan StopPatience = TimeSpan.FromSeconds(15);

    private Process? _process;

    public bool IsStarted => _process is not null;

    /// <exception cref="InvalidOperationException">The program can't be run.</exception>
    public void Start()
    {
        string[] arguments =
        [
            .. crishim.Skip(1), "serve", ServeFlags.AdminName, adminSocket,
            // systemd still holds the callers' socket; nobody is to come any more.
            ServeFlags.ListenName, adminSocket + ".cri",
            .. config is null ? Array.Empty<string>() : [ServeFlags.ConfigName, config],
        ];
        var start = new ProcessStartInfo(crishim[0], arguments);
        string[] meantForThisProcess = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];
        foreach (string variable in meantForThisProcess)
        {
            _ = start.Environment.Remove(variable);
        }

        try
        {
            _process = Process.Start(start);
        }
        catch (Win32Exception exception)
        {
            throw new InvalidOperationException($"{crishim[0]} can't be run: {exception.Message}", exception);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is null)
        {
            return;
        }

        using var limit = new CancellationTokenSource(StopPatience, TimeProvider.System);
        try
        {
            _ = LibC.kill(_process.Id, LibC.SIGTERM);
            await _process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill();
        }

        _process.Dispose();
    }
}
