namespace CriShim.Commands.Doctor;

/// <summary>Whether there is room left where crishim and containerd write.</summary>
/// <param name="roomOf">Free and total bytes of the file system of a folder; null where it can't be told.</param>
internal sealed class RoomCheck(Func<string, (long Free, long Total)?> roomOf) : ICheck
{
    private const double Little = 0.05;

    public string Area => "room";

    /// <summary>What the operating system says.</summary>
    public static (long Free, long Total)? Measure(string folder)
    {
        try
        {
            var drive = new DriveInfo(folder);
            return (drive.AvailableFreeSpace, drive.TotalSize);
        }
        catch (Exception unknown) when (unknown is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        bool isScarce = false;
        foreach ((string folder, string what) in ((string, string)[])
        [
            (diagnosis.Configuration.Supervision.StateDirectory, "records of sidecars can't be written: they are left to the kubelet"),
            ("/var/lib/containerd", "containerd can start no container"),
            (diagnosis.Configuration.ContainerFiles.PodLogs, "containers can't log"),
        ])
        {
            if (roomOf(diagnosis.At(folder)) is { Total: > 0 } room && room.Free < room.Total * Little)
            {
                isScarce = true;
                diagnosis.Warn(
                    Area, $"{folder} has {room.Free >> 20} MiB of {room.Total >> 20} MiB left; when it is full, {what}",
                    "make room: df -h shows what is full, crictl rmi --prune takes unused images away");
            }
        }

        if (!isScarce)
        {
            diagnosis.Good(Area, "enough where crishim and containerd write");
        }

        return Task.CompletedTask;
    }
}
