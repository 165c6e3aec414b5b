namespace CriShim.Supervision.Restarts;

/// <summary>Why an instance is not running, as far as its back-off is concerned.</summary>
public enum DeathCause
{
    /// <summary>Exit code 0. A sidecar is not meant to end, so it is restarted all the same.</summary>
    CleanExit,

    /// <summary>Any other exit code, signals included (128 + n).</summary>
    ErrorExit,

    /// <summary>Killed for want of memory: starting it again at once would only press a node that is short of memory.</summary>
    OutOfMemory,

    /// <summary>The backend refused to create or start the replacement. Nothing ran, so nothing died; the next try waits by its own steps.</summary>
    StartFailed,
}

/// <summary>How an instance ended, as the backend tells it.</summary>
/// <param name="ExitCode">The process's exit code; 128 + n for signal n.</param>
/// <param name="OutOfMemory">An out-of-memory event was seen for it, or the backend's reason is <c>OOMKilled</c>.</param>
/// <param name="FinishedAt">When it ended, by the backend's clock.</param>
public sealed record ContainerExit(int ExitCode, bool OutOfMemory, DateTimeOffset FinishedAt)
{
    /// <summary>Out of memory goes before the exit code: such a process may even end with 0.</summary>
    public DeathCause Cause => OutOfMemory ? DeathCause.OutOfMemory : ExitCode == 0 ? DeathCause.CleanExit : DeathCause.ErrorExit;
}
