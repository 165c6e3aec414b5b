using System.ComponentModel;
using System.Diagnostics;

namespace CriShim.Commands.Drain;

/// <summary>Tells a stop of the node from the stop of a unit.</summary>
/// <remarks>
/// Poweroff, reboot, halt, kexec and soft-reboot all queue the start of shutdown.target, which waits until every unit has stopped; nothing
/// else queues it (systemd.special(7)). "systemctl is-system-running" would say "starting" for a node that is shut down while it still
/// boots.
/// </remarks>
/// <param name="systemctl">The program; as root it reaches systemd without the bus, which may have stopped already.</param>
internal sealed class QueuedShutdown(string systemctl = "systemctl")
{
    /// <exception cref="InvalidOperationException">systemd can't be asked; the message says why.</exception>
    public async Task<bool> IsQueuedAsync()
    {
        // JOB UNIT TYPE STATE
        string jobs = await AskAsync("list-jobs", "--no-legend", "--no-pager", "--full");
        return jobs.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Any(job => job.Length >= 3 && job[1] == "shutdown.target" && job[2] == "start");
    }

    private async Task<string> AskAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo(systemctl, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["LC_ALL"] = "C";
        try
        {
            using Process process = Process.Start(start)!;
            Task<string> error = process.StandardError.ReadToEndAsync();
            string output = await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            return process.ExitCode == 0
                ? output
                : throw Unknown($"{systemctl} {arguments[0]} failed: {(await error).Trim()}");
        }
        catch (Win32Exception exception)
        {
            throw Unknown($"{systemctl} can't be run: {exception.Message}");
        }
    }

    private static InvalidOperationException Unknown(string reason) =>
        new($"whether the node is shutting down is not known, so no pod is ended: {reason}");
}
