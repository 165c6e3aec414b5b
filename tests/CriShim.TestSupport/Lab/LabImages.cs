namespace CriShim.TestSupport.Lab;

/// <summary>The lab's two images, made on the spot.</summary>
public static class LabImages
{
    public const string Busybox = "docker.io/library/busybox:latest";
    public const string Pause = "registry.k8s.io/pause:3.6";

    private static string Folder => Path.Combine(Repository.Lab, "images");

    public static string BusyboxArchive => Path.Combine(Folder, "busybox.tar");

    public static string PauseArchive => Path.Combine(Folder, "pause.tar");

    public static Task ProvideAsync() =>
        Command.RunAsync(Path.Combine(Repository.Root, "tests", "lab", "images.sh"), [Folder]);

    /// <summary>Loads an archive under a name of choice where CRI looks for images.</summary>
    public static Task ImportAsync(string ctr, string socketPath, string archive, string name) =>
        Command.RunAsync(ctr, ["--address", socketPath, "--namespace", "k8s.io", "images", "import", "--index-name", name, archive]);

    /// <summary>Takes a name away again; other names of the same image stay.</summary>
    public static Task RemoveAsync(string ctr, string socketPath, string name) =>
        Command.RunAsync(ctr, ["--address", socketPath, "--namespace", "k8s.io", "images", "remove", "--sync", name]);
}
