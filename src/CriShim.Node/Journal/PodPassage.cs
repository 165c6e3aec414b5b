using CriShim.Supervision.Supervisor;

namespace CriShim.Node.Journal;

/// <summary>
/// Notes the passages of a pod's life that no command of its supervisor tells: that its mains have completed, that it ends, that it has
/// ended. Looked for whenever the supervisor was told something, under the pod's lock.
/// </summary>
internal sealed class PodPassage(NodeJournal journal, PodName pod)
{
    private bool _haveMainsCompleted;
    private DateTimeOffset? _beganAt;
    private DateTimeOffset? _allEndedAt;
    private DateTimeOffset? _deadline;
    private bool _isOver;

    public void Look(PodSupervisor supervisor, DateTimeOffset now)
    {
        if (!_haveMainsCompleted && supervisor.HaveMainsCompleted)
        {
            _haveMainsCompleted = true;

            // Of a Job that lies there completed it was told by the crishim of then, and would be by each that follows.
            if (supervisor.IsSandboxReady)
            {
                journal.MainsCompleted(pod);
            }
        }

        if (_isOver || !(supervisor.IsTerminating || supervisor.IsEnding))
        {
            return;
        }

        if (_beganAt is null)
        {
            if (!supervisor.IsSandboxReady)
            {
                // Its end was over before it was first looked at.
                _isOver = true;
                return;
            }

            // It may have begun before this crishim did.
            _beganAt = supervisor.TerminatingSince ?? now;
            journal.TeardownBegan(pod, supervisor.Deadline - _beganAt, supervisor.IsEnding || supervisor.IsSandboxStopping);
        }

        _deadline = supervisor.Deadline;
        if (supervisor.Running.Count > 0)
        {
            _allEndedAt = null;
        }
        else
        {
            _allEndedAt ??= now;
        }

        if (!supervisor.IsSandboxReady)
        {
            Gone(now);
        }
    }

    /// <summary>The sandbox is stopped, or gone.</summary>
    public void Gone(DateTimeOffset now)
    {
        if (_beganAt is { } beganAt && !_isOver)
        {
            _isOver = true;
            TimeSpan overrun = (_allEndedAt ?? now) - (_deadline ?? now);
            journal.TeardownEnded(pod, now - beganAt, overrun > TimeSpan.Zero ? overrun : TimeSpan.Zero);
        }
    }
}
