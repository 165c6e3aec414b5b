using System.Globalization;
using CriShim.Protocol.Runtime.V1;

namespace CriShim.Containerd.Requests;

/// <summary>The CreateContainer of a next attempt, made of the recorded one, so that the kubelet takes the container for its own.</summary>
/// <remarks>
/// Assumptions, from the kubelet's code and its recorded calls:
/// <list type="number">
/// <item>The attempts of one container differ in the attempt's number (three places), the termination log's host path and the order of
/// service variables, and in nothing else, unless what they are made of has changed.</item>
/// <item>The hash annotation decides whether a container that the kubelet did not create is kept: labels and annotations are therefore
/// copied as they are, unknown ones too.</item>
/// <item>UpdateContainerResources changed the container only; a new one has to be created with the result.</item>
/// </list>
/// </remarks>
public static class ReplacementRequest
{
    /// <summary>Builds the request of attempt <paramref name="nextAttempt"/>; <paramref name="recorded"/> stays as it is.</summary>
    /// <param name="recorded">The CreateContainer that the lineage goes back to, fields unknown to this build included.</param>
    /// <param name="nextAttempt">From <see cref="AttemptNumber.Next"/>.</param>
    /// <param name="lastUpdate">All updates since, merged by <see cref="MergeResources"/>; only what is set in it counts.</param>
    /// <param name="terminationLogPath">
    /// Host path of the fresh termination log; null where there is none or none could be made: then the mount stays, and the attempt
    /// starts with the message of the one before.
    /// </param>
    public static CreateContainerRequest Build(
        CreateContainerRequest recorded, uint nextAttempt, LinuxContainerResources? lastUpdate, string? terminationLogPath)
    {
        CreateContainerRequest next = recorded.Clone();
        next.Config ??= new ContainerConfig();
        next.Config.Metadata ??= new ContainerMetadata();
        SetNumber(next.Config, nextAttempt);
        if (terminationLogPath is not null && TerminationLogMount.Find(next.Config) is { } mount)
        {
            mount.HostPath = terminationLogPath;
        }

        Apply(next.Config, lastUpdate);
        return next;
    }

    /// <summary>
    /// What two updates of one container come to. An update holds only what it sets (the CPU manager's a cpuset alone), so the last
    /// one is not enough.
    /// </summary>
    /// <param name="earlier">Result of the updates before; null for none. Stays as it is.</param>
    /// <param name="update">The update that was answered with OK.</param>
    public static LinuxContainerResources MergeResources(LinuxContainerResources? earlier, LinuxContainerResources update)
    {
        LinuxContainerResources merged = earlier?.Clone() ?? new LinuxContainerResources();
        // Merging appends repeated fields; a page size's limit is to be replaced.
        foreach (HugepageLimit limit in update.HugepageLimits)
        {
            for (int i = merged.HugepageLimits.Count - 1; i >= 0; i--)
            {
                if (merged.HugepageLimits[i].PageSize == limit.PageSize)
                {
                    merged.HugepageLimits.RemoveAt(i);
                }
            }
        }

        merged.MergeFrom(update);
        return merged;
    }

    /// <summary>
    /// True when a kubelet's CreateContainer asks for the very container that a replacement of <paramref name="recorded"/> is: equal but
    /// for attempt, restart count, log path and termination log. Rotated Secrets, another image, other devices or another hash are a
    /// difference.
    /// </summary>
    /// <param name="create">What the kubelet asks for.</param>
    /// <param name="recorded">What the lineage goes back to.</param>
    /// <param name="lastUpdate">
    /// Updates since. The kubelet may ask with them (a resized pod) or without (it sends a cpuset anew after the start): both are the same
    /// container as ours, which has them.
    /// </param>
    public static bool IsSameButForCounters(
        CreateContainerRequest create, CreateContainerRequest recorded, LinuxContainerResources? lastUpdate = null)
    {
        CreateContainerRequest theirs = RequestComparison.Normalise(create);
        CreateContainerRequest ours = RequestComparison.Normalise(recorded);
        if (theirs.Equals(ours))
        {
            return true;
        }

        if (lastUpdate is null || ours.Config is null)
        {
            return false;
        }

        Apply(ours.Config, lastUpdate);
        return theirs.Equals(RequestComparison.Normalise(ours));
    }

    private static void SetNumber(ContainerConfig config, uint number)
    {
        // Before the number changes: it is part of the path.
        if (config.LogPath.Length > 0)
        {
            config.LogPath = AttemptNumber.LogPath(config, number);
        }

        config.Metadata.Attempt = number;
        if (config.Annotations.ContainsKey(KubeletAnnotations.RestartCount))
        {
            config.Annotations[KubeletAnnotations.RestartCount] = number.ToString(CultureInfo.InvariantCulture);
        }
    }

    private static void Apply(ContainerConfig config, LinuxContainerResources? update)
    {
        if (update is not null)
        {
            config.Linux ??= new LinuxContainerConfig();
            config.Linux.Resources = MergeResources(config.Linux.Resources, update);
        }
    }
}
