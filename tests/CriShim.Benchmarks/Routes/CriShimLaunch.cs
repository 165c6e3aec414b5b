namespace CriShim.Benchmarks.Routes;

/// <summary>crishim, which takes nothing from the machine it is measured on: neither its configuration nor its pods.</summary>
internal sealed class CriShimLaunch(string executable) : ProxyLaunch(RouteName.CriShim)
{
    /// <summary>A crishim that works by the given configuration.</summary>
    /// <param name="executable">The file to run.</param>
    /// <param name="workspace">For its files.</param>
    /// <param name="socketPath">Where it listens.</param>
    /// <param name="backendSocketPath">Where its calls go.</param>
    /// <param name="supervision">The section of that name of the configuration file, indented by two; empty for the defaults.</param>
    /// <param name="stateDirectory">Null: one of its own.</param>
    public static StartedProcess Start(
        string executable, Workspace workspace, string socketPath, string backendSocketPath, string supervision, string? stateDirectory = null)
    {
        var configuration = workspace.NewPath("crishim.yaml");
        File.WriteAllText(configuration, $"kind: CriShimConfiguration\nsupervision:\n{supervision}\n");
        return workspace.Start(
            executable,
            "serve", "--config", configuration, "--listen", $"unix://{socketPath}", "--containerd", $"unix://{backendSocketPath}",
            "--state-dir", stateDirectory ?? workspace.NewPath("state"), "--kubeconfig", "off", "--pod-manifests", "off");
    }

    protected override StartedProcess Start(Workspace workspace, string socketPath, string backendSocketPath) =>
        Start(executable, workspace, socketPath, backendSocketPath, supervision: "");
}
