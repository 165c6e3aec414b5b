using CriShim.TestSupport.Lab;

namespace CriShim.RealContainerd.Tests;

/// <summary>The lab itself: however a test ends, the machine is as it was.</summary>
public sealed class LabTests
{
    public static TheoryData<ContainerdVersion> Versions => [ContainerdVersion.V16, ContainerdVersion.V17, ContainerdVersion.V21];

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task Dispose_AfterAKilledContainerdWithARunningPod_LeavesNothingBehind(ContainerdVersion version)
    {
        var containerd = await PrivateContainerd.StartAsync(version);
        string folder = containerd.Folder, cgroup = containerd.CgroupParent;
        using (var caller = new CriCaller(containerd.SocketPath))
        {
            var pod = await RunningPod.StartAsync(caller, new PodRecipe("orphan", Path.Combine(folder, "logs"), cgroup));
            await pod.RunAsync(pod.Recipe.Container("main", "exec sleep 1000"));
        }

        // What proves itself by its absence below has to be there first.
        Assert.NotEmpty(Traces(folder, cgroup));

        await containerd.KillAsync();
        await containerd.DisposeAsync();

        Assert.Empty(Traces(folder, cgroup));
    }

    private static List<string> Traces(string folder, string cgroup)
    {
        var traces = File.ReadAllLines("/proc/self/mountinfo").Where(line => line.Contains(folder + "/", StringComparison.Ordinal)).ToList();
        traces.AddRange(Directory.EnumerateDirectories("/sys/fs/cgroup").Append("/sys/fs/cgroup")
            .Select(hierarchy => hierarchy + cgroup).Where(Directory.Exists));
        traces.AddRange(Directory.EnumerateDirectories("/proc").Where(process => CommandLine(process).Contains(folder + "/", StringComparison.Ordinal)));
        traces.AddRange(Directory.EnumerateDirectories("/sys/class/net").Where(link => Path.GetFileName(link) == $"crishim{folder.Split('-')[^1]}"));
        if (Directory.Exists(folder))
        {
            traces.Add(folder);
        }

        return traces;
    }

    private static string CommandLine(string process)
    {
        try
        {
            return File.ReadAllText(Path.Combine(process, "cmdline"));
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
