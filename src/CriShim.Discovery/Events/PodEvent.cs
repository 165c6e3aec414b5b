namespace CriShim.Discovery.Events;

/// <summary>What <c>kubectl describe pod</c> is to tell of a pod.</summary>
public sealed record PodEvent
{
    public required DateTimeOffset At { get; init; }

    public required string Namespace { get; init; }

    public required string Pod { get; init; }

    /// <summary>As CRI shows it; of a static pod its config hash, by which kubectl finds the events of a mirror pod, too.</summary>
    public required string Uid { get; init; }

    /// <summary>The container's name; null where it is about the pod as a whole.</summary>
    public string? Container { get; init; }

    /// <summary>In one word, such as <c>SidecarRestarted</c>.</summary>
    public required string Reason { get; init; }

    /// <summary>For people; never with environment, arguments, commands or annotation bodies. Longer ones are cut.</summary>
    public required string Message { get; init; }

    public bool IsWarning { get; init; }

    /// <summary>Only what has the same message is counted in one Event; else the last message stands for all.</summary>
    public bool CountsByMessage { get; init; }
}

/// <summary>How Events are written.</summary>
public sealed record PodEventOptions
{
    /// <summary>Of the kubelet, which may create and patch Events.</summary>
    public required string KubeconfigPath { get; init; }

    /// <summary>Null: from the kubeconfig's certificate, else the host's name.</summary>
    public string? NodeName { get; init; }

    /// <summary>What happens again within this time is counted in the Event that is there. API servers keep Events for an hour.</summary>
    public TimeSpan Window { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>Writes for one pod: so many at once, and then one in every <see cref="PodInterval"/>.</summary>
    public int PodBurst { get; init; } = 12;

    public TimeSpan PodInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Writes in all: so many at once, and then one in every <see cref="NodeInterval"/>.</summary>
    public int NodeBurst { get; init; } = 50;

    public TimeSpan NodeInterval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How many different Events may wait; others are dropped, and counted.</summary>
    public int MaxWaiting { get; init; } = 256;

    public TimeSpan CallTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two tries, also where the API server asks for more by <c>Retry-After</c>.</summary>
    public TimeSpan MaxRetryDelay { get; init; } = TimeSpan.FromMinutes(1);
}
