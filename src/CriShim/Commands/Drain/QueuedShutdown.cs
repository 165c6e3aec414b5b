using CriShim.Linux;

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
    /// <summary>systemd is busy when a node shuts down; the unit's own limit is longer than this and a drain.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <exception cref="InvalidOperationException">systemd can't be asked; the message says why.</exception>
    public async Task<bool> IsQueuedAsync()
    {
        ProgramRun jobs = await ProgramRun.RunAsync(
            systemctl, ["list-jobs", "--no-legend", "--no-pager", "--full"], Patience, CancellationToken.None);
        if (jobs.Failure is { } failure)
        {
            throw new InvalidOperationException($"whether the node is shutting down is not known, so no pod is ended: {failure}");
        }

        // JOB UNIT TYPE STATE
        return jobs.Output.Split('\n').Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Any(job => job.Length >= 3 && job[1] == "shutdown.target" && job[2] == "start");
    }
}
