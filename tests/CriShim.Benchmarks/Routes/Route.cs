namespace CriShim.Benchmarks.Routes;

/// <summary>A way to the backend: a socket, and the processes behind it that belong to the way and not to the backend.</summary>
internal sealed record Route(RouteName Name, string SocketPath, StartedProcess? Proxy);

internal enum RouteName
{
    /// <summary>The backend's own socket.</summary>
    Direct,
    Nginx,
    CriShim,
}
