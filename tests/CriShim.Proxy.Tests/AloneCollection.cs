namespace CriShim.Proxy.Tests;

/// <summary>Tests that look at the heap of the whole process: no other test runs meanwhile.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class AloneCollection
{
    public const string Name = "alone";
}
