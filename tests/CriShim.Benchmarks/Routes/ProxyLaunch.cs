namespace CriShim.Benchmarks.Routes;

/// <summary>How a proxy is started on a socket of its own.</summary>
internal abstract class ProxyLaunch(RouteName name)
{
    public RouteName Name => name;

    public Route Start(Workspace workspace, string backendSocketPath)
    {
        var socketPath = workspace.NewPath($"{name.ToString().ToLowerInvariant()}.sock");
        return new Route(name, socketPath, Start(workspace, socketPath, backendSocketPath));
    }

    protected abstract StartedProcess Start(Workspace workspace, string socketPath, string backendSocketPath);
}
