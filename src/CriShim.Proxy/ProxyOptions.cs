namespace CriShim.Proxy;

/// <summary>What the proxy needs to know; validated by whoever builds it.</summary>
public sealed record ProxyOptions
{
    /// <summary>Path of containerd's Unix socket.</summary>
    public required string BackendSocketPath { get; init; }
}
