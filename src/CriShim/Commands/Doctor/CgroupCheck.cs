namespace CriShim.Commands.Doctor;

/// <summary>Which cgroups the node has.</summary>
internal sealed class CgroupCheck : ICheck
{
    public string Area => "cgroups";

    public Task RunAsync(Diagnosis diagnosis, CancellationToken cancellationToken)
    {
        if (File.Exists(diagnosis.At("/sys/fs/cgroup/cgroup.controllers")))
        {
            diagnosis.Good(Area, "version 2");
        }
        else if (Directory.Exists(diagnosis.At("/sys/fs/cgroup/memory")))
        {
            diagnosis.Note(
                Area, "version 1, which Kubernetes no longer develops, and which kubelets from 1.35 on refuse by default (failCgroupV1)",
                "systemd.unified_cgroup_hierarchy=1 on the kernel's command line, and a reboot");
        }
        else
        {
            diagnosis.Blame(Area, "no cgroups at /sys/fs/cgroup: no container can start", "mount them; in a container, run it with its own cgroup namespace");
        }

        return Task.CompletedTask;
    }
}
