namespace CriShim.Commands.Doctor;

/// <summary>Whether the clock can be trusted: grace periods, back-off and certificates go by it.</summary>
/// <param name="isSynchronised">What the kernel says; null where it doesn't.</param>
internal sealed class ClockCheck(Func<bool?> isSynchronised) : ICheck
{
    public string Area => "clock";

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        switch (isSynchronised())
        {
            case true:
                diagnosis.Good(Area, "synchronised");
                break;
            case false:
                diagnosis.Warn(
                    Area, "nothing keeps the clock right: certificates and deletion times of pods are judged by it",
                    "run a time service (systemctl enable --now systemd-timesyncd, or chrony)");
                break;
            default:
                diagnosis.Note(Area, "the kernel does not say whether it is synchronised");
                break;
        }

        return Task.CompletedTask;
    }
}
