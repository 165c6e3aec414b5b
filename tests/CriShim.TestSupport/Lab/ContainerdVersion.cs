namespace CriShim.TestSupport.Lab;

/// <summary>A containerd version of the lab, unpacked below out/lab on first use.</summary>
public sealed record ContainerdVersion(string Label)
{
    public static ContainerdVersion V16 { get; } = new("1.6");

    public static ContainerdVersion V17 { get; } = new("1.7");

    /// <summary>Debian's newest of the 2.x line.</summary>
    public static ContainerdVersion V21 { get; } = new("2.1");

    /// <summary>Holds containerd, its shim and ctr.</summary>
    public string Binaries => Path.Combine(Repository.Lab, $"containerd-{Label}", "usr", "bin");

    public bool IsAtLeast2 => Label.StartsWith('2');

    /// <summary>Sandbox images and events differ by version; this is 1.7 and later.</summary>
    public bool HasEvents => Label != "1.6";

    /// <summary>Gets the version when it is not there yet. Fails with what to do: a missing version is never passed over.</summary>
    public Task ProvideAsync() => Command.RunAsync(
        Path.Combine(Repository.Root, "tests", "lab", "containerd.sh"), [Repository.Lab, Label]);

    public override string ToString() => Label;
}
