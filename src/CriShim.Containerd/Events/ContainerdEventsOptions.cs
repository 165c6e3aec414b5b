namespace CriShim.Containerd.Events;

/// <summary>How container exits are followed.</summary>
public sealed record ContainerdEventsOptions
{
    /// <summary>containerd's socket.</summary>
    public required string SocketPath { get; init; }

    /// <summary>Where containerd's CRI keeps its containers. The same in all versions.</summary>
    public string Namespace { get; init; } = "k8s.io";

    /// <summary>Entries that wait to be read; beyond it they are replaced by a <see cref="GapReason.Overflow"/>. About 150 bytes each.</summary>
    public int Capacity { get; init; } = 4096;

    /// <summary>How long no event comes before the subscription is asked for a proof of life.</summary>
    public TimeSpan ProofInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a proof may take before the subscription is given up. containerd on a loaded node takes seconds.</summary>
    public TimeSpan ProofTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Wait before the first new attempt; doubles, with jitter.</summary>
    public TimeSpan FirstDelay { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest wait in the first <see cref="KeenFor"/> of an outage: a restart of containerd takes a second or two.</summary>
    public TimeSpan KeenDelay { get; init; } = TimeSpan.FromMilliseconds(250);

    /// <summary>Longest wait after that.</summary>
    public TimeSpan MaxDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>See <see cref="KeenDelay"/>.</summary>
    public TimeSpan KeenFor { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long after a kill for lack of memory an exit is put down to it.</summary>
    public TimeSpan OomWindow { get; init; } = TimeSpan.FromSeconds(10);
}
